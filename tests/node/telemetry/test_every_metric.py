"""Each documented metric, by its exact name in Prometheus, moves when what it counts happens.

STEPS is the table: what is done to a node, and which metrics that moves. Together with those of replication
(tests/cluster/test_raft_meters.py) they are all of tests/vectors/metrics.tsv, where the names are the documentation's.
"""

import asyncio
import gc
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Final
from unittest.mock import patch

import aiohttp
import pytest

from cluster.errors import NoLeader
from cluster.raft_meters import RaftMeters
from engines.common.errors import InvalidRequest
from engines.common.plan import LeaseGrant, TokenGrant
from node.config.load import load
from node.core import Core
from node.dispatch import RateGate, dispatch
from node.edge import Edge
from node.errors import SealUnavailable
from node.join import begin_join
from node.mounts import Mounted
from node.telemetry.meters import NodeMeters
from node.telemetry.names import prometheus_name
from node.unseal import unseal
from tests.cluster.test_raft_meters import MOVES
from tests.node.audit.kit import Asked
from tests.node.cores import raft_core
from tests.node.live import Live, live
from tests.node.test_join import first_node, names, target_of
from tests.processes.cluster import free_ports

COUNTED: Final = ("token", "identity_entity", "identity_entity_alias", "secret_kv", "runtime_free", "runtime_malloc")
SAMPLE: Final = re.compile(r"^(\w+)(\{.*\})? (\S+)$", re.MULTILINE)
GAUGES: Final = frozenset(f"vault_{name}_count" for name in COUNTED)
TABLE: Final = Path(__file__).parents[2] / "vectors/metrics.tsv"

# What varies in a documented name, as the steps have it: a device, a mount, a kind of seal.
PLACES: Final[Mapping[str, str]] = {"device": "file_", "sealtype": "shamir"}
MOUNTS: Final[Mapping[str, str]] = {"rollback": "database_"}

# A step gives what it saw of gauges that are back where they were when it ends.
Step = Callable[[Live], Awaitable[Mapping[str, float] | None]]
STEPS: list[tuple[Step, tuple[str, ...]]] = []


def moves(*names: str) -> Callable[[Step], Step]:
    """Enter a step in the table. Names without the prefix."""

    def enter(step: Step) -> Step:
        STEPS.append((step, names))
        return step

    return enter


def documented() -> Iterator[tuple[str, str]]:
    """Name and type of each row of the table, with the varying parts filled in."""
    for line in TABLE.read_text().splitlines():
        if not line.startswith("#"):
            name, kind, *_ = line.split("\t")
            for part, value in PLACES.items():
                name = name.replace(f"{{{part}}}", value)
            mount = next((value for area, value in MOUNTS.items() if area in name), "secret_")
            yield name.replace("{mountpoint}", mount), kind


def series(core: Core) -> dict[str, float]:
    """What Prometheus would read: values of gauges and counters, counts of summaries, added up over labels."""
    found: dict[str, float] = {}
    for name, labels, value in SAMPLE.findall(core.telemetry.prometheus().decode()):
        if not name.endswith("_sum") and "quantile=" not in labels:
            name = name if name in GAUGES else name.removesuffix("_count")
            found[name] = found.get(name, 0) + float(value)
    return found


@asynccontextmanager
async def listening(core: Core) -> AsyncIterator[str]:
    """The node at a port of its own."""
    listener = replace(core.config.listeners[0], address=f"127.0.0.1:{free_ports(1)[0]}")
    edge = Edge(listener, partial(dispatch, core, listener), RateGate(core))
    core.telemetry.edges.append(edge)
    await edge.start(None)
    try:
        yield f"http://{listener.address}"
    finally:
        await edge.stop()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


# Requests


@moves(
    "core_handle_request",
    "core_check_token",
    "core_fetch_acl_and_token",
    "token_lookup",
    "route_create_secret_",
    "route_update_secret_",
    "route_read_secret_",
    "route_list_secret_",
    "route_delete_secret_",
    "barrier_put",
    "barrier_get",
    "barrier_list",
    "barrier_estimated_encryptions",
    "cache_hit",
    "cache_miss",
    "cache_write",
    "cache_delete",
)
async def secrets(one: Live) -> None:
    await one.policy("writer", 'path "secret/*" { capabilities = ["create", "update"] }')
    made = await one.ok("POST", "auth/token/create", {"policies": ["writer"]})
    await one.write("secret/data/a", token=made["auth"]["client_token"], data={"k": "1"})
    await one.write("secret/data/a", data={"k": "2"})
    await one.read("secret/data/a")
    await one.list("secret/metadata")
    await one.delete("secret/metadata/a")


@moves("barrier_delete")
async def deletion(one: Live) -> None:
    await one.write("secret/data/b", data={"k": "1"})
    await one.delete("secret/metadata/b")


@moves("core_response_status_code")
async def http(one: Live) -> None:
    async with listening(one.core) as url, aiohttp.ClientSession() as client:
        await client.get(f"{url}/v1/sys/health")
    assert b'vault_core_response_status_code{code="200",type="2xx"} 1\n' in one.core.telemetry.prometheus()


@moves("core_in_flight_requests")
async def in_flight(one: Live) -> Mapping[str, float]:
    async with listening(one.core) as url, aiohttp.ClientSession() as client:
        headers = {"x-vault-token": "root"}
        async with client.get(f"{url}/v1/sys/metrics?format=prometheus", headers=headers) as answer:
            lines = (await answer.text()).splitlines()
    return {"vault_core_in_flight_requests": float("vault_core_in_flight_requests 1" in lines)}


@moves(
    "core_handle_login_request",
    "identity_upsert_entity_txn",
    "identity_create_or_fetch_entity",
    "identity_entity_creation",
    "storage_packer_put_item",
    "storage_packer_put_bucket",
    "token_create",
    "token_createAccessor",
    "token_creation",
    "expire_register_auth",
)
async def login(one: Live) -> None:
    await one.users("alice")
    await one.login("alice")


@moves("identity_refresh_external_groups")
async def groups_of_a_login(one: Live) -> None:
    mount = one.node.router.by_path["auth/userpass/"].mount
    one.node.bind(mount, TokenGrant(policies=(), display_name="x", alias_name="alice", group_names=("staff",)))


@moves("identity_upsert_group_txn")
async def group(one: Live) -> None:
    await one.write("identity/group", name="staff")


@moves("core_activity_fragment_size", "core_activity_segment_write")
async def activity(one: Live) -> None:
    await one.users("bob", mount="other")
    auth = await one.login("bob", mount="other")
    await one.read("auth/token/lookup-self", token=auth["client_token"])
    await one.node.activity.store()


@moves("quota_rate_limit_violation")
async def rate_limit(one: Live) -> None:
    await one.write("sys/quotas/rate-limit/tight", path="secret/", rate=1)
    verdicts = [one.node.quotas.before_body("/v1/secret/data/a", "192.0.2.9") for _ in range(3)]
    assert verdicts[-1].refusal is not None
    await one.delete("sys/quotas/rate-limit/tight")


@moves("core_locked_users")
async def locked(one: Live) -> None:
    await one.users("carol", mount="lock")
    for _ in range(6):
        await one.call("POST", "auth/lock/login/carol", {"password": "wrong"}, token="")
    await one.core.telemetry.usage.count_locked_users()


@moves("policy_get_policy", "policy_list_policies", "policy_set_policy", "policy_delete_policy")
async def policies(one: Live) -> None:
    await one.policy("p", 'path "secret/*" { capabilities = ["read"] }')
    await one.read("sys/policies/acl/p")
    await one.list("sys/policies/acl")
    await one.delete("sys/policies/acl/p")


# Tokens and leases


@moves(
    "token_store",
    "token_revoke",
    "token_revoke_tree",
    "expire_renew_token",
    "expire_fetch_lease_times_by_token",
    "expire_revoke_by_token",
)
async def tokens(one: Live) -> None:
    auth = (await one.ok("POST", "auth/token/create", {"policies": ["default"], "ttl": "1h"}))["auth"]
    one.sources.advance(1000)
    await one.ok("POST", "auth/token/renew", {"token": auth["client_token"]})
    await one.ok("POST", "auth/token/lookup", {"token": auth["client_token"]})
    await one.ok("POST", "auth/token/revoke", {"token": auth["client_token"]})
    await one.node.ledger.sweeper.sweep()


@moves("token_create_root")
async def root_token(one: Live) -> None:
    await one.ok("POST", "auth/token/create", {"policies": ["root"]})


async def leased(one: Live, path: str, ttl_s: int = 3600) -> str:
    """A lease of the KV mount, as if its engine had made one. Revoking it there takes nothing."""
    mount = one.node.router.by_path["secret/"].mount
    made = await one.node.ledger.leases.register(LeaseGrant(ttl_s=ttl_s), path=path, mount_uuid=mount.uuid, holder=None)
    await one.node.opened.commit("", made.writes)
    return made.lease.lease_id


@moves("expire_register", "expire_fetch_lease_times", "expire_renew")
async def lease(one: Live) -> None:
    lease_id = await leased(one, "secret/creds/x")
    await one.write("sys/leases/lookup", lease_id=lease_id)
    with patch.object(one.node.ledger.leases, "_renew_in_engine", _renewed):
        await one.ok("POST", "sys/leases/renew", {"lease_id": lease_id})


async def _renewed(lease: object, increment_s: int) -> object:
    from node.leases.model import Renewal

    return Renewal()


@moves("expire_revoke", "expire_revoke_common")
async def revoked(one: Live) -> None:
    await one.ok("POST", "sys/leases/revoke", {"lease_id": await leased(one, "secret/creds/y"), "sync": True})


@moves("expire_revoke_prefix")
async def revoked_below(one: Live) -> None:
    await leased(one, "secret/below/y")
    await one.ok("POST", "sys/leases/revoke-prefix/secret/below", {"sync": True})


@moves("expire_revoke_force")
async def revoked_by_force(one: Live) -> None:
    await leased(one, "secret/force/y")
    await one.ok("POST", "sys/leases/revoke-force/secret/force")


@moves(
    "expire_lease_expiration",
    "expire_lease_expiration_error",
    "expire_lease_expiration_time_in_queue",
    "expire_job_manager_total_jobs",
    "expire_job_manager_queue_length",
)
async def lease_ends(one: Live) -> None:
    async def refuses(lease: object) -> None:
        raise InvalidRequest("not now")

    await leased(one, "secret/short/y", ttl_s=1)
    with patch.object(one.node.ledger.leases.executor, "_revoke_in_engine", refuses):
        one.sources.advance(2000)
        await one.node.ledger.sweeper.sweep()
        await one.node.ledger.sweeper.settle()


@moves("expire_num_leases", "expire_leases_by_expiration")
async def leases_counted(one: Live) -> None:
    await leased(one, "secret/counted/y")
    await one.core.telemetry.usage.count_leases()


@moves("expire_num_irrevocable_leases")
async def given_up(one: Live) -> None:
    from engines.common.plan import Put
    from node.leases import store

    await one.node.opened.commit("", [Put(store.irrevocable_key("secret/x"), b"secret/x")])
    await one.core.telemetry.usage.count_leases()


@moves(
    "token_count",
    "token_count_by_auth",
    "token_count_by_policy",
    "token_count_by_ttl",
    "identity_num_entities",
    "identity_entity_count",
    "identity_entity_alias_count",
    "metrics_collection",
    "metrics_collection_interval",
)
async def usage(one: Live) -> None:
    await one.users("dora", mount="counted")
    await one.login("dora", mount="counted")
    await one.core.telemetry.usage.compute()
    await one.core.telemetry.usage.compute()


@moves("metrics_collection_error")
async def usage_fails(one: Live) -> None:
    with patch.object(one.node, "mounts", None), suppress(TypeError):
        await one.core.telemetry.usage.count_kv()


# Audit


@moves(
    "audit_log_request",
    "audit_log_response",
    "audit_sink_success",
    "audit_file__log_request",
    "audit_file__log_response",
)
async def audit(one: Live) -> None:
    await one.write("sys/audit/file", type="file", options={"file_path": "discard"})
    await one.read("sys/audit")


class _Broken:
    may_block = False

    def write(self, lines: object) -> None:
        raise OSError(28, "No space left on device")

    def close(self) -> None: ...


@moves("audit_log_request_failure", "audit_file__log_request_failure", "audit_sink_failure")
async def audit_of_a_request_fails(one: Live) -> None:
    device = one.node.audit.devices[0]
    with patch.object(device.channel, "_sink", _Broken()):
        assert (await one.call("GET", "sys/audit")).status == 500


@moves("audit_log_response_failure", "audit_file__log_response_failure")
async def audit_of_an_answer_fails(one: Live) -> None:
    device = one.node.audit.devices[0]
    answered = type(device.formatter).response_line

    def break_first(*arguments: object) -> bytes:
        device.channel._sink = _Broken()  # type: ignore[assignment]
        return answered(*arguments)  # type: ignore[arg-type]

    with patch.object(type(device.formatter), "response_line", break_first):
        assert (await one.call("GET", "sys/audit")).status == 500
    one.node.audit.close()  # it is opened anew, and records again
    await one.delete("sys/audit/file")


# Mounts, and what they do by themselves


@moves("core_mount_table_num_entries", "core_mount_table_size")
async def mount(one: Live) -> None:
    await one.write("sys/mounts/more", type="kv")


@moves(
    "rollback_attempt",
    "rollback_waiting",
    "rollback_attempt_database_",
    "route_rollback",
    "route_rollback_database_",
)
async def rollback(one: Live) -> None:
    await one.write("sys/mounts/database", type="database")
    before = one.core.meters.rollback_attempt.count
    await until(lambda: one.core.meters.rollback_attempt.collect() or one.core.meters.rollback_attempt.count > before)


@moves("rollback_inflight", "rollback_queued")
async def rollback_hangs(one: Live) -> Mapping[str, float]:
    hold, meters = asyncio.Event(), one.core.meters

    async def hangs(ctx: object) -> None:
        await hold.wait()

    mounted = one.node.router.by_path["database/"]
    one.node.router.by_path["database/"] = Mounted(mounted.mount, replace(mounted.engine, tend=hangs))
    await until(lambda: meters.rollback_queued)
    queued = series(one.core)["vault_rollback_queued"]
    await until(lambda: meters.rollback_inflight)
    inflight = series(one.core)["vault_rollback_inflight"]
    hold.set()
    one.node.router.by_path["database/"] = mounted
    await until(lambda: not meters.rollback_inflight)
    return {"vault_rollback_queued": queued, "vault_rollback_inflight": inflight}


# Sealing and leadership


@moves(
    "core_seal",
    "core_seal_internal",
    "core_pre_seal",
    "core_unseal",
    "core_post_unseal",
    "core_leadership_lost",
    "core_seal_decrypt",
    "core_seal_decrypt_time",
    "seal_decrypt",
    "seal_decrypt_time",
    "seal_shamir_decrypt",
    "seal_shamir_decrypt_time",
)
async def restart(one: Live) -> None:
    before = series(one.core)["vault_core_post_unseal"]
    await one.restart()
    await until(lambda: series(one.core)["vault_core_post_unseal"] > before)


@moves(
    "core_seal_encrypt",
    "core_seal_encrypt_time",
    "seal_encrypt",
    "seal_encrypt_time",
    "seal_shamir_encrypt",
    "seal_shamir_encrypt_time",
)
async def wrapping(one: Live) -> None:
    one.core.seal.use(bytes(32))  # type: ignore[attr-defined]
    await one.core.seal.wrap(bytes(32))


@moves("core_seal_unreachable_time")
async def seal_is_away(one: Live) -> None:
    class Away:
        type = "away"
        is_auto = True

        async def wrap(self, plaintext: bytes) -> bytes:
            raise SealUnavailable("away")

        async def unwrap(self, blob: bytes) -> bytes:
            return blob

    seal = Away()
    one.core.telemetry.watch_seal(seal)
    with suppress(SealUnavailable):
        await seal.wrap(b"")
    await seal.unwrap(b"")


@moves("core_seal_with_request", "core_active", "core_unsealed")
async def seal_by_request(one: Live) -> None:
    await one.ok("POST", "sys/seal")
    await until(lambda: one.core.is_sealed)
    seen = series(one.core)
    assert (seen["vault_core_active"], seen["vault_core_unsealed"]) == (0, 0)


@moves("core_leadership_setup_failed")
async def setup_fails(one: Live) -> None:
    """Runs on the node that the step before has sealed."""
    tries = 0

    async def fails_once(*_: object) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise NoLeader("not now")

    with patch("node.duties.note_version", fails_once), patch("node.duties.RETRY_S", 0.01):
        await unseal(one.core, one.share, reset=False)
        await one.core.wait_active(10)
        await until(lambda: tries > 1)


# The process


@moves("runtime_total_gc_runs", "runtime_total_gc_pause_ns", "runtime_gc_pause_ns", "runtime_free_count")
async def garbage(one: Live) -> None:
    one.core.telemetry.start()
    for _ in range(10):
        ring: list[object] = []
        ring.append(ring)
    gc.collect()
    one.core.telemetry.stop()


@moves(
    "runtime_alloc_bytes",
    "runtime_sys_bytes",
    "runtime_malloc_count",
    "runtime_heap_objects",
    "runtime_num_goroutines",
)
async def memory(one: Live) -> None:
    one.held = [bytearray(b"x") * (64 << 20), *([number] for number in range(10_000))]  # type: ignore[attr-defined]
    one.core.spawn(asyncio.sleep(3600))
    one.core.spawn(asyncio.sleep(3600))
    await asyncio.sleep(0)


# Several nodes


async def several(folder: Path, told: Callable[[str, Core], None]) -> None:
    """A leader and a standby on Raft. `told` hears of a node before and after something happens."""
    async with AsyncExitStack() as stack:
        stack.enter_context(patch("node.core.ECHO_PERIOD_S", 0.1))
        leader = await stack.enter_async_context(raft_core(folder / "n1", "n1"))
        told("autopilot", leader)
        share = await first_node(leader)
        standby = await stack.enter_async_context(raft_core(folder / "n2", "n2"))
        told("forwarding", standby)
        await begin_join(standby, target_of(leader))
        await unseal(standby, share, reset=False)
        await until(lambda: standby.storage.leader_id == "n1" and not standby.barrier.is_sealed)
        await until(lambda: len(names(leader)) == 2)
        answer = await Asked(standby).call("GET", "sys/mounts")
        assert answer.status == 200
        await until(lambda: len(leader.echoes.values()))
        told("autopilot", leader)
        told("forwarding", standby)

        told("stepping down", leader)
        await Asked(leader).call("POST", "sys/step-down")
        await until(lambda: leader.meters.step_down.collect())
        told("stepping down", leader)

        await until(lambda: leader.is_active or standby.is_active)
        active, other = (leader, standby) if leader.is_active else (standby, leader)
        told("nobody to forward to", other)
        await active.seal_now()
        with patch("node.core.LEADER_WAIT_S", 0.1):
            await Asked(other).call("GET", "sys/mounts")
        errors = other.meters.echo_errors.value
        await until(lambda: other.meters.echo_errors.value > errors)
        told("nobody to forward to", other)


OF_SEVERAL: Final[Mapping[str, tuple[str, ...]]] = {
    "autopilot": ("autopilot_healthy", "autopilot_node_healthy", "autopilot_failure_tolerance"),
    "forwarding": ("ha_rpc_client_forward", "ha_rpc_client_echo"),
    "stepping down": ("core_step_down",),
    "nobody to forward to": ("ha_rpc_client_forward_errors", "ha_rpc_client_echo_errors"),
}


# The tests


def difference(before: Mapping[str, float], after: Mapping[str, float]) -> frozenset[str]:
    """The series that are new or stand elsewhere."""
    return frozenset(name for name, value in after.items() if value != before.get(name))


@lru_cache(1)
def moved_by_steps() -> Mapping[str, frozenset[str]]:
    """What each step has moved, on one node that goes through all of them."""

    async def play() -> Mapping[str, frozenset[str]]:
        found = {}
        config = load([], {}, dev=True)
        telemetry = replace(config.telemetry, add_mount_point_rollback_metrics=True)
        async with live(config=replace(config, telemetry=telemetry)) as one:
            for step, _ in STEPS:
                before = series(one.core)
                seen = await step(one)
                found[step.__name__] = difference(before, series(one.core) | dict(seen or {}))
        return found

    return asyncio.run(play())


@lru_cache(1)
def moved_by_several() -> Mapping[str, frozenset[str]]:
    """What happened between two nodes has moved this."""
    before: dict[str, dict[str, float]] = {}
    found: dict[str, frozenset[str]] = {}

    def told(what: str, core: Core) -> None:
        now = series(core)
        if what in before:
            found[what] = difference(before[what], now)
        before[what] = now

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(several(Path(folder), told))
    return found


@pytest.mark.parametrize(("step", "name"), [(step.__name__, name) for step, names in STEPS for name in names])
def test_a_step_moves_it(step: str, name: str) -> None:
    """What the step does is counted or timed under the documented name."""
    assert f"vault_{name}" in moved_by_steps()[step]


@pytest.mark.parametrize(("what", "name"), [(what, name) for what, found in OF_SEVERAL.items() for name in found])
def test_it_moves_between_nodes(what: str, name: str) -> None:
    """What happens between nodes is counted or timed under the documented name."""
    assert f"vault_{name}" in moved_by_several()[what]


def test_the_tables_hold_every_documented_metric() -> None:
    """No row of the documentation's table is without something that moves it."""
    shown = {f"vault_{name}" for _, names in STEPS for name in names}
    shown |= {f"vault_{name}" for names in OF_SEVERAL.values() for name in names}
    shown |= {prometheus_name("vault", name) for nodes in MOVES.values() for _, found in nodes for name in found}
    assert {name for name, _ in documented()} - shown == set()


def test_types_are_the_documented_ones() -> None:
    """A counter is not shown as a gauge, nor a summary as anything else."""
    kinds = {
        prometheus_name("vault", family.name): family.kind
        for registry in (NodeMeters().registry, RaftMeters().registry)
        for family in registry.families.values()
    }
    assert {name: kind for name, kind in documented() if kinds.get(name, kind) != kind} == {}

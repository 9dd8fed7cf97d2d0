"""The meters of one node above the replicated store, by their documented names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from cluster.meters import ROUTE_NAMES_MAX, TICK_S, Counter, Registry, Sampled, Sampling, Spread
from engines.common.frame import Operation
from node.telemetry.commits import CommitMeters
from node.telemetry.names import part_of_name

if TYPE_CHECKING:
    from node.mounts import Mount
    from node.tokens.model import TokenEntry

EACH_TIMED_MAX: Final = 500  # requests in a second, up to which each of them is timed
WINDOWS: Final = 4  # in a second, in which the others are timed: timing each would cost a read some percent
WINDOW_S: Final = TICK_S / WINDOWS / 16

# What the documentation calls each operation in vault.route.<operation>.<mount>. A PATCH is an update there.
_ROUTE_WORDS: Final[Mapping[Operation, str]] = {
    Operation.READ: "read",
    Operation.CREATE: "create",
    Operation.UPDATE: "update",
    Operation.PATCH: "update",
    Operation.DELETE: "delete",
    Operation.LIST: "list",
}


class NodeMeters:
    """Made with the node and kept through sealing; whoever works for it adds to them."""

    def __init__(self) -> None:
        registry = self.registry = Registry()
        counter, counters, spread = registry.counter, registry.counters, registry.spread
        self.commits = CommitMeters(registry)
        self._routes: set[str] = set()
        # What takes labels that only the node knows: node/telemetry/service.py fills these in.
        self.token_made: Callable[[TokenEntry], None] = lambda entry: None
        self.lease_made: Callable[[Mount, int], None] = lambda mount, ttl_s: None

        # The opened store.
        self.hits = 0  # of caches that are closed
        self.hits_now: Callable[[], int] = lambda: 0  # of the one that is open
        registry.counts(
            "cache.hit",
            "Reads of an entry that was in memory, opened.",
            (),
            lambda: {(): self.hits + self.hits_now()},
        )
        self.cache_miss = counter("cache.miss", "Reads of an entry that was not.")
        self.cache_write = counter("cache.write", "Entries put into the cache.")
        self.cache_delete = counter("cache.delete", "Entries dropped from it.")
        self.barrier_get = spread("barrier.get", "Reading an entry through the barrier.")
        self.barrier_list = spread("barrier.list", "Listing names through the barrier.")

        # Requests.
        self.sampling = Sampling()
        self._timers: list[Sampled] = []
        self._requests_before = 0

        def sampled(name: str, help_: str) -> Sampled:
            return registry.sampled(name, help_, self.sampling, self.requests)

        self.handle_request = sampled("core.handle_request", "A request with a token, from the token to the answer.")
        self.handle_login = spread("core.handle_login_request", "A request without one, such as a login.")
        self.check_token = sampled("core.check_token", "Judging a request's token and its rights.")
        self.fetch_acl_and_token = sampled("core.fetch_acl_and_token", "Fetching a token and its rights.")
        self.token_lookup = sampled("token.lookup", "Fetching a token.")
        self.rate_limited = counters("quota.rate_limit.violation", "Requests beyond a rate limit.", "name")

        # Audit.
        self.audit_request = spread("audit.log_request", "Recording a request on the devices.")
        self.audit_response = spread("audit.log_response", "Recording an answer on the devices.")
        self.audit_request_failure = counter("audit.log_request_failure", "Requests that no device could record.")
        self.audit_response_failure = counter("audit.log_response_failure", "Answers that no device could record.")
        self.audit_success = counter("audit.sink.success", "Records that a device took.")
        self.audit_failure = counter("audit.sink.failure", "Records that a device did not take.")

        # Sealing and leadership.
        self.unseal = spread("core.unseal", "Unsealing.")
        self.post_unseal = spread("core.post_unseal", "Taking over as the active node.")
        self.pre_seal = spread("core.pre_seal", "Giving up what an unsealed node holds.")
        self.seal = spread("core.seal", "Sealing.")
        self.seal_internal = spread("core.seal-internal", "Dropping the keys and leaving the cluster.")
        self.seal_with_request = spread("core.seal-with-request", "Sealing because a request asked for it.")
        self.step_down = spread("core.step_down", "Handing leadership over because a request asked for it.")
        self.leadership_lost = spread("core.leadership_lost", "For how long a leadership lasted that is over.")
        self.leadership_setup_failed = spread("core.leadership_setup_failed", "Taking over, where that failed.")

        # Between nodes.
        self.forward = spread("ha.rpc.client.forward", "Forwarding a request to the active node.")
        self.forward_errors = counter("ha.rpc.client.forward.errors", "Requests that could not be forwarded.")
        self.echo = spread("ha.rpc.client.echo", "Telling the active node that this one is there.")
        self.echo_errors = counter("ha.rpc.client.echo.errors", "Times that it could not be told.")

        # Leases, tokens, policies, identity: what commits do not tell.
        self.fetch_lease_times = spread("expire.fetch-lease-times", "Looking up a lease.")
        self.fetch_token_times = spread("expire.fetch-lease-times-by-token", "Looking up a token's end.")
        self.register_lease = spread("expire.register", "Registering a lease.")
        self.renew_lease = spread("expire.renew", "Renewing a lease.")
        self.revoke_lease = spread("expire.revoke", "Revoking a lease because a request asked for it.")
        self.revoke_common = spread("expire.revoke-common", "Revoking a lease at its engine, whoever asked.")
        self.revoke_by_token = spread("expire.revoke-by-token", "Revoking the leases of a token that has ended.")
        self.revoke_force = spread("expire.revoke-force", "Revoking by prefix, whatever the engines say.")
        self.revoke_prefix = spread("expire.revoke-prefix", "Revoking by prefix.")
        self.lease_expiration = counter("expire.lease_expiration", "Leases and tokens whose end was worked on.")
        self.lease_expiration_error = counter("expire.lease_expiration.error", "Leases that could not be revoked.")
        self.lease_in_queue = spread("expire.lease_expiration.time_in_queue", "From a lease's end to work on it.")
        self.jobs = spread("expire.job_manager.total_jobs", "Batches of revocations in work.", scale=1.0)
        self.queues = registry.spreads(
            "expire.job_manager.queue_length", "Batches of one mount in work.", "queue_id", scale=1.0
        )
        self.revoke_tree = spread("token.revoke-tree", "Revoking a token and all below it.")
        self.root_tokens = counter("token.create_root", "Root tokens made.")
        self.tokens = counters(
            "token.creation",
            "Tokens made.",
            *("cluster", "namespace", "auth_method", "mount_point", "creation_ttl", "token_type"),
        )
        self.leases = counters(
            "secret.lease.creation",
            "Leases made.",
            *("cluster", "namespace", "secret_engine", "mount_point", "creation_ttl"),
        )
        self.policy_get = spread("policy.get_policy", "Reading a policy.")
        self.policy_list = spread("policy.list_policies", "Listing the policies.")
        self.create_or_fetch_entity = spread("identity.create_or_fetch_entity", "Finding who logs in.")
        self.external_groups = spread("identity.refresh_external_groups", "Updating groups as a login names them.")
        self.activity = counters("core.activity.fragment_size", "Clients seen for the first time in a month.", "type")
        self.activity_write = spread("core.activity.segment_write", "Storing the clients that were seen.")

        # What mounts do by themselves: the documentation's rollback.
        self.rollback_attempt = spread("rollback.attempt", "A mount's own work in the background.")
        self.rollback_waiting = spread("rollback.waiting", "From the time for it to its beginning.")
        self.rollback_inflight = 0
        self.rollback_queued = 0
        self.route_rollback = spread("route.rollback", "A mount's own work in the background.")
        registry.gauge("rollback.inflight", "Mounts at work in the background.", lambda: self.rollback_inflight)
        registry.gauge("rollback.queued", "Mounts whose time for it has come.", lambda: self.rollback_queued)

        # What is computed off the way of requests.
        labels = ("cluster", "gauge")
        self.collection = registry.spreads("metrics.collection", "Computing usage gauges.", *labels)
        self.collection_interval = registry.spreads(
            "metrics.collection.interval", "Between two computations of a usage gauge.", *labels
        )
        self.collection_error = counters("metrics.collection.error", "Usage gauges that failed.", *labels)

    def sample_well(self) -> None:
        """Once a second, after the meters were read: time each request while there are few, and some if there are many.

        Whoever times them then does so in `WINDOWS` of each second, a sixteenth of it in all.
        """
        requests = self.requests()
        many = requests - self._requests_before > EACH_TIMED_MAX
        self._requests_before = requests
        self.sampling.partial = many or not self.sampling.timed
        self.sampling.timed = not many

    def requests(self) -> int:
        """Requests with a token that have come to a mount so far."""
        return sum(timer.seen for timer in self._timers)

    def route(self, mount_path: str, operation: Operation) -> Sampled:
        """Counts and times requests to this mount."""
        word = _ROUTE_WORDS[operation]
        if len(self._routes) >= ROUTE_NAMES_MAX:  # mounts that came and went; theirs is no longer told apart
            mount_path = "other/"
        name = f"route.{word}.{part_of_name(mount_path)}"
        timer = self.registry.sampled(name, f"{word} requests of one mount.", self.sampling)
        if name not in self._routes:
            self._routes.add(name)
            self._timers.append(timer)
        return timer

    def of_mount(self, area: str, word: str, mount_path: str) -> Spread:
        """The timer of one mount, by the documented name that holds its path."""
        return self.registry.spread(f"{area}.{word}.{part_of_name(mount_path)}", f"{word} requests of one mount.")

    def outside_call(self, area: str, what: str, call: str, took_s: float, failed: bool) -> None:
        """An engine ("database") has called something outside, of a kind ("postgresql")."""
        for name in (f"{area}.{call}", f"{area}.{what}.{call}"):
            self.registry.spread(name, "Calls of an engine to what it manages outside.").add(took_s)
            errors = self.registry.counter(f"{name}.error", "Such calls that failed.")
            errors.value += failed

    def of_device(self, path: str) -> DeviceMeters:
        """The meters of an audit device."""
        return DeviceMeters(self, part_of_name(path))


class DeviceMeters:
    """What one audit device takes; its path ("file/") is part of the names."""

    def __init__(self, meters: NodeMeters, part: str) -> None:
        registry = meters.registry
        self._all = meters
        self.request: Spread = registry.spread(f"audit.{part}.log_request", "Recording a request on one device.")
        self.response: Spread = registry.spread(f"audit.{part}.log_response", "Recording an answer on one device.")
        self.request_failure: Counter = registry.counter(
            f"audit.{part}.log_request_failure", "Requests that one device could not record."
        )
        self.response_failure: Counter = registry.counter(
            f"audit.{part}.log_response_failure", "Answers that one device could not record."
        )

    def took(self, *, is_response: bool, took_s: float) -> None:
        """A record is on the device."""
        (self.response if is_response else self.request).add(took_s)
        self._all.audit_success.value += 1

    def failed(self, *, is_response: bool) -> None:
        """A record is not."""
        (self.response_failure if is_response else self.request_failure).value += 1
        self._all.audit_failure.value += 1

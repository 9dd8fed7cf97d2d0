"""sys/rekey and sys/rekey-recovery-key: new key shares in place of the old ones (API documentation of these names)."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from itertools import product
from pathlib import Path

import pytest

from cluster.errors import NoLeader
from cluster.store import Write
from node.audit.trail import Trail
from node.errors import AuditFailed
from node.response import Response
from node.root_key import TOLD_KEY, untell
from node.seal.static import StaticSeal
from node.unseal import unseal_by_itself
from tests.node.ceremonies.kit import Held, held, people

BASES = {"rekey": False, "rekey-recovery-key": True}


@pytest.fixture(params=sorted(BASES))
async def either(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Held, str]]:
    """A node with the base of its rekey: of unseal keys, and of recovery keys."""
    async with held(auto=BASES[request.param]) as node:
        yield node, f"sys/{request.param}"


async def still_valid(node: Held, shares: list[str]) -> bool:
    """Whether these shares authorise: they are given to a rekey that waits for a verification that never comes."""
    base = "sys/rekey-recovery-key" if node.core.seal.is_auto else "sys/rekey"
    body = {"secret_shares": 1, "secret_threshold": 1, "require_verification": True}
    nonce = await node.begin(f"{base}/init", body, token="root")
    reply = await node.give(f"{base}/update", shares, nonce)
    await node.delete(f"{base}/init")
    return bool(reply.status == 200 and reply.body.get("complete"))


async def test_idle(either: tuple[Held, str]) -> None:
    """Nothing under way: what would be needed is told, and a share or a verification is refused."""
    node, base = either
    idle = await node.ok("GET", f"{base}/init", token="")
    assert idle == {
        "nonce": "",
        "started": False,
        "t": 0,
        "n": 0,
        "progress": 0,
        "required": 2,
        "pgp_fingerprints": None,
        "backup": False,
        "verification_required": False,
    }
    for method, end in (("POST", "update"), ("GET", "verify"), ("POST", "verify"), ("DELETE", "verify")):
        refused = await node.refused(method, f"{base}/{end}", {"key": node.share, "nonce": "n"}, token="", status=400)
        assert refused.errors[0].startswith("no rekey in progress; a ceremony ends when another node becomes active")
    await node.delete(f"{base}/init", token="")


async def test_new_shares_take_the_place_of_the_old(either: tuple[Held, str]) -> None:
    """Begin, progress, done: the new shares authorise, the old ones do not, and their numbers are those asked for."""
    node, base = either
    await node.write("secret/data/a", data={"x": "1"})
    begun = await node.ok("POST", f"{base}/init", {"secret_shares": 5, "secret_threshold": 3}, token="")
    assert begun == {**await node.ok("GET", f"{base}/init", token=""), "progress": 0, "n": 5, "t": 3, "required": 2}
    nonce = begun["nonce"]
    first = await node.ok("POST", f"{base}/update", {"key": node.shares[2], "nonce": nonce}, token="")
    assert (first["progress"], first["started"]) == (1, True)
    done = (await node.give(f"{base}/update", node.shares[:1], nonce)).body
    assert done["complete"] is True and done["nonce"] == nonce
    assert (done["pgp_fingerprints"], done["backup"], done["verification_required"]) == (None, False, False)
    assert len(done["keys"]) == len(done["keys_base64"]) == 5
    assert (await node.ok("GET", f"{base}/init", token=""))["required"] == 3
    assert await still_valid(node, done["keys_base64"][1:4])
    assert not await still_valid(node, done["keys"][1:3])
    assert not await still_valid(node, [*node.shares])
    assert (await node.read("secret/data/a"))["data"] == {"x": "1"}
    status = await node.ok("GET", "sys/seal-status", token="")
    assert (status["t"], status["n"]) == (3, 5)


async def test_a_rekey_of_unseal_keys_replaces_the_root_key() -> None:
    """Then the node unseals with the new shares, not with the old; keyring upkeep goes on under the new key."""
    async with held() as node:
        await node.write("secret/data/a", data={"x": "1"})
        before = node.core.root_key
        nonce = await node.begin("sys/rekey/init", {"secret_shares": 2, "secret_threshold": 2})
        new = (await node.give("sys/rekey/update", node.shares[:2], nonce)).body["keys"]
        assert node.core.root_key not in (None, before)
        await node.ok("POST", "sys/rotate")
        await node.write("secret/data/b", data={"x": "2"})
        assert not await node.unseals_with(node.shares[:2])
        assert await node.unseals_with(new)
        for name, value in (("a", "1"), ("b", "2")):
            assert (await node.read(f"secret/data/{name}"))["data"] == {"x": value}


async def test_what_members_are_told_is_taken_back() -> None:
    """The new root key lies behind the barrier only until the members have it: a duty of the active node removes it."""
    async with held() as node:
        nonce = await node.begin("sys/rekey/init", {"secret_shares": 1, "secret_threshold": 1})
        await node.give("sys/rekey/update", node.shares[:2], nonce)
        store = node.core.storage.store
        told = store.get(TOLD_KEY)
        assert told is not None and node.core.root_key is not None and node.core.root_key not in told.value
        await untell(store)
        assert store.get(TOLD_KEY) is None
        await untell(store)


async def test_upkeep_goes_on_after_a_rekey(monkeypatch: pytest.MonkeyPatch) -> None:
    """The active node rotates under the root key in force, and takes back what it told the members."""
    monkeypatch.setattr("node.duties.PERIOD_S", 0.01)
    async with held() as node:
        nonce = await node.begin("sys/rekey/init", {"secret_shares": 1, "secret_threshold": 1})
        await node.give("sys/rekey/update", node.shares[:2], nonce)
        await node.write("sys/rotate/config", interval="24h")
        node.sources.advance(86_400_000)
        async with asyncio.timeout(20):
            while (await node.read("sys/key-status"))["term"] < 2 or node.core.storage.store.get(TOLD_KEY) is not None:
                await asyncio.sleep(0.01)


async def test_an_answer_that_got_lost_is_told_again(either: tuple[Held, str]) -> None:
    """The last share, given again with its nonce, gets the same answer for ten minutes; nothing else does."""
    node, base = either
    for verification in (False, True):
        body = {"secret_shares": 3, "secret_threshold": 2, "require_verification": verification}
        nonce = await node.begin(f"{base}/init", body)
        done = (await node.give(f"{base}/update", node.shares[:2], nonce)).body
        assert (await node.give(f"{base}/update", node.shares[1:2], nonce)).body == done
        for share, sent in ((node.shares[0], nonce), (node.shares[2], nonce), (node.shares[1], "other"), ("", nonce)):
            assert (await node.give(f"{base}/update", [share], sent)).status == 400
        node.sources.advance(600_000)
        assert (await node.give(f"{base}/update", node.shares[1:2], nonce)).status == 400
        if not verification:
            node.shares = done["keys"]


async def test_an_answer_that_could_not_be_audited_is_told_again(
    either: tuple[Held, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No record, no answer; but the change is made by then, so once the device works the shares can still be had."""
    node, base = either
    options = {"file_path": str(tmp_path / "audit.log")}
    await node.write("sys/audit/file", type="file", options=options)
    nonce = await node.begin(f"{base}/init", {"secret_shares": 3, "secret_threshold": 2})
    await node.give(f"{base}/update", node.shares[:1], nonce)

    async def fails(trail: Trail, response: Response) -> None:
        raise AuditFailed("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Trail, "answered", fails)
        assert (await node.give(f"{base}/update", node.shares[1:2], nonce)).status == 500
    done = (await node.give(f"{base}/update", node.shares[1:2], nonce)).body
    assert done["complete"] is True
    assert await still_valid(node, done["keys"][:2])


async def test_a_request_that_is_cut_off(either: tuple[Held, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that goes away while the change is committed: it is finished, and the new shares can still be had."""
    node, base = either
    nonce = await node.begin(f"{base}/init", {"secret_shares": 3, "secret_threshold": 2})
    await node.give(f"{base}/update", node.shares[:1], nonce)
    store, arrived, may_go_on = node.core.storage.store, asyncio.Event(), asyncio.Event()
    commit = store.commit

    async def slow(writes: Sequence[Write]) -> int:
        arrived.set()
        await may_go_on.wait()
        return await commit(writes)

    with monkeypatch.context() as patched:
        patched.setattr(store, "commit", slow)
        request = asyncio.create_task(node.give(f"{base}/update", node.shares[1:2], nonce))
        await arrived.wait()
        request.cancel()
        await asyncio.wait({request})
        may_go_on.set()
        async with asyncio.timeout(10):
            while node.core.ceremonies.working:
                await asyncio.sleep(0)
    done = (await node.give(f"{base}/update", node.shares[1:2], nonce)).body
    assert done["complete"] is True
    assert await still_valid(node, done["keys"][:2])


async def test_wrong_shares(either: tuple[Held, str]) -> None:
    """Malformed: refused, nothing changes. Repeated: refused. Of other keys: all are dropped, the rekey goes on."""
    node, base = either
    nonce = await node.begin(f"{base}/init", {"secret_shares": 1, "secret_threshold": 1})
    await node.give(f"{base}/update", node.shares[:1], nonce)
    for key in ("", "zz", node.share[:-2], "0" * 66, 7):
        await node.refused("POST", f"{base}/update", {"key": key, "nonce": nonce}, token="", status=400)
    again = await node.refused("POST", f"{base}/update", {"key": node.share, "nonce": nonce}, token="", status=400)
    assert again.errors == ["given key has already been provided during this operation"]
    assert (await node.ok("GET", f"{base}/init", token=""))["progress"] == 1
    wrong = node.shares[1][:10] + "00" + node.shares[1][12:]
    refused = await node.refused("POST", f"{base}/update", {"key": wrong, "nonce": nonce}, token="", status=400)
    assert "not those of this cluster" in refused.errors[0] and wrong not in refused.errors[0]
    status = await node.ok("GET", f"{base}/init", token="")
    assert (status["progress"], status["nonce"]) == (0, nonce)
    same_x = node.share[:10] + "00" + node.share[12:]
    await node.give(f"{base}/update", node.shares[:1], nonce)
    assert (await node.give(f"{base}/update", [same_x], nonce)).errors == ["a key share was given twice"]
    assert (await node.give(f"{base}/update", node.shares[1:], nonce)).body["complete"] is True


async def test_nonces(either: tuple[Held, str]) -> None:
    """A share goes where its holder meant it to go: without the nonce of this rekey it is not taken, nor is it told."""
    node, base = either
    body = {"secret_shares": 1, "secret_threshold": 1, "require_verification": True}
    nonce = await node.begin(f"{base}/init", body)
    for end, sent in product(("update", "verify"), ({}, {"nonce": ""}, {"nonce": "other"})):
        refused = await node.refused("POST", f"{base}/{end}", {"key": node.share, **sent}, token="", status=400)
        assert nonce not in str(refused.body)
    done = (await node.give(f"{base}/update", node.shares[:2], nonce)).body
    verification = done["verification_nonce"]
    assert verification != nonce
    for sent_nonce in ("", nonce, "other"):
        refused = await node.refused(
            "POST", f"{base}/verify", {"key": done["keys"][0], "nonce": sent_nonce}, token="", status=400
        )
        assert verification not in str(refused.body)


async def test_one_at_a_time(either: tuple[Held, str]) -> None:
    """A second one is refused; after a cancellation another has another nonce, and the shares of the first are gone."""
    node, base = either
    body = {"secret_shares": 1, "secret_threshold": 1}
    nonce = await node.begin(f"{base}/init", body)
    await node.give(f"{base}/update", node.shares[:1], nonce)
    again = await node.refused("POST", f"{base}/init", body, token="", status=400)
    assert again.errors == ["rekey already in progress"]
    await node.delete(f"{base}/init?nonce={nonce}", token="")
    other = await node.begin(f"{base}/init", body)
    assert other != nonce
    assert (await node.ok("GET", f"{base}/init", token=""))["progress"] == 0
    await node.refused("POST", f"{base}/update", {"key": node.share, "nonce": nonce}, token="", status=400)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "the number of shares must be from 1"),
        ({"secret_shares": 3, "secret_threshold": 4}, "threshold must be from 1"),
        ({"secret_shares": 3, "secret_threshold": 1}, "at least 2"),
        ({"secret_shares": 256, "secret_threshold": 2}, "from 1 to 255"),
        ({"secret_shares": 1, "secret_threshold": 1, "backup": True}, "without providing PGP keys"),
        ({"secret_shares": 2, "secret_threshold": 2, "pgp_keys": ["a"]}, "incorrect number of PGP keys"),
        ({"secret_shares": 1, "secret_threshold": 1, "pgp_keys": ["keybase:bob"]}, "keybase names are not looked up"),
    ],
)
async def test_what_cannot_be_made(body: dict[str, object], says: str) -> None:
    """Refused at the beginning, and nothing is under way then."""
    async with held() as node:
        refused = await node.refused("POST", "sys/rekey/init", body, token="", status=400)
        assert says in refused.errors[0]
        assert (await node.ok("GET", "sys/rekey/init", token=""))["started"] is False


async def test_verification(either: tuple[Held, str]) -> None:
    """The new shares are out and the old ones valid, until a quorum of the new ones was given back."""
    node, base = either
    body = {"secret_shares": 3, "secret_threshold": 2, "require_verification": True}
    nonce = await node.begin(f"{base}/init", body)
    out = (await node.give(f"{base}/update", node.shares[:2], nonce)).body
    assert out["complete"] is True and out["verification_required"] is True
    status = await node.ok("GET", f"{base}/init", token="")
    assert (status["started"], status["verification_nonce"]) == (True, out["verification_nonce"])
    waiting = await node.ok("GET", f"{base}/verify", token="")
    assert waiting == {"nonce": out["verification_nonce"], "started": True, "t": 2, "n": 3, "progress": 0}
    late = await node.refused("POST", f"{base}/update", {"key": node.share, "nonce": nonce}, token="", status=400)
    assert "must be verified" in late.errors[0] and out["verification_nonce"] not in late.errors[0]
    wrong = await node.give(f"{base}/verify", node.shares[:2], out["verification_nonce"])
    assert wrong.errors == ["rekey verification failed; incorrect key shares supplied, all of them were dropped"]
    first = await node.give(f"{base}/verify", out["keys"][:1], out["verification_nonce"])
    assert first.body["progress"] == 1
    reset = await node.ok("DELETE", f"{base}/verify?nonce={out['verification_nonce']}", token="")
    assert reset["progress"] == 0 and reset["nonce"] != out["verification_nonce"]
    done = await node.give(f"{base}/verify", out["keys"][1:], reset["nonce"])
    assert done.body == {"nonce": reset["nonce"], "complete": True}
    assert await still_valid(node, out["keys"][:2])
    assert not await still_valid(node, list(node.shares[:2]))


async def test_cancelled_or_cut_off_before_its_verification(either: tuple[Held, str]) -> None:
    """A rekey that is cancelled, or ended by sealing, while it waits leaves the old shares valid."""
    node, base = either
    body = {"secret_shares": 1, "secret_threshold": 1, "require_verification": True}
    nonce = await node.begin(f"{base}/init", body)
    out = (await node.give(f"{base}/update", node.shares[:2], nonce)).body
    await node.delete(f"{base}/init?nonce={nonce}", token="")
    refused = await node.give(f"{base}/verify", out["keys"], out["verification_nonce"])
    assert refused.status == 400 and "no rekey in progress" in refused.errors[0]
    assert await still_valid(node, list(node.shares[:2]))


async def test_it_ends_with_sealing() -> None:
    """No progress survives: after the next unsealing nothing is under way and the old shares are valid."""
    async with held() as node:
        nonce = await node.begin("sys/rekey/init", {"secret_shares": 1, "secret_threshold": 1})
        await node.give("sys/rekey/update", node.shares[:1], nonce)
        await node.core.seal_now()
        assert (await node.call("GET", "sys/rekey/init", token="")).status == 503
        assert await node.unseals_with(node.shares[:2])
        assert (await node.ok("GET", "sys/rekey/init", token=""))["started"] is False
        assert (await node.give("sys/rekey/update", node.shares[1:2], nonce)).status == 400


async def test_it_ends_where_it_cannot_be_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader that lost its place: nothing was changed, nothing is under way, the old shares are valid."""
    async with held() as node:
        store = node.core.storage.store
        nonce = await node.begin("sys/rekey/init", {"secret_shares": 1, "secret_threshold": 1})

        async def deposed(_: object) -> int:
            raise NoLeader("not now")

        with monkeypatch.context() as patched:
            patched.setattr("node.core.LEADER_WAIT_S", 0.0)
            patched.setattr(store, "commit", deposed)
            reply = await node.give("sys/rekey/update", node.shares[:2], nonce)
        assert reply.status in (400, 500, 503) and "keys" not in reply.body
        assert (await node.ok("GET", "sys/rekey/init", token=""))["started"] is False
        assert await node.unseals_with(node.shares[:2])


async def test_pgp_keys_and_their_backup(either: tuple[Held, str]) -> None:
    """Each share is readable by its holder alone, as hexadecimal text; the backup is a copy of the answer."""
    node, base = either
    holders = people(2)
    keys = [holder.public for holder in (*holders, holders[0])]
    body = {"secret_shares": 3, "secret_threshold": 2, "pgp_keys": keys, "backup": True}
    begun = await node.ok("POST", f"{base}/init", body, token="")
    prints = [holder.fingerprint for holder in (*holders, holders[0])]
    assert begun["pgp_fingerprints"] == prints and begun["backup"] is True
    done = (await node.give(f"{base}/update", node.shares[:2], begun["nonce"])).body
    assert done["pgp_fingerprints"] == prints and done["backup"] is True
    with pytest.raises(RuntimeError):
        holders[1].reads(done["keys_base64"][0])
    shares = [holders[0].reads(done["keys_base64"][0]), holders[1].reads(done["keys_base64"][1])]
    assert [len(share) for share in shares] == [66, 66]
    kept = "sys/rekey/recovery-key-backup" if node.core.seal.is_auto else "sys/rekey/backup"
    backup = await node.ok("GET", kept)
    assert backup["data"]["keys"] == {
        holders[0].fingerprint: [done["keys"][0], done["keys"][2]],
        holders[1].fingerprint: [done["keys"][1]],
    }
    assert backup["nonce"] == begun["nonce"]
    await node.refused("GET", kept, token="", status=403)
    assert await still_valid(node, shares)
    await node.delete(kept)
    assert (await node.refused("GET", kept, status=400)).errors == ["no backed-up keys found"]


async def test_a_backup_is_of_the_shares_in_force() -> None:
    """With verification it is kept only with the shares it is of; a rekey without one removes that of older shares."""
    async with held() as node:
        holder = people(1)[0]
        body = {"secret_shares": 1, "secret_threshold": 1, "pgp_keys": [holder.public], "backup": True}
        nonce = await node.begin("sys/rekey/init", {**body, "require_verification": True})
        out = (await node.give("sys/rekey/update", node.shares[:2], nonce)).body
        await node.refused("GET", "sys/rekey/backup", status=400)
        share = holder.reads(out["keys_base64"][0])
        await node.give("sys/rekey/verify", [share], out["verification_nonce"])
        assert (await node.read("sys/rekey/backup"))["keys"] == {holder.fingerprint: out["keys"]}
        nonce = await node.begin("sys/rekey/init", {"secret_shares": 1, "secret_threshold": 1})
        assert (await node.give("sys/rekey/update", [share], nonce)).status == 200
        await node.refused("GET", "sys/rekey/backup", status=400)


async def test_each_seal_has_its_own_rekey() -> None:
    """Recovery keys exist with auto-unseal only; there a rekey of the root key takes them and hands out no shares."""
    async with held() as node:
        for method in ("GET", "POST", "DELETE"):
            body = {"secret_shares": 1, "secret_threshold": 1} if method == "POST" else None
            refused = await node.refused(method, "sys/rekey-recovery-key/init", body, token="", status=400)
            assert refused.errors[0].startswith("recovery rekeying not supported")
    async with held(auto=True) as node:
        refused = await node.refused(
            "POST", "sys/rekey/init", {"secret_shares": 3, "secret_threshold": 2}, token="", status=400
        )
        assert "must be 1" in refused.errors[0]
        nonce = await node.begin("sys/rekey/init", {"secret_shares": 1, "secret_threshold": 1})
        before = node.core.root_key
        done = (await node.give("sys/rekey/update", node.shares[:2], nonce)).body
        assert done["complete"] is True and done["keys"] == []
        assert node.core.root_key not in (None, before)
        assert await still_valid(node, list(node.shares[:2]))
        await node.core.seal_now()
        await unseal_by_itself(node.core)
        assert node.core.holds_keys(), "the seal opens the new root key"


async def test_a_seal_from_before_a_migration_wraps_no_new_root_key() -> None:
    """The active node still has the key that the others migrated away from: what it wrapped, they could not open."""
    async with held(auto=True) as node:
        nonce = await node.begin("sys/rekey/init", {"secret_shares": 1, "secret_threshold": 1}, token="root")
        node.core.seal = StaticSeal("static", b"2", {b"2": bytes([1]) * 32}, secrets.token_bytes)
        before = node.core.sealed_keys()
        reply = await node.give("sys/rekey/update", node.shares[:2], nonce)
        assert reply.status == 400 and "not the one in use" in reply.errors[0]
        assert node.core.sealed_keys() == before

"""sys/init where something goes wrong."""

from collections.abc import Sequence
from unittest.mock import patch

import pytest

from cluster.errors import AddressInUse, NoLeader, OutcomeUnknown
from cluster.inmem import InmemStore
from cluster.store import Write
from node.core import Core
from node.errors import AlreadyInitialized, SealRefused
from node.initialize import InitRequest, initialize
from node.seal.shamir import ShamirSeal
from node.seal.static import StaticSeal
from node.storage import InmemStorage
from node.unseal import unseal, unseal_by_itself
from tests.node.ceremonies.kit import fresh_core, people
from tests.node.cores import new_core
from tests.node.live import Live

ONE = InitRequest(shares=1, threshold=1)


async def test_the_keys_are_handed_out_though_unsealing_fails() -> None:
    """With auto-unseal: once the cluster is initialised, its root token and recovery keys exist in the answer alone."""
    core = new_core()
    core.seal = StaticSeal("static", b"1", {b"1": bytes(32)}, core.sources.random)

    async def fails(_core: Core, _root_key: bytes) -> None:
        raise AddressInUse("127.0.0.1:8201 is taken")

    with patch("node.core.Core.unseal_with", fails):
        result = await initialize(core, ONE)
    assert core.is_initialized
    assert not core.holds_keys()
    assert len(result.shares) == 1
    assert result.root_token
    await unseal_by_itself(core)
    assert core.holds_keys()
    await core.seal_now()


async def test_an_init_that_failed_leaves_nothing_behind() -> None:
    """No key stays in the seal, and a second attempt works."""
    core = new_core()

    async def fails(_: object) -> int:
        raise NoLeader("not now")

    with patch.object(core.storage.store, "commit", fails), pytest.raises(NoLeader):
        await initialize(core, ONE)
    assert isinstance(core.seal, ShamirSeal)
    with pytest.raises(SealRefused):
        await core.seal.wrap(bytes(32))
    assert not core.is_initialized
    assert len((await initialize(core, InitRequest(shares=3, threshold=2))).shares) == 3


class Late(InmemStore):
    """A store that keeps its first commit and says that it does not know, until it answers again."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = False
        self.waiting: list[Sequence[Write]] = []

    async def commit(self, writes: Sequence[Write]) -> int:
        if self.answers:
            return await super().commit(writes)
        if not self.waiting:
            self.waiting.append(writes)
        raise OutcomeUnknown("the disk is slow")


def late_core() -> tuple[Core, Late]:
    storage, store = InmemStorage(), Late()
    storage.store = store
    return new_core(storage), store


async def test_an_outcome_that_got_lost_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The storage answers late: the keys in the answer are those that open the node, and there is no warning."""
    core, store = late_core()
    look = store.commit

    async def recovers(writes: Sequence[Write]) -> int:
        try:
            return await look(writes)
        finally:
            store.answers = True

    monkeypatch.setattr(store, "commit", recovers)
    result = await initialize(core, ONE)
    assert result.is_certain and "warnings" not in result.answer()
    assert core.is_initialized
    await unseal(core, result.shares[0].hex(), reset=False)
    assert core.holds_keys()
    await core.seal_now()


@pytest.mark.parametrize("is_done", [True, False])
async def test_an_outcome_that_stays_unknown_loses_no_keys(monkeypatch: pytest.MonkeyPatch, is_done: bool) -> None:
    """The answer holds the keys and says what to do: init again tells truthfully which keys are valid."""
    monkeypatch.setattr("node.initialize.LOOK_S", 0.2)
    core, store = late_core()
    first = await initialize(core, ONE)
    assert not first.is_certain and first.answer()["keys"] and "initialize it again" in str(first.answer()["warnings"])
    assert not core.holds_keys()
    store.answers = True
    if is_done:
        await InmemStore.commit(store, store.waiting[0])  # what a node that leads again finds in its log
        with pytest.raises(AlreadyInitialized):
            await initialize(core, ONE)
        valid = first
    else:
        valid = await initialize(core, ONE)
        assert valid.is_certain
    await unseal(core, valid.shares[0].hex(), reset=False)
    assert core.holds_keys()
    await core.seal_now()


async def test_an_init_that_only_the_log_knows_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart the entry of an earlier init may be in the log alone: it is found once the node leads."""
    core, store = late_core()
    store.answers = True
    start = core.storage.start

    async def replays(*arguments: object) -> None:
        await InmemStore.commit(store, store.waiting[0])
        await start(*arguments)  # type: ignore[arg-type]

    other, other_store = late_core()
    monkeypatch.setattr("node.initialize.LOOK_S", 0.1)
    first = await initialize(other, ONE)
    store.waiting = other_store.waiting
    monkeypatch.setattr(core.storage, "start", replays)
    with pytest.raises(AlreadyInitialized):
        await initialize(core, ONE)
    assert not core.storage.is_active
    monkeypatch.setattr(core.storage, "start", start)
    await unseal(core, first.shares[0].hex(), reset=False)
    assert core.holds_keys()
    await core.seal_now()


@pytest.mark.parametrize("auto", [False, True])
async def test_keys_and_token_for_their_holders_alone(auto: bool) -> None:
    """sys/init with PGP keys: each share is readable by its holder, as hexadecimal text, and the token by its owner."""
    core, sources = fresh_core(auto=auto)
    made = Live(core, sources, "")
    holders, owner = people(3), people(1)[0]
    names = (
        ("recovery_shares", "recovery_threshold", "recovery_pgp_keys")
        if auto
        else (
            "secret_shares",
            "secret_threshold",
            "pgp_keys",
        )
    )
    body = dict(zip(names, (3, 2, [holder.public for holder in holders]), strict=True))
    for wrong, says in (
        ({**body, names[2]: body[names[2]][:2]}, "incorrect number of PGP keys"),  # type: ignore[index]
        ({**body, names[2]: ["keybase:a", "keybase:b", "keybase:c"]}, "keybase names are not looked up"),
        ({**body, "root_token_pgp_key": "AAAA"}, "the PGP key is not one OpenPGP public key"),
    ):
        refused = await made.refused("POST", "sys/init", wrong, token="", status=400)
        assert says in refused.errors[0] and not core.is_initialized
    answer = await made.ok("POST", "sys/init", {**body, "root_token_pgp_key": owner.public}, token="")
    prefix = "recovery_" if auto else ""
    keys, texts = answer[f"{prefix}keys"], answer[f"{prefix}keys_base64"]
    shares = [holder.reads(text) for holder, text in zip(holders, texts, strict=True)]
    assert len({*shares}) == 3 and all(len(share) == 66 for share in shares)
    with pytest.raises(RuntimeError):
        holders[0].reads(texts[1])
    assert [len(key) > 300 for key in keys] == [True] * 3
    token = owner.reads(answer["root_token"])
    if auto:
        assert answer["keys"] == []
    else:
        for share in shares[1:]:
            await made.call("POST", "sys/unseal", {"key": share}, token="")
    await core.wait_active(10)
    assert (await made.ok("GET", "auth/token/lookup-self", token=token))["data"]["policies"] == ["root"]
    await core.seal_now()


@pytest.mark.parametrize(("auto", "name"), [(True, "secret_shares"), (True, "pgp_keys"), (False, "recovery_shares")])
async def test_what_the_seal_does_not_have_is_refused(auto: bool, name: str) -> None:
    """Whoever asks for unseal keys where a node unseals by itself, or for recovery keys elsewhere, is told so."""
    core, sources = fresh_core(auto=auto)
    body = {"secret_shares": 0, "secret_threshold": 0, "recovery_shares": 0, "recovery_threshold": 0}
    value = ["a"] if name == "pgp_keys" else 3
    refused = await Live(core, sources, "").refused("POST", "sys/init", {**body, name: value}, token="", status=400)
    assert refused.errors == [f"parameters {name} not applicable to seal type {core.seal.type}"]

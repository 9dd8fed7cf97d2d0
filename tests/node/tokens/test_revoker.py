"""node/tokens/revoker.py: the end of a token and of everything below it, whatever happens in between."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.errors import Conflict, NoLeader
from engines.common.plan import Put
from node.tokens import store
from node.tokens.revoker import BATCH
from tests.node.tokens.rig import Rig

# Each number is the parent of the next token: an index into the tokens made so far.
TREES = st.lists(st.integers(0, 30), min_size=1, max_size=25)


async def grown(rig: Rig, parents: list[int]) -> tuple[list[str], list[str], list[int]]:
    """A tree below a root token: tokens, their keys and the index of each one's parent (-1: the root)."""
    root = await rig.root()
    tokens: list[str] = []
    keys: list[str] = []
    above: list[int] = []
    for choice in parents:
        parent = choice % (len(tokens) + 1) - 1
        made = await rig.child(root if parent < 0 else tokens[parent])
        tokens.append(made.token)
        keys.append(made.key)
        above.append(parent)
    return tokens, keys, above


def subtree(above: list[int], top: int) -> set[int]:
    """The model: everything at or below one token."""
    below = {top}
    for index, parent in enumerate(above):
        if parent in below:
            below.add(index)
    return below


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(parents=TREES, steps=st.lists(st.tuples(st.booleans(), st.integers(0, 30)), min_size=1, max_size=6))
def test_revocations_follow_the_model(parents: list[int], steps: list[tuple[bool, int]]) -> None:
    """Revoking ends exactly the subtree; revoking without children ends one and frees those below it."""

    async def run() -> None:
        rig = Rig()
        tokens, keys, above = await grown(rig, parents)
        alive = set(range(len(tokens)))
        for spares_children, choice in steps:
            top = choice % len(tokens)
            if spares_children:
                await rig.revoker.revoke_sparing_children(keys[top])
                alive.discard(top)
                above = [-1 if parent == top else parent for parent in above]
            else:
                await rig.revoker.revoke(keys[top])
                alive -= subtree(above, top)
            assert {i for i, token in enumerate(tokens) if await rig.alive(token)} == alive
        await rig.sweep_all()
        assert {i for i, token in enumerate(tokens) if await rig.alive(token)} == alive
        await assert_indexes_agree(rig, len(alive) + 1)

    asyncio.run(run())


async def assert_indexes_agree(rig: Rig, count: int) -> None:
    """Every index entry has its token and the other way round; nothing is left of those that ended."""
    records = {key.removeprefix(store.RECORDS) for key in rig.store.keys_below(store.RECORDS)}
    assert len(records) == count
    entries = [rig.store.entries[key][0] for key in rig.store.keys_below(store.ACCESSORS)]
    accessors = [store.decode_accessor(entry)[1] for entry in entries]
    assert set(accessors) == records
    children = rig.store.keys_below(store.PARENTS)
    assert {key.rsplit("/", 1)[1] for key in children} <= records
    assert {key.rsplit("/", 2)[1] for key in children} <= records
    dues = rig.store.keys_below("sys/expire/")
    assert {key.rsplit("-", 1)[1] for key in dues} <= records


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(parents=TREES, top=st.integers(0, 30), commits=st.integers(0, 12), spares_children=st.booleans())
def test_a_revocation_cut_off_anywhere_is_finished_by_the_next_leader(
    parents: list[int], top: int, commits: int, spares_children: bool
) -> None:
    """Cut off after any number of commits: if the first one happened, the sweeper of a new leader does the rest."""

    async def run() -> None:
        rig = Rig()
        tokens, keys, above = await grown(rig, parents)
        leases = {i: await rig.lease(token) for i, token in enumerate(tokens)}
        target = top % len(tokens)
        ended = {target} if spares_children else subtree(above, target)
        rig.store.fail_after = rig.store.commits + commits
        revoke = rig.revoker.revoke_sparing_children if spares_children else rig.revoker.revoke
        try:
            await revoke(keys[target])
        except NoLeader:
            pass
        else:
            assert not any([await rig.alive(tokens[i]) for i in ended])
        rig.restart()
        await rig.sweep_all()
        alive = set(range(len(tokens))) - (ended if commits else set())
        assert {i for i, token in enumerate(tokens) if await rig.alive(token)} == alive
        assert set(rig.revoked) == {leases[i] for i in ended if commits}
        await assert_indexes_agree_with_leases(rig, len(alive) + 1)

    asyncio.run(run())


async def assert_indexes_agree_with_leases(rig: Rig, count: int) -> None:
    leases = {key.rsplit("-", 1)[1] for key in rig.store.keys_below("sys/expire/") if "-lease-" in key}
    assert len(leases) == len(rig.store.keys_below("sys/lease/id/")) == len(rig.store.keys_below("sys/lease/by-token/"))
    for key in rig.store.keys_below("sys/expire/"):
        if "-lease-" in key:
            rig.store.entries.pop(key)
    await assert_indexes_agree(rig, count)


async def test_a_large_tree_is_ended_in_bounded_commits() -> None:
    """1,000 children and a chain of 300: no commit grows with the tree."""
    rig = Rig()
    root = await rig.root()
    top = await rig.child(root)
    wide = [(await rig.child(top.token)).token for _ in range(1000)]
    deep = [top.token]
    for _ in range(300):
        deep.append((await rig.child(deep[-1])).token)
    await rig.revoker.revoke(top.key)
    assert not any([await rig.alive(token) for token in wide + deep])
    assert await rig.alive(root)
    await rig.sweep_all()
    assert rig.store.largest_commit <= BATCH * 5
    await assert_indexes_agree(rig, 1)


async def test_children_made_while_their_parent_ends_end_with_it() -> None:
    """Creation and revocation at the same time: whichever child was acknowledged is gone once revoke returns."""
    rig = Rig()
    parent = await rig.child(await rig.root())
    made: list[str] = []

    async def keep_making() -> None:
        while True:
            try:
                made.append((await rig.child(parent.token)).token)
            except Conflict:
                continue
            except Exception:
                return

    makers = [asyncio.create_task(keep_making()) for _ in range(4)]
    while len(made) < 20:
        await asyncio.sleep(0)
    await rig.revoker.revoke(parent.key)
    dead = [not await rig.alive(token) for token in made]
    await asyncio.gather(*makers)
    assert len(dead) >= 20
    assert all(dead)
    assert not any([await rig.alive(token) for token in made])


async def test_a_token_that_expires_takes_its_children_and_its_cubbyhole_with_it() -> None:
    """The sweeper finds the end in the time index; nothing of the token stays."""
    rig = Rig()
    parent = await rig.child(await rig.root(), ttl_s=100)
    child = await rig.child(parent.token, ttl_s=10_000)
    await rig.store.commit(_cubbyhole(parent.key))
    rig.sources.advance(100_000)
    await rig.sweep_all()
    assert not await rig.alive(child.token)
    assert not rig.store.keys_below("logical/cubbyhole/")
    await assert_indexes_agree(rig, 1)


def _cubbyhole(key: str) -> list[Put]:
    return [Put(f"logical/cubbyhole/{key}/a/{i}", b"v") for i in range(300)]


async def test_a_renewed_token_is_not_swept_at_its_old_end() -> None:
    """A renewal moves the token's place in the time index."""
    rig = Rig()
    made = await rig.child(await rig.root(), ttl_s=100)
    _, writes = rig.tokens.renew_writes(await rig.tokens.resolve(made.token, ""), rig.sources.now_ms() + 500_000)
    await rig.store.commit(writes)
    rig.sources.advance(200_000)
    await rig.sweep_all()
    assert await rig.alive(made.token)
    rig.sources.advance(300_000)
    await rig.sweep_all()
    await assert_indexes_agree(rig, 1)


async def test_tokens_end_by_the_path_they_were_made_at() -> None:
    """sys/leases/revoke-prefix ends tokens by path, whole segments only, and none issued after the call."""
    rig = Rig()
    root = await rig.root()
    ended = [(await rig.child(root, path=path)).token for path in ("auth/userpass/login/a", "auth/userpass")]
    kept = [(await rig.child(root, path=path)).token for path in ("auth/userpass2/login/a", "auth/token/create")]
    await rig.revoker.revoke_below_path("auth/userpass", rig.sources.now_ms())
    assert not any([await rig.alive(token) for token in ended])
    assert all([await rig.alive(token) for token in kept])
    later = await rig.child(root, path="auth/userpass/login/b")
    await rig.revoker.revoke_below_path("auth/userpass", rig.sources.now_ms() - 1)
    assert await rig.alive(later.token)


@pytest.mark.parametrize("times", [1, 2])
async def test_revoking_what_is_gone_is_no_error(times: int) -> None:
    """The command line says "if it existed"."""
    rig = Rig()
    made = await rig.child(await rig.root())
    for _ in range(times):
        await rig.revoker.revoke(made.key)
    await rig.revoker.revoke(rig.tokens.key_of("never was"))
    await rig.revoker.revoke_sparing_children(made.key)


async def test_tidy_mends_what_other_means_left_behind() -> None:
    """Index entries without a token go, and a token without its place in time gets it back."""
    rig = Rig()
    root = await rig.root()
    lost, kept = await rig.child(root), await rig.child(root)
    del rig.store.entries[store.record_key(lost.key)]
    for key in rig.store.keys_below("sys/expire/"):
        del rig.store.entries[key]
    await rig.tidy.run()
    assert rig.tidy.mended == 3
    await assert_indexes_agree(rig, 2)
    rig.sources.advance(kept.entry.ttl_s * 1000)
    await rig.sweep_all()
    await assert_indexes_agree(rig, 1)
    await rig.tidy.run()
    assert rig.tidy.mended == 0

"""A request that a standby passed on and whose leader was lost: it is repeated only if certainly nothing was done."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest

from cluster.errors import NoLeader
from node.core import Core
from node.forwarding import encode_response
from node.join import begin_join
from node.response import Response
from node.unseal import unseal
from node.view import OpenedStore
from tests.node.audit.kit import ROOT, Asked, body_of
from tests.node.cores import raft_core
from tests.node.test_join import first_node, names, target_of, until


@dataclass
class Pair:
    """A leader and a standby that forwards to it."""

    leader: Asked
    standby: Asked

    async def token(self, uses: int) -> str:
        made = await self.leader.call("POST", "auth/token/create", {"num_uses": uses, "policies": ["root"]})
        return str(body_of(made)["auth"]["client_token"])

    async def uses_left(self, token: str) -> int:
        found = await self.leader.call("POST", "auth/token/lookup", {"token": token})
        return int(body_of(found)["data"]["num_uses"])


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with raft_core(tmp_path / "n1", "n1") as leader, raft_core(tmp_path / "n2", "n2") as standby:
        share = await first_node(leader)
        await begin_join(standby, target_of(leader))
        await unseal(standby, share, reset=False)
        await until(lambda: not standby.barrier.is_sealed and names(leader) == ["n1", "n2"])
        await until(lambda: standby.active_node() is not None)
        made = Pair(Asked(leader), Asked(standby))
        assert (await made.standby.call("GET", "sys/mounts", token=ROOT)).status == 200
        yield made


class Lost:
    """The leader does what it is asked, and is lost before its answer is on the way, so many times."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.asked = 0

    def __call__(self, response: Response) -> bytes:
        self.asked += 1
        if self.left:
            self.left -= 1
            raise ConnectionError
        return encode_response(response)


@pytest.mark.parametrize("method", ["GET", "LIST"])
async def test_a_read_whose_leader_was_lost_is_not_repeated(pair: Pair, method: str) -> None:
    """It may have taken a use or made credentials: the client is told, and one use is gone, not two."""
    token = await pair.token(3)
    with patch("node.core.encode_response", Lost(1)) as lost:
        answer = await pair.standby.call(method, "sys/policies/acl", token=token)
    assert answer.status == 500
    assert "may have been done" in body_of(answer)["errors"][0]
    assert lost.asked == 1
    assert await pair.uses_left(token) == 2


async def test_a_request_that_nobody_worked_on_is_repeated(pair: Pair) -> None:
    """A leader that says that it leads no more has done nothing: the standby asks again, unseen by the client."""
    times = 0
    forwarded = Core._answer_forwarded

    async def steps_down(self: Core, *given: object) -> Response:
        nonlocal times
        times += 1
        return Response(0) if times == 1 else await forwarded(self, *given)  # type: ignore[arg-type]

    token = await pair.token(3)
    with patch("node.core.Core._answer_forwarded", steps_down):
        assert (await pair.standby.call("GET", "sys/mounts", token=token)).status == 200
    assert times == 2
    assert await pair.uses_left(token) == 2


@pytest.mark.parametrize("through", ["leader", "standby"])
async def test_a_use_that_was_taken_is_not_taken_again_by_the_next_leader(pair: Pair, through: str) -> None:
    """Leadership is lost between the use and the write: asking again would take two uses for one request."""
    token = await pair.token(3)
    commit = OpenedStore.commit

    async def lost_behind_the_use(self: OpenedStore, prefix: str, writes: object, more: object = ()) -> int:
        if any("sys/policy" in write.key for write in (*writes, *more)):  # type: ignore[misc]
            raise NoLeader("another node leads")
        return await commit(self, prefix, writes, more)  # type: ignore[arg-type]

    node = pair.leader if through == "leader" else pair.standby
    with patch("node.view.OpenedStore.commit", lost_behind_the_use):
        answer = await node.call("POST", "sys/policies/acl/p", {"policy": 'path "a" {}'}, token=token)
    assert answer.status == 500
    assert "a use of the token was taken" in body_of(answer)["errors"][0]
    assert await pair.uses_left(token) == 2

"""Tokens on the way of a request, asked through a whole node in memory."""

from unittest.mock import patch

from cluster.errors import NoLeader
from tests.node.audit.kit import Asked, active_node, body_of


async def wrapped(node: Asked) -> str:
    answer = await node.call("GET", "sys/mounts", headers={"x-vault-wrap-ttl": "60"})
    return str(body_of(answer)["wrap_info"]["token"])


async def test_looking_up_a_wrapping_token_with_itself_leaves_it_whole() -> None:
    """sys/wrapping/lookup is served to anybody: the token that is sent with it is not used by that."""
    async with active_node() as node:
        token = await wrapped(node)
        for _ in range(3):
            found = await node.call("POST", "sys/wrapping/lookup", {}, token=token)
            assert found.status == 200
            assert body_of(found)["data"]["creation_path"] == "sys/mounts"
        unwrapped = await node.call("POST", "sys/wrapping/unwrap", {}, token=token)
        assert unwrapped.status == 200
        again = await node.call("POST", "sys/wrapping/unwrap", {}, token=token)
        assert again.status in (400, 403)


async def test_a_bad_token_does_not_stand_in_the_way_of_what_needs_none() -> None:
    """A wrapping token in the body is looked up whatever token the request carries."""
    async with active_node() as node:
        token = await wrapped(node)
        found = await node.call("POST", "sys/wrapping/lookup", {"token": token}, token="hvs.ended")
        assert found.status == 200


async def test_a_deleted_version_says_the_type_of_its_mount() -> None:
    """The 404 of a deleted version has the envelope of any answer (API documentation, "KV version 2")."""
    async with active_node() as node:
        await node.call("POST", "secret/data/a", {"data": {"b": 1}})
        await node.call("DELETE", "secret/data/a")
        answer = await node.call("GET", "secret/data/a")
        assert answer.status == 404
        assert body_of(answer)["mount_type"] == "kv"
        assert body_of(answer)["data"]["metadata"]["version"] == 1


async def test_the_last_answer_of_a_token_is_given_though_clearing_it_away_fails() -> None:
    """What was wrapped exists once: a leader that falls after its token was used must not swallow it."""
    async with active_node() as node:
        token = await wrapped(node)

        async def fails(key: str) -> None:
            raise NoLeader("leadership was lost")

        with patch("node.tokens.revoker.Revoker.revoke", lambda _self, key: fails(key)):
            answer = await node.call("POST", "sys/wrapping/unwrap", {}, token=token)
        assert answer.status == 200
        assert (await node.call("POST", "sys/wrapping/unwrap", {}, token=token)).status in (400, 403)

"""sys/generate-root: a root token from a quorum of key shares (API documentation of this name)."""

from base64 import b64decode
from collections.abc import AsyncIterator

import pytest

from cluster.errors import NoLeader
from node.ceremonies.generation import new_otp
from node.sources import FixedSources
from tests.node.ceremonies.kit import Held, held, people

ATTEMPT = "sys/generate-root/attempt"
UPDATE = "sys/generate-root/update"


@pytest.fixture(params=["unseal keys", "recovery keys"])
async def node(request: pytest.FixtureRequest) -> AsyncIterator[Held]:
    async with held(auto=request.param == "recovery keys") as made:
        yield made


def unmasked(encoded: str, otp: str) -> str:
    """As clients decode it: base64 without padding, exclusive-or with the OTP."""
    assert "=" not in encoded
    masked = b64decode(encoded + "=" * (-len(encoded) % 4))
    return bytes(a ^ b for a, b in zip(masked, otp.encode(), strict=True)).decode()


async def is_root(node: Held, token: str) -> bool:
    reply = await node.call("GET", "auth/token/lookup-self", token=token)
    return reply.status == 200 and reply.data["policies"] == ["root"]


async def roots(node: Held) -> int:
    return len((await node.list("auth/token/accessors"))["keys"])


async def test_idle(node: Held) -> None:
    """What would be needed, and how long an OTP must be: as long as a token."""
    assert await node.ok("GET", ATTEMPT, token="") == {
        "nonce": "",
        "started": False,
        "progress": 0,
        "required": 2,
        "complete": False,
        "encoded_token": "",
        "encoded_root_token": "",
        "pgp_fingerprint": "",
        "otp": "",
        "otp_length": 28,
    }
    refused = await node.refused("POST", UPDATE, {"key": node.share, "nonce": "n"}, token="", status=400)
    assert refused.errors[0].startswith("no root generation in progress; a ceremony ends when")
    await node.delete(ATTEMPT, token="")


async def test_with_an_otp_of_the_server(node: Held) -> None:
    """The OTP is told once; the token is masked with it, is root, and has no end and no parent."""
    begun = await node.ok("POST", ATTEMPT, {}, token="")
    assert len(begun["otp"]) == begun["otp_length"] == 28 and begun["started"] is True
    assert (await node.ok("GET", ATTEMPT, token=""))["otp"] == ""
    first = await node.give(UPDATE, node.shares[:1], begun["nonce"])
    assert (first.body["progress"], first.body["complete"], first.body["otp"]) == (1, False, "")
    done = (await node.give(UPDATE, node.shares[2:], begun["nonce"])).body
    assert (done["progress"], done["required"], done["complete"]) == (2, 2, True)
    assert done["nonce"] == begun["nonce"] and done["otp"] == ""
    token = unmasked(done["encoded_token"], begun["otp"])
    assert token.startswith("hvs.") and await is_root(node, token)
    found = (await node.ok("GET", "auth/token/lookup-self", token=token))["data"]
    assert (found["orphan"], found["ttl"], found["display_name"]) == (True, 0, "root")
    decoded = await node.write("sys/decode-token", encoded_token=done["encoded_token"], otp=begun["otp"])
    assert decoded == {"token": token}
    assert (await node.ok("GET", ATTEMPT, token=""))["started"] is False


async def test_with_an_otp_of_ones_own() -> None:
    """It must have the length of a token, and goes with no PGP key."""
    async with held() as node:
        for wrong in ("short", "x" * 29, "ä" * 28):
            await node.refused("POST", ATTEMPT, {"otp": wrong}, token="", status=400)
        both = {"otp": "x" * 28, "pgp_key": people(1)[0].public}
        refused = await node.refused("POST", ATTEMPT, both, token="", status=400)
        assert refused.errors == ['only one of "otp" and "pgp_key" must be specified']
        nonce = await node.begin(ATTEMPT, {"otp": "o" * 28})
        done = (await node.give(UPDATE, node.shares[:2], nonce)).body
        assert await is_root(node, unmasked(done["encoded_token"], "o" * 28))


async def test_with_a_pgp_key(node: Held) -> None:
    """The token is an OpenPGP message that the owner of the key alone can read; there is no OTP."""
    owner, other = people(2)
    begun = await node.ok("POST", ATTEMPT, {"pgp_key": owner.public}, token="")
    assert begun["pgp_fingerprint"] == owner.fingerprint and begun["otp"] == ""
    done = (await node.give(UPDATE, node.shares[:2], begun["nonce"])).body
    assert done["pgp_fingerprint"] == owner.fingerprint
    assert await is_root(node, owner.reads(done["encoded_token"]))
    with pytest.raises(RuntimeError):
        other.reads(done["encoded_token"])


async def test_wrong_shares(node: Held) -> None:
    """As of a rekey: those that do not fit together are all dropped, the attempt goes on, and no token was made."""
    before = await roots(node)
    nonce = await node.begin(ATTEMPT)
    wrong = node.shares[1][:10] + "00" + node.shares[1][12:]
    refused = await node.give(UPDATE, [node.share, wrong], nonce)
    assert refused.status == 400 and "not those of this cluster" in refused.errors[0]
    for key, sent in (("", nonce), ("zz", nonce), (node.share, ""), (node.share, "other")):
        refused = await node.refused("POST", UPDATE, {"key": key, "nonce": sent}, token="", status=400)
        assert nonce not in refused.errors[0]
    status = await node.ok("GET", ATTEMPT, token="")
    assert (status["progress"], status["nonce"]) == (0, nonce)
    assert await roots(node) == before
    assert (await node.give(UPDATE, node.shares[:2], nonce)).body["complete"] is True
    assert await roots(node) == before + 1


async def test_one_at_a_time_and_cancelled() -> None:
    """A second one is refused; after a cancellation there is another nonce and another OTP."""
    async with held() as node:
        begun = await node.ok("POST", ATTEMPT, {}, token="")
        assert (await node.refused("POST", ATTEMPT, {}, token="", status=400)).errors == [
            "root generation already in progress"
        ]
        await node.give(UPDATE, node.shares[:1], begun["nonce"])
        await node.delete(f"{ATTEMPT}?nonce={begun['nonce']}", token="")
        again = await node.ok("POST", ATTEMPT, {}, token="")
        assert again["nonce"] != begun["nonce"] and again["otp"] != begun["otp"] and again["progress"] == 0


async def test_it_ends_with_sealing_and_where_it_cannot_be_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No token then, and nothing under way."""
    async with held() as node:
        nonce = await node.begin(ATTEMPT)
        await node.give(UPDATE, node.shares[:1], nonce)
        assert await node.unseals_with(node.shares[:2])
        assert (await node.ok("GET", ATTEMPT, token=""))["started"] is False
        before, nonce = await roots(node), await node.begin(ATTEMPT)

        async def deposed(_: object) -> int:
            raise NoLeader("not now")

        with monkeypatch.context() as patched:
            patched.setattr("node.core.LEADER_WAIT_S", 0.0)
            patched.setattr(node.core.storage.store, "commit", deposed)
            reply = await node.give(UPDATE, node.shares[:2], nonce)
        assert reply.status in (400, 500, 503) and "encoded_token" not in reply.body
        assert (await node.ok("GET", ATTEMPT, token=""))["started"] is False
        assert await roots(node) == before


async def test_decode_token_refuses_what_does_not_fit() -> None:
    """Another length, no base64, or nothing: one answer."""
    async with held() as node:
        for encoded, otp in (("!!", "a"), ("AAAA", "a"), ("AAAA", "\x80"), ("gICA", "abc")):
            body = {"encoded_token": encoded, "otp": otp}
            refused = await node.refused("POST", "sys/decode-token", body, status=400)
            assert refused.errors == ["the encoded token and the OTP do not belong together"]
        await node.refused("POST", "sys/decode-token", {"encoded_token": "AAAA", "otp": "abc"}, token="", status=403)


def test_an_otp_is_base_62() -> None:
    """Of the asked length, of letters and digits, and different each time."""
    sources = FixedSources(0, 1)
    found = [new_otp(28, sources.random) for _ in range(200)]
    assert {len(otp) for otp in found} == {28} and len(set(found)) == 200
    assert len(set("".join(found))) == 62 and "".join(found).isalnum()

"""Published weaknesses of key ceremonies. docs/security.md lists all."""

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from tests.node.ceremonies.kit import Held, held, people

# Each kind of ceremony: whether the node unseals by itself, where it begins and what with, and where it takes shares.
REKEY: Final = {"secret_shares": 1, "secret_threshold": 1, "require_verification": True}
KINDS: Final = {
    "rekey": (False, "sys/rekey/init", REKEY, "sys/rekey/update"),
    "rekey-recovery-key": (True, "sys/rekey-recovery-key/init", REKEY, "sys/rekey-recovery-key/update"),
    "generate-root": (False, "sys/generate-root/attempt", {}, "sys/generate-root/update"),
}
Kind = tuple[Held, str, dict[str, object], str]


@pytest.fixture(params=sorted(KINDS))
async def kind(request: pytest.FixtureRequest) -> AsyncIterator[Kind]:
    auto, path, body, update = KINDS[request.param]
    async with held(auto=auto) as node:
        yield node, path, dict(body), update


async def operator(node: Held, path: str) -> str:
    """A token that may begin and end the ceremony at this path, and nothing else."""
    await node.policy("operator", f'path "{path.rpartition("/")[0]}/*" {{ capabilities = ["update", "delete"] }}')
    made = await node.ok("POST", "auth/token/create", {"policies": ["operator"], "no_default_policy": True})
    return str(made["auth"]["client_token"])


async def test_cve_2026_5807_nobody_without_a_right_stands_in_the_way(kind: Kind) -> None:
    """CVE-2026-5807: who has a right begins although a stranger holds the place, and no stranger ends what that began.

    Without any token it stays as documented: one at a time, and the nonce to end it.
    """
    node, path, body, update = kind
    token = await operator(node, path)
    stranger = await node.begin(path, body)
    await node.give(update, node.shares[:1], stranger)
    nonce = await node.begin(path, body, token=token)
    assert nonce != stranger and (await node.ok("GET", path, token=""))["progress"] == 0
    for sender in ("", "hvs.nobody", "hvs." + "x" * 24):
        for query in ("", f"?nonce={nonce}", "?nonce=other"):
            assert (await node.call("DELETE", path + query, token=sender)).status == 403
        assert (await node.call("POST", path, body, token=sender)).status == 400
    node.sources.advance(3_600_000)
    assert (await node.call("DELETE", path, token="")).status == 403
    assert (await node.call("POST", path, body, token=token)).status == 400
    assert (await node.call("POST", path, body, token="root")).status == 400
    assert (await node.give(update, node.shares[:2], nonce)).status == 200, "key holders need no token"


async def test_cve_2026_5807_a_stranger_is_ended_by_who_has_a_right(kind: Kind) -> None:
    """CVE-2026-5807: a token with a right ends what anybody began, without its nonce."""
    node, path, body, _ = kind
    token = await operator(node, path)
    await node.begin(path, body)
    await node.delete(path, token=token)
    assert (await node.ok("GET", path, token=""))["started"] is False
    await node.begin(path, body, token="root")
    await node.delete(path, token=token)
    assert (await node.ok("GET", path, token=""))["started"] is False


async def test_cve_2025_4656_cancelling_takes_the_nonce_or_a_right(kind: Kind) -> None:
    """CVE-2025-4656: without a right nothing is ended without its nonce in its first ten minutes, nor with another."""
    node, path, body, _ = kind
    nonce = await node.begin(path, body)
    node.sources.advance(599_000)
    for sent in ({}, {"nonce": ""}, {"nonce": "other"}, {"nonce": nonce[:-1]}):
        refused = await node.refused("DELETE", path, sent, token="", status=400)
        assert nonce not in str(refused.body)
    weak = (await node.ok("POST", "auth/token/create", {"policies": ["default"]}))["auth"]["client_token"]
    await node.refused("DELETE", path, token=weak, status=400)
    assert (await node.ok("GET", path, token=""))["nonce"] == nonce
    node.sources.advance(2_000)
    await node.refused("DELETE", path, {"nonce": "other"}, token="", status=400)
    assert (await node.call("DELETE", path, token="")).status == 204
    nonce = await node.begin(path, body)
    assert (await node.call("DELETE", path, {"nonce": nonce}, token="")).status == 204


@pytest.mark.parametrize("base", ["rekey", "rekey-recovery-key"])
async def test_cve_2025_4656_a_verification_is_not_reset_by_strangers(base: str) -> None:
    """CVE-2025-4656: what holders have given back is dropped only with the verification's nonce, or a right."""
    async with held(auto=base != "rekey") as node:
        path = f"sys/{base}"
        for token in ("", "root"):
            nonce = await node.begin(f"{path}/init", REKEY, token=token)
            out = (await node.give(f"{path}/update", node.shares[:2], nonce)).body
            for query in ("", f"?nonce={nonce}", "?nonce=other"):
                assert (await node.call("DELETE", f"{path}/verify{query}", token="")).status in (400, 403)
            assert (await node.ok("GET", f"{path}/verify", token=""))["nonce"] == out["verification_nonce"]
            await node.ok("DELETE", f"{path}/verify", token="root")
            await node.delete(f"{path}/init")


async def test_cve_2025_4656_every_step_is_audited(kind: Kind, tmp_path: Path) -> None:
    """CVE-2025-4656: begin, give, cancel, and what is refused, each with who asked, and without its secrets."""
    node, path, body, update = kind
    log = tmp_path / "audit.log"
    await node.write("sys/audit/file", type="file", options={"file_path": str(log)})
    owner = people(1)[0]
    nonce = await node.begin(path, {**body, **({"pgp_key": owner.public} if not body else {})}, token="root")
    await node.refused("DELETE", path, token="", status=403)
    done = (await node.give(update, node.shares[:2], nonce)).body
    begun = await node.call("POST", path, body, token="")
    await node.call("DELETE", path, token="root")
    records = [json.loads(line) for line in log.read_text().splitlines()]
    steps = [
        (record["request"]["operation"], record["request"]["path"], record["auth"].get("display_name", ""))
        for record in records
        if record["type"] == "request" and record["request"]["path"].startswith(path.rpartition("/")[0])
    ]
    assert steps == [
        ("update", path, "root"),
        ("delete", path, ""),
        ("update", update, ""),
        ("update", update, ""),
        ("update", path, ""),
        ("delete", path, "root"),
    ]
    assert [record["error"] for record in records if record.get("error")], "the refusal is recorded as one"
    text = log.read_text()
    secrets = [*node.shares, *done.get("keys", ()), *done.get("keys_base64", ()), done.get("encoded_token") or "-none-"]
    assert not [secret for secret in (*secrets, begun.body.get("otp") or "-none-") if secret in text]


async def test_nothing_secret_is_logged(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    """A ceremony to its end, with wrong shares and without: no share, key, OTP or token in any log or repr."""
    node, path, body, update = kind
    caplog.set_level(logging.DEBUG)
    begun = await node.ok("POST", path, body, token="")
    wrong = node.shares[1][:10] + "00" + node.shares[1][12:]
    await node.give(update, [node.share, wrong], begun["nonce"])
    done = (await node.give(update, node.shares[:2], begun["nonce"])).body
    core = node.core
    assert done["complete"] is True and core.root_key is not None
    found = caplog.text + repr(core) + repr(core.ceremonies) + repr(list(core.ceremonies.rekeys.values()))
    secrets = [*node.shares, wrong, *done.get("keys", ()), done.get("encoded_token"), begun.get("otp")]
    assert not [
        secret for secret in (*secrets, core.root_key.hex(), repr(core.root_key)[2:-1]) if secret and secret in found
    ]


async def test_a_share_never_goes_to_another_ceremony(kind: Kind) -> None:
    """hashicorp/vault#844: who swaps the ceremony under the holders' hands gets none of their shares."""
    node, path, body, update = kind
    agreed = await node.begin(path, body)
    await node.give(update, node.shares[:1], agreed)
    await node.delete(f"{path}?nonce={agreed}", token="")
    trap = {**body, "pgp_keys": [people(1)[0].public]} if body else {"pgp_key": people(1)[0].public}
    swapped = await node.begin(path, trap)
    for share in node.shares:
        await node.refused("POST", update, {"key": share, "nonce": agreed}, token="", status=400)
    status = await node.ok("GET", path, token="")
    assert (status["nonce"], status["progress"]) == (swapped, 0)


async def test_a_token_that_has_ended_does_not_stand_in_the_way(kind: Kind) -> None:
    """Who generates a root token often has an old one in the environment: it counts as none, and one use is one use."""
    node, path, body, _ = kind
    for token in ("hvs.gone", "hvb.gone", "x" * 9000):
        assert (await node.call("GET", path, token=token)).status == 200
    await node.policy("operator", f'path "{path}" {{ capabilities = ["update"] }}')
    made = await node.ok("POST", "auth/token/create", {"policies": ["operator"], "num_uses": 1})
    token = made["auth"]["client_token"]
    nonce = await node.begin(path, body, token=token)
    assert (await node.call("DELETE", f"{path}?nonce={nonce}", token="")).status == 403, "it was begun with a right"
    assert (await node.call("GET", "auth/token/lookup-self", token=token)).status == 403, "its one use is gone"

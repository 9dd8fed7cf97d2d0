"""node/seal/static.py and registry.py: from a stanza to a seal that opens only what it should."""

import logging
import secrets
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from node.config.bind import Place
from node.config.seals import SealStanza
from node.errors import ConfigError, SealRefused
from node.seal import Seal
from node.seal.registry import seal_from_stanza

ONE, TWO = secrets.token_bytes(32), secrets.token_bytes(32)


def build(type_: str, env: dict[str, str] | None = None, **settings: str | tuple[str, ...]) -> Seal:
    stanza = SealStanza(type=type_, settings=settings, place=Place("node.hcl", 3), lines={"keys": 4})
    return seal_from_stanza(stanza, env or {}, secrets.token_bytes)


def b64(key: bytes) -> str:
    return b64encode(key).decode()


async def test_aesgcm_wraps_with_the_first_key_and_opens_with_all() -> None:
    """`keys` is in order of use: after a new key is put in front, what the old one wrapped still opens."""
    old, both = build("aesgcm", keys=(b64(ONE),)), build("aesgcm", keys=(b64(TWO), b64(ONE)))
    assert (both.type, both.is_auto) == ("aesgcm", True)
    assert await both.unwrap(await old.wrap(b"root")) == b"root"
    with pytest.raises(SealRefused):
        await old.unwrap(await both.wrap(b"root"))


async def test_static_names_its_keys() -> None:
    """`static` opens with the previous key what that wrapped, and wraps with the current one."""
    old = build("static", current_key_id="2025", current_key=ONE.hex())
    new = build("static", current_key_id="2026", current_key=b64(TWO), previous_key_id="2025", previous_key=b64(ONE))
    assert new.type == "static"
    blob = await old.wrap(b"root")
    assert await new.unwrap(blob) == b"root"
    assert await build("static", current_key_id="2026", current_key=b64(TWO)).unwrap(await new.wrap(b"r")) == b"r"


async def test_keys_by_reference(tmp_path: Path) -> None:
    """A key may be in a variable or in a file, there as text or as its bytes."""
    (tmp_path / "raw").write_bytes(ONE)
    (tmp_path / "text").write_text(b64(ONE) + "\n")
    blob = await build("static", current_key_id="k", current_key=b64(ONE)).wrap(b"root")
    for reference in ("env://KEY", f"file://{tmp_path}/raw", f"file://{tmp_path}/text"):
        seal = build("static", {"KEY": ONE.hex()}, current_key_id="k", current_key=reference)
        assert await seal.unwrap(blob) == b"root"


async def test_cve_2023_2197_tampering_gives_one_error(caplog: pytest.LogCaptureFixture) -> None:
    """Any changed byte and any cut of a wrapped key is the same refusal, and nothing is logged or shown."""
    caplog.set_level(logging.DEBUG)
    seal = build("aesgcm", keys=(b64(ONE),))
    blob = await seal.wrap(b"canary root key!")
    texts = set()
    for at in range(len(blob)):
        for damaged in (blob[:at] + bytes([blob[at] ^ 0x01]) + blob[at + 1 :], blob[:at]):
            with pytest.raises(SealRefused) as error:
                await seal.unwrap(damaged)
            texts.add(str(error.value))
    assert len(texts) == 1
    assert "canary" not in texts.pop() + caplog.text
    with pytest.raises(SealRefused):
        await seal.unwrap(b"\x01" * 10**6)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "keys"),
        ({"keys": ("canary",)}, "keys"),
        ({"keys": (b64(b"canary" * 5),)}, "keys"),
        ({"keys": ("env://CANARY_IS_UNSET",)}, "keys"),
        ({"keys": ("file:///nowhere/canary",)}, "keys"),
    ],
)
def test_wrong_keys_without_echo(settings: dict[str, Any], named: str) -> None:
    """A missing, malformed or unreadable key is a ConfigError with file and line that shows nothing of it."""
    with pytest.raises(ConfigError, match=rf"^node\.hcl:4: {named}: ") as error:
        build("aesgcm", **settings)
    assert "canary" not in str(error.value).lower()


@pytest.mark.parametrize(
    "settings",
    [
        {"current_key": b64(ONE)},
        {"current_key_id": "k"},
        {"current_key_id": "k", "current_key": b64(ONE), "previous_key_id": "j"},
        {"current_key_id": "k", "current_key": b64(ONE), "previous_key": b64(TWO)},
        {"current_key_id": "k", "current_key": b64(ONE), "previous_key_id": "k", "previous_key": b64(TWO)},
        {"current_key_id": "k" * 256, "current_key": b64(ONE)},
    ],
)
def test_incomplete_static_stanzas(settings: dict[str, Any]) -> None:
    """Key and id come together, ids differ, and an id fits the blob."""
    with pytest.raises(ConfigError, match=r"^node\.hcl:3: (current|previous)_key"):
        build("static", **settings)


def test_types_that_are_not_here() -> None:
    """A seal that is not built is refused by name, with the types that are available."""
    with pytest.raises(ConfigError, match=r"node\.hcl:3: the seal 'pkcs11' is not available here; .*aesgcm.*shamir"):
        build("pkcs11")
    assert build("shamir").type == "shamir"

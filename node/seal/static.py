"""Seals whose keys the operator hands to the node: the stanzas `aesgcm` and `static`.

`aesgcm` lists keys; the first wraps, and the others only open. `static` names a current and a previous key. A key is 32
bytes in base64 or hexadecimal, `env://NAME` for an environment variable, or `file:///path` for a file, which may also
hold the bytes themselves.
"""

import binascii
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from engines.common.crypto import KEY_BYTES, Aead, hmac_sha256
from node.barrier import Random
from node.config.seals import SealStanza
from node.limits import SEAL_KEY_FILE_BYTES_MAX
from node.seal import envelope

_KEY_ID_BYTES_MAX: Final = 255  # its length is one byte of the blob


class StaticSeal:
    """Wraps under its current key and opens with any key it holds; the blob says which."""

    is_auto: Final = True

    def __init__(self, type_: str, current_id: bytes, keys: Mapping[bytes, bytes], random: Random) -> None:
        """`keys` are 32 bytes each, by key id; `current_id` names the one that wraps."""
        self.type: Final = type_
        self._current_id = current_id
        self._ciphers = {key_id: Aead(key) for key_id, key in keys.items()}
        self._random = random

    async def wrap(self, plaintext: bytes) -> bytes:
        return envelope.wrap(self._ciphers[self._current_id], self._current_id, plaintext, self._random)

    async def unwrap(self, blob: bytes) -> bytes:
        cipher = self._ciphers.get(envelope.key_id_of(blob))
        if cipher is None:
            raise envelope.refusal()
        return envelope.unwrap(cipher, blob)


def aesgcm_seal(stanza: SealStanza, env: Mapping[str, str], random: Random) -> StaticSeal:
    """The seal of a stanza `aesgcm`. Raises ConfigError."""
    texts = stanza.list_of("keys")
    if not texts:
        raise stanza.error("keys", "at least one key is needed")
    # The keys have no names here, so a key's id is derived from it, one-way.
    ids_and_keys = [
        (hmac_sha256(key, b"strongroom/key-id")[:8], key) for key in (_key(stanza, "keys", text, env) for text in texts)
    ]
    return StaticSeal("aesgcm", ids_and_keys[0][0], dict(ids_and_keys), random)


def static_seal(stanza: SealStanza, env: Mapping[str, str], random: Random) -> StaticSeal:
    """The seal of a stanza `static`. Raises ConfigError."""
    current_id = _key_id(stanza, "current_key_id")
    keys = {current_id: _key(stanza, "current_key", stanza.required("current_key"), env)}
    if stanza.text("previous_key") or stanza.text("previous_key_id"):
        previous_id = _key_id(stanza, "previous_key_id")
        if previous_id == current_id:
            raise stanza.error("previous_key_id", "must differ from current_key_id")
        keys[previous_id] = _key(stanza, "previous_key", stanza.required("previous_key"), env)
    return StaticSeal("static", current_id, keys, random)


def _key_id(stanza: SealStanza, name: str) -> bytes:
    key_id = stanza.required(name).encode()
    if len(key_id) > _KEY_ID_BYTES_MAX:
        raise stanza.error(name, f"may have up to {_KEY_ID_BYTES_MAX} bytes")
    return key_id


def _key(stanza: SealStanza, name: str, text: str, env: Mapping[str, str]) -> bytes:
    """The key that this text is or refers to."""
    try:
        if text.startswith("env://"):
            return _decoded(_of_environment(text.removeprefix("env://"), env))
        if text.startswith("file://"):
            content = _of_file(text)
            return content if len(content) == KEY_BYTES else _decoded(content.decode("ascii"))
        return _decoded(text)
    except _Wrong as wrong:
        raise stanza.error(name, wrong.reason) from None
    except (ValueError, binascii.Error):  # their texts may quote the key
        raise stanza.error(name, f"a key is {KEY_BYTES} bytes in base64 or hexadecimal") from None


class _Wrong(Exception):
    """Why a reference cannot be followed; without the value."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _decoded(text: str) -> bytes:
    trimmed = text.strip()
    key = bytes.fromhex(trimmed) if len(trimmed) == 2 * KEY_BYTES else b64decode(trimmed, validate=True)
    if len(key) != KEY_BYTES:
        raise ValueError
    return key


def _of_environment(name: str, env: Mapping[str, str]) -> str:
    if not env.get(name):
        raise _Wrong("the environment variable it names is not set")
    return env[name]


def _of_file(reference: str) -> bytes:
    path = Path(unquote(urlsplit(reference).path))
    try:
        with path.open("rb") as file:
            return file.read(SEAL_KEY_FILE_BYTES_MAX)
    except OSError as error:
        raise _Wrong(f"the file it names cannot be read: {error.strerror}") from None

"""How a key becomes an LMDB key, and how the names directly below a folder are found without walking it.

LMDB keys end at 511 bytes, ours at 64 KiB. A key of up to SHORT_BYTES is stored as it is; a longer one under its
first SHORT_BYTES, NUL, and the SHA-256 of the whole, with the whole key inside the value. Long keys with the same
beginning are therefore neighbours and stand where that beginning belongs; only among themselves they need sorting.
"""

import hashlib
from collections.abc import Callable
from typing import Final

SHORT_BYTES: Final = 440
STORED_LONG_BYTES: Final = SHORT_BYTES + 1 + hashlib.sha256().digest_size  # 473: no short key has this length


def key_bytes(key: str) -> bytes:
    """UTF-8; the byte order is that of the code points, so str and bytes sort alike."""
    # A key that UTF-8 cannot hold is never stored, but asking for it must not raise either.
    return key.encode("utf-8", "surrogatepass")


def key_text(data: bytes) -> str:
    """The key of these bytes."""
    return data.decode("utf-8", "surrogatepass")


def stored_key(key: bytes) -> bytes:
    """The LMDB key for this key."""
    if len(key) <= SHORT_BYTES:
        return key
    return key[:SHORT_BYTES] + b"\0" + hashlib.sha256(key).digest()


def behind(key: str) -> str:
    """The smallest key greater than key."""
    return key + "\0"


def behind_folder(folder: str) -> str:
    """The smallest key greater than all that start with folder, which ends in "/"."""
    return folder[:-1] + chr(ord("/") + 1)


def names_below(first_at: Callable[[str], str | None], prefix: str, *, after: str, limit: int | None) -> list[str]:
    """Names directly below prefix, greater than `after`, at most `limit`, sorted; folders end in "/".

    Args:
        first_at: The smallest key that is not less than its argument, if any. Asked once for each name and once
            more, so a subfolder costs the same whatever is in it.
    """
    names: list[str] = []
    # Names end with their first "/", so everything below a folder that `after` is in or names comes before it.
    slash = after.find("/")
    position = behind_folder(prefix + after[: slash + 1]) if slash >= 0 else behind(prefix + after)
    while limit is None or len(names) < limit:
        key = first_at(position)
        if key is None or not key.startswith(prefix):
            break
        slash = key.find("/", len(prefix))
        if slash < 0:
            names.append(key[len(prefix) :])
            position = behind(key)
        else:
            names.append(key[len(prefix) : slash + 1])
            position = behind_folder(key[: slash + 1])
    return names

"""What may be written into identity. Values are data that templates and other systems will see, so they are bounded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from engines.common.errors import InvalidRequest
from node.policy import PolicyNameRefused, canonical_policy_name, may_be_attached

NAME_CHARS_MAX: Final = 512  # longer than any user name or distinguished name in use
# Documented for metadata of entities and custom metadata of aliases.
METADATA_PAIRS_MAX: Final = 64
METADATA_KEY_BYTES_MAX: Final = 128
METADATA_VALUE_BYTES_MAX: Final = 512
MEMBERS_MAX: Final = 50_000  # of one group, by one request: 20 MB in one Raft entry


def checked_name(name: str, what: str) -> str:
    """The name, which is kept as it is given. Raises InvalidRequest."""
    if len(name) > NAME_CHARS_MAX:
        raise InvalidRequest(f"the {what} name is longer than {NAME_CHARS_MAX} characters")
    if not name.isprintable() or name != name.strip():
        raise InvalidRequest(f"the {what} name holds control characters, or blanks at its ends")
    return name


def checked_metadata(metadata: Mapping[str, str], what: str) -> dict[str, str]:
    """The metadata. Raises InvalidRequest naming the limit, never the value."""
    if len(metadata) > METADATA_PAIRS_MAX:
        raise InvalidRequest(f"{what} may hold at most {METADATA_PAIRS_MAX} pairs")
    for key, value in metadata.items():
        if not key or len(_octets(key)) > METADATA_KEY_BYTES_MAX or not key.isprintable():
            raise InvalidRequest(f"a key of {what} must be 1 to {METADATA_KEY_BYTES_MAX} printable bytes")
        if len(_octets(value)) > METADATA_VALUE_BYTES_MAX or not value.isprintable():
            raise InvalidRequest(f"a value of {what} must be at most {METADATA_VALUE_BYTES_MAX} printable bytes")
    return dict(metadata)


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def checked_policies(names: Iterable[str]) -> tuple[str, ...]:
    """The policies in their one spelling, sorted.

    Raises:
        InvalidRequest: One of them may not be attached: root, in whatever spelling (CVE-2024-9180, CVE-2025-5999).
    """
    folded: set[str] = set()
    for name in names:
        if not name.strip():
            continue
        try:
            policy = canonical_policy_name(name)
        except PolicyNameRefused as error:
            raise InvalidRequest(str(error)) from None
        if not may_be_attached(policy):
            raise InvalidRequest(f'policies cannot contain "{policy}"')
        folded.add(policy)
    return tuple(sorted(folded))

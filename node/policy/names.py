"""Policy names: the one place where a name gets the spelling that everything after it compares and stores.

A check made on another spelling than the one looked up later is how ordinary users became root elsewhere
(CVE-2025-5999, CVE-2026-105820), so nothing may compare a policy name that has not been through here.
"""

import unicodedata
from functools import lru_cache
from typing import Final

from node.policy.errors import PolicyNameRefused

ROOT_NAME: Final = "root"
DEFAULT_NAME: Final = "default"
RESPONSE_WRAPPING_NAME: Final = "response-wrapping"
CONTROL_GROUP_NAME: Final = "control-group"

# Carried only by tokens that the server itself makes; nobody may read, write or attach them by name.
INTERNAL_NAMES: Final = frozenset({RESPONSE_WRAPPING_NAME, CONTROL_GROUP_NAME})
# What a request to write or delete a policy must refuse; `default` can be written but not deleted.
IMMUTABLE_NAMES: Final = INTERNAL_NAMES | {ROOT_NAME}

POLICY_NAME_BYTES_MAX: Final = 256  # a name is part of a storage key, and LMDB holds keys of up to 511 bytes

# Control and format characters (zero-width ones among them), surrogates, private use, line and paragraph separators.
_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


@lru_cache(maxsize=16_384)  # asked for each policy of each token that is made; a refusal is not remembered
def canonical_policy_name(name: str) -> str:
    """The one spelling of a policy's name: compatibility-folded (NFKC), trimmed, lower case.

    Raises:
        PolicyNameRefused: Empty or too long, holds an invisible or control character, or has a path segment that
            is empty, "." or "..".
    """
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES for character in name):
        raise PolicyNameRefused("a policy name may not hold control or invisible characters")
    folded = _folded(name)
    if not folded:
        raise PolicyNameRefused("a policy name may not be empty")
    if len(folded.encode()) > POLICY_NAME_BYTES_MAX:
        raise PolicyNameRefused(f"a policy name may not be longer than {POLICY_NAME_BYTES_MAX} bytes")
    if any(segment.strip() in ("", ".", "..") for segment in folded.replace("\\", "/").split("/")):
        raise PolicyNameRefused('a policy name may not hold empty, "." or ".." path segments')
    return folded


@lru_cache(maxsize=16_384)  # asked for each policy of each Acl that is compiled, of names that exist
def is_canonical_policy_name(name: str) -> bool:
    """Whether the name is already in its one spelling; a policy of any other is ignored when rights are computed."""
    try:
        return canonical_policy_name(name) == name
    except PolicyNameRefused:
        return False


def may_be_attached(name: str) -> bool:
    """Whether this name may be given to a token, role, entity or group by a request: the one function that decides.

    False for `root` in every spelling, for the policies that only the server attaches, and for refused names. That
    a root token may make another root token is the business of token creation alone.
    """
    try:
        return canonical_policy_name(name) not in IMMUTABLE_NAMES
    except PolicyNameRefused:
        return False


def _folded(name: str) -> str:
    # Lower-casing can undo the composition and folding can bring forth capitals, hence until nothing changes; the
    # Unicode stability rules make that two rounds at most, and the test runs over every character.
    previous, folded = name, unicodedata.normalize("NFKC", name).strip().lower()
    while folded != previous:
        previous, folded = folded, unicodedata.normalize("NFKC", folded).strip().lower()
    return folded

"""node/policy/names.py: one spelling per policy name, and `root` under none of them."""

import sys
import unicodedata

import pytest

from node.policy.errors import PolicyNameRefused
from node.policy.names import POLICY_NAME_BYTES_MAX, canonical_policy_name, is_canonical_policy_name, may_be_attached

ROOT_SPELLINGS = [
    "root",
    "ROOT",
    " root",
    "Root ",
    "root\t",
    "\nroot",
    "ｒｏｏｔ",
    "ⓡⓞⓞⓣ",
    "𝐫𝐨𝐨𝐭",
    "ro\u200bot",
    "root\x00",
    "ʳºº\u1d57",
]
TRAVERSALS = ["../root", "a/../b", ".", "..", "/a", "a/", "a//b", "a/./b", "a\\..\\b", "a/ .. /b", "", "  "]


@pytest.mark.parametrize("name", ROOT_SPELLINGS)
def test_root_is_never_attached(name: str) -> None:
    """CVE-2024-9180, CVE-2025-5999, CVE-2025-64761: no spelling of `root` may be given to anything by a request."""
    assert not may_be_attached(name)


@pytest.mark.parametrize("name", TRAVERSALS)
def test_cve_2026_105820_traversal(name: str) -> None:
    """CVE-2026-105820: names with traversal or empty segments are refused wherever a name enters."""
    with pytest.raises(PolicyNameRefused):
        canonical_policy_name(name)
    assert not may_be_attached(name)
    assert not is_canonical_policy_name(name)


@pytest.mark.parametrize("name", ["response-wrapping", "Control-Group"])
def test_internal_policies_are_not_attached(name: str) -> None:
    """Policies that only the server attaches cannot be had by name."""
    assert not may_be_attached(name)


def test_ordinary_names() -> None:
    """Names fold to lower case without blanks around them, and may have folders."""
    assert canonical_policy_name(" Team-Alpha_admin.2 ") == "team-alpha_admin.2"
    assert canonical_policy_name("team/dev") == "team/dev"
    assert may_be_attached("Default") and may_be_attached("rooted")
    assert is_canonical_policy_name("dev") and not is_canonical_policy_name("Dev")


def test_long_names_are_refused() -> None:
    """A name fits into a storage key; the refusal does not repeat it."""
    assert canonical_policy_name("x" * POLICY_NAME_BYTES_MAX)
    with pytest.raises(PolicyNameRefused) as refused:
        canonical_policy_name("é" * POLICY_NAME_BYTES_MAX)
    assert "é" not in str(refused.value)


def test_folding_is_stable() -> None:
    """For every character there is, a folded name folds to itself: what is compared is what is stored."""
    for code in range(sys.maxunicode + 1):
        try:
            folded = canonical_policy_name(f"a{chr(code)}b")
        except PolicyNameRefused:
            continue
        assert canonical_policy_name(folded) == folded
        assert unicodedata.is_normalized("NFKC", folded)

"""kv: requests and printed text of every command, against the documented bodies."""

import pytest

from tests.node.cli.conftest import FakeNode, Terminal, envelope

WRITTEN = {
    "created_time": "2026-01-02T03:04:05.678901Z",
    "custom_metadata": None,
    "deletion_time": "",
    "destroyed": False,
    "version": 1,
}
VALUE = {"password": "P@ssw0rd!2026", "port": "5432"}
METADATA_TABLE = """\
======= Metadata =======
Key                Value
---                -----
created_time       2026-01-02T03:04:05.678901Z
custom_metadata    <nil>
deletion_time      n/a
destroyed          false
version            1
"""


@pytest.fixture
def kv2(node: FakeNode) -> FakeNode:
    node.mount("secret", 2, "app/db", "app", "missing")
    return node


@pytest.fixture
def kv1(node: FakeNode) -> FakeNode:
    node.mount("old", 1, "app/db", "app")
    return node


def test_get_prints_path_metadata_and_data(kv2: FakeNode, sr: Terminal) -> None:
    """kv get of version 2 prints three blocks whose titles are as wide as their tables."""
    kv2.data("GET secret/data/app/db", {"data": VALUE, "metadata": WRITTEN})
    result = sr("kv", "get", "secret/app/db")
    assert result.code == 0
    assert result.err == ""
    assert result.out == (
        "=== Secret Path ===\nsecret/data/app/db\n\n"
        + METADATA_TABLE
        + "\n====== Data ======\nKey         Value\n---         -----\npassword    P@ssw0rd!2026\nport        5432\n"
    )


def test_get_of_version_1_prints_data_only(kv1: FakeNode, sr: Terminal) -> None:
    """A version 1 store has neither data/ in its paths nor metadata."""
    kv1.data("GET old/app/db", {"a": "1"}, lease_duration=2764800)
    assert sr("kv", "get", "old/app/db").out == "== Data ==\nKey    Value\n---    -----\na      1\n"


def test_get_field_prints_the_bare_value(kv2: FakeNode, sr: Terminal) -> None:
    """-field prints the value without a newline; a field that is not there is exit code 1."""
    kv2.data("GET secret/data/app/db", {"data": VALUE, "metadata": WRITTEN})
    assert sr("kv", "get", "-field=password", "secret/app/db").out == "P@ssw0rd!2026"
    missing = sr("kv", "get", "-field", "nope", "secret/app/db")
    assert (missing.code, missing.out, missing.err) == (1, "", 'Field "nope" not present in secret\n')


def test_get_asks_for_a_version(kv2: FakeNode, sr: Terminal) -> None:
    """-version goes into the query, and -mount makes the argument the key alone."""
    kv2.data("GET secret/data/app/db", {"data": VALUE, "metadata": WRITTEN})
    assert sr("kv", "get", "-mount=secret", "-version=1", "app/db").code == 0
    assert kv2.last.query == {"version": "1"}


def test_get_wrapped(kv2: FakeNode, sr: Terminal) -> None:
    """With -wrap-ttl the value is wrapped, and not what the command asks before it to find the mount."""
    kv2.on("GET secret/data/app/db", envelope(None, wrap_info={"token": "hvs.w"}))
    assert sr("kv", "get", "-wrap-ttl=60s", "-field=wrapping_token", "secret/app/db").out == "hvs.w"
    asks = [one.headers.get("X-Vault-Wrap-TTL") for one in kv2.received]
    assert asks == [None, "1m0s"]


def test_get_of_nothing(kv2: FakeNode, sr: Terminal) -> None:
    """A key that never was is exit code 2."""
    result = sr("kv", "get", "secret/missing")
    assert (result.code, result.out, result.err) == (2, "", "No value found at secret/data/missing\n")


def test_get_of_a_deleted_version(kv2: FakeNode, sr: Terminal) -> None:
    """A deleted version shows its metadata; a table ends with exit code 2, json is a whole answer with code 0."""
    deleted = {"data": None, "metadata": {**WRITTEN, "deletion_time": "2026-01-03T00:00:00Z"}}
    kv2.data("GET secret/data/app/db", deleted, status=404)
    table = sr("kv", "get", "secret/app/db")
    assert table.code == 2
    assert "deletion_time      2026-01-03T00:00:00Z" in table.out
    assert "Data ==" not in table.out
    assert table.err == "No value found at secret/data/app/db\n"
    encoded = sr("kv", "get", "-format=json", "secret/app/db")
    assert encoded.code == 0
    assert encoded.json["data"] == deleted


def test_put_prints_metadata(kv2: FakeNode, sr: Terminal) -> None:
    """kv put writes data and options, and prints the metadata of the new version."""
    kv2.data("PUT secret/data/app/db", WRITTEN)
    result = sr("kv", "put", "-cas=0", "secret/app/db", "username=app", "empty=", "eq=a=b")
    assert result.code == 0
    assert result.out == "=== Secret Path ===\nsecret/data/app/db\n\n" + METADATA_TABLE
    assert kv2.last.json == {"data": {"username": "app", "empty": "", "eq": "a=b"}, "options": {"cas": 0}}


def test_put_without_cas_sends_no_options(kv2: FakeNode, sr: Terminal) -> None:
    """Without -cas the server decides whether it is needed, and its refusal is printed in the documented form."""
    kv2.refuse("PUT secret/data/app/db", 400, "check-and-set parameter required for this call")
    result = sr("kv", "put", "secret/app/db", "a=b")
    assert result.code == 2
    assert kv2.last.json["options"] == {}
    assert result.err == (
        "Error writing data to secret/data/app/db: Error making API request.\n\n"
        f"URL: PUT {kv2.address}/v1/secret/data/app/db\n"
        "Code: 400. Errors:\n\n* check-and-set parameter required for this call\n"
    )


def test_put_version_1(kv1: FakeNode, sr: Terminal) -> None:
    """A version 1 store takes the values as the whole body."""
    kv1.on("PUT old/app/db")
    assert sr("kv", "put", "old/app/db", "a=b").out == "Success! Data written to: old/app/db\n"
    assert kv1.last.json == {"a": "b"}


def test_put_needs_data(kv2: FakeNode, sr: Terminal) -> None:
    """Without data nothing is sent."""
    result = sr("kv", "put", "secret/app/db")
    assert (result.code, result.err) == (1, "Must supply data\n")
    assert kv2.received == []


def test_list(kv2: FakeNode, sr: Terminal) -> None:
    """Names under Keys, a bare list in json, exit code 2 when there are none."""
    kv2.data("LIST secret/metadata/app", {"keys": ["db", "sub/"]})
    assert sr("kv", "list", "secret/app").out == "Keys\n----\ndb\nsub/\n"
    assert sr("kv", "list", "-format=json", "secret/app").json == ["db", "sub/"]
    empty = sr("kv", "list", "secret/missing")
    assert (empty.code, empty.err) == (2, "No value found at secret/metadata/missing\n")


def test_delete(kv2: FakeNode, sr: Terminal) -> None:
    """The newest version goes by DELETE, named versions by a write to delete/."""
    kv2.on("DELETE secret/data/app/db")
    kv2.on("PUT secret/delete/app/db")
    done = "Success! Data deleted (if it existed) at: secret/data/app/db\n"
    assert sr("kv", "delete", "secret/app/db").out == done
    assert sr("kv", "delete", "-versions=1,2", "-versions", "3", "secret/app/db").out == done
    assert kv2.last.json == {"versions": [1, 2, 3]}


@pytest.mark.parametrize("part", ["undelete", "destroy"])
def test_undelete_and_destroy(kv2: FakeNode, sr: Terminal, part: str) -> None:
    """Both need -versions and say where they wrote."""
    kv2.on(f"PUT secret/{part}/app/db")
    result = sr("kv", part, "-versions=1", "secret/app/db")
    assert result.out == f"Success! Data written to: secret/{part}/app/db\n"
    assert kv2.last.json == {"versions": [1]}
    assert sr("kv", part, "secret/app/db").code == 1
    assert sr("kv", part, "-versions=x", "secret/app/db").code == 1


def test_patch(kv2: FakeNode, sr: Terminal) -> None:
    """kv patch is an HTTP PATCH with a JSON merge patch; a removed member is null."""
    kv2.data("PATCH secret/data/app/db", {**WRITTEN, "version": 2})
    result = sr("kv", "patch", "-cas=1", "-remove-data=old", "secret/app/db", "new=1")
    assert result.code == 0
    assert kv2.last.json == {"data": {"new": "1", "old": None}, "options": {"cas": 1}}
    assert kv2.last.headers["Content-Type"] == "application/merge-patch+json"


def test_patch_falls_back_to_reading_and_writing(kv2: FakeNode, sr: Terminal) -> None:
    """Where PATCH is refused, the value is read and written back at the version that was read."""
    kv2.refuse("PATCH secret/data/app/db", 405, "unsupported operation")
    kv2.data("GET secret/data/app/db", {"data": VALUE, "metadata": {**WRITTEN, "version": 4}})
    kv2.data("PUT secret/data/app/db", {**WRITTEN, "version": 5})
    assert sr("kv", "patch", "secret/app/db", "port=1").code == 0
    assert kv2.last.json == {"data": {**VALUE, "port": "1"}, "options": {"cas": 4}}
    assert sr("kv", "patch", "-method=patch", "secret/app/db", "port=1").code == 2


def test_patch_of_nothing(kv2: FakeNode, sr: Terminal) -> None:
    """There must be a value to patch."""
    result = sr("kv", "patch", "secret/missing", "a=b")
    assert (result.code, result.err) == (2, "No value found at secret/data/missing\n")


def test_rollback(kv2: FakeNode, sr: Terminal) -> None:
    """kv rollback writes the old value as a new version, guarded by the current one."""
    kv2.data("GET secret/metadata/app/db", {"current_version": 7, "versions": {}})
    kv2.data("GET secret/data/app/db", {"data": VALUE, "metadata": WRITTEN})
    kv2.data("PUT secret/data/app/db", {**WRITTEN, "version": 8})
    assert sr("kv", "rollback", "-version=1", "secret/app/db").code == 0
    assert kv2.last.json == {"data": VALUE, "options": {"cas": 7}}
    assert sr("kv", "rollback", "secret/app/db").code == 1


def test_metadata_get(kv2: FakeNode, sr: Terminal) -> None:
    """Settings first, then each version in the order of its number."""
    version = {"created_time": "2026-01-02T03:04:05Z", "deletion_time": "", "destroyed": False}
    data = {
        "cas_required": False,
        "created_time": "2026-01-02T03:04:05Z",
        "current_version": 10,
        "custom_metadata": {"team": "a"},
        "delete_version_after": "0s",
        "max_versions": 0,
        "oldest_version": 2,
        "updated_time": "2026-01-02T03:04:05Z",
        "versions": {"10": version, "2": version},
    }
    kv2.data("GET secret/metadata/app/db", data)
    table = "Key              Value\n---              -----\n"
    rows = "created_time     2026-01-02T03:04:05Z\ndeletion_time    n/a\ndestroyed        false\n"
    assert sr("kv", "metadata", "get", "secret/app/db").out == (
        "==== Metadata Path ====\nsecret/metadata/app/db\n\n"
        "========== Metadata ==========\n"
        "Key                     Value\n"
        "---                     -----\n"
        "cas_required            false\n"
        "created_time            2026-01-02T03:04:05Z\n"
        "current_version         10\n"
        "custom_metadata         map[team:a]\n"
        "delete_version_after    0s\n"
        "max_versions            0\n"
        "oldest_version          2\n"
        "updated_time            2026-01-02T03:04:05Z\n"
        f"\n====== Version 2 ======\n{table}{rows}\n===== Version 10 =====\n{table}{rows}"
    )


def test_metadata_put_and_patch_send_only_what_was_named(kv2: FakeNode, sr: Terminal) -> None:
    """A setting that is not named stays as the server has it."""
    kv2.on("PUT secret/metadata/app/db")
    kv2.on("PATCH secret/metadata/app/db")
    done = "Success! Data written to: secret/metadata/app/db\n"
    flags = ("-max-versions=3", "-delete-version-after=30s", "-custom-metadata=team=a")
    assert sr("kv", "metadata", "put", *flags, "secret/app/db").out == done
    assert kv2.last.json == {"max_versions": 3, "delete_version_after": "30s", "custom_metadata": {"team": "a"}}
    result = sr("kv", "metadata", "patch", "-cas-required=false", "-remove-custom-metadata=x", "secret/app/db")
    assert result.out == done
    assert kv2.last.json == {"cas_required": False, "custom_metadata": {"x": None}}


@pytest.mark.parametrize("verb", ["delete", "destroy"])
def test_metadata_delete(kv2: FakeNode, sr: Terminal, verb: str) -> None:
    """destroy is the same as delete (walkthrough B)."""
    kv2.on("DELETE secret/metadata/app/db")
    result = sr("kv", "metadata", verb, "secret/app/db")
    assert result.out == "Success! Data deleted (if it existed) at: secret/metadata/app/db\n"


def test_enable_versioning(node: FakeNode, sr: Terminal) -> None:
    """It is a tune of the mount's options."""
    node.on("PUT sys/mounts/old/tune")
    assert sr("kv", "enable-versioning", "old").out == "Success! Tuned the secrets engine at: old/\n"
    assert node.last.json == {"options": {"version": "2"}}


def test_version_2_commands_refuse_a_version_1_store(kv1: FakeNode, sr: Terminal) -> None:
    """A store without versions is named as the reason."""
    result = sr("kv", "undelete", "-versions=1", "old/app/db")
    assert result.code == 1
    assert "version 2" in result.err


def test_preflight_refusal_is_the_answer(node: FakeNode, sr: Terminal) -> None:
    """Without any right on the mount the command ends at its first question."""
    node.refuse("GET sys/internal/ui/mounts/secret/app/db", 403, "permission denied")
    result = sr("kv", "get", "secret/app/db")
    assert result.code == 2
    assert "* permission denied" in result.err

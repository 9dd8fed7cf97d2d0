"""Walkthrough B: KV version 2, and version 1 with the same commands, by command line."""

import pytest

from tests.processes.cluster import wait_until
from tests.walkthrough.kit import Cli

pytestmark = pytest.mark.processes


def test_put_and_get(sr: Cli) -> None:
    """A secret is written, read whole, by field, by version and as JSON; a second put makes version 2."""
    path = "secret/my-app/database"
    fields = ["username=app_user", "password=P@ssw0rd!2026", "host=postgres.internal", "port=5432"]
    put = sr.ok("kv", "put", path, *fields)
    assert put.out.splitlines()[:2] == ["======= Secret Path =======", "secret/data/my-app/database"]
    assert put.rows["version"] == "1"
    got = sr.ok("kv", "get", path)
    assert got.rows["password"] == "P@ssw0rd!2026"
    assert got.rows["created_time"] == put.rows["created_time"]
    assert sr.ok("kv", "get", "-field=password", path).out == "P@ssw0rd!2026"
    assert sr.ok("kv", "put", path, "username=other").rows["version"] == "2"
    assert sr.ok("kv", "get", "-version=1", path).rows["username"] == "app_user"
    shown = sr.ok("kv", "get", "-format=json", path).json
    assert shown["data"]["data"] == {"username": "other"}
    assert shown["data"]["metadata"]["version"] == 2
    assert "username: other" in sr.ok("kv", "get", "-format=yaml", path).out
    assert sr.ok("kv", "get", "-mount=secret", "-field=username", "my-app/database").out == "other"
    versions = sr.ok("kv", "metadata", "get", "-format=json", path).json["data"]["versions"]
    assert set(versions) == {"1", "2"}
    assert set(versions["1"]) == {"created_time", "deletion_time", "destroyed"}
    assert sr.ok("kv", "list", "secret/my-app").out.split() == ["Keys", "----", "database"]
    assert sr.ok("kv", "list", "-format=json", "secret/my-app").json == ["database"]


def test_values_from_files_and_standard_input(sr: Cli) -> None:
    """`@file` keeps every byte of a certificate; `-` reads a value, or the whole secret as JSON, from stdin."""
    pem = "-----BEGIN CERTIFICATE-----\nMIIB é\t\n-----END CERTIFICATE-----\n\n"
    (sr.home / "ca.pem").write_text(pem)
    sr.ok("kv", "put", "secret/from/file", "cert=@ca.pem", "literal=\\@ca.pem", "key=-", stdin="from stdin")
    got = sr.ok("kv", "get", "-format=json", "secret/from/file").json["data"]["data"]
    assert got == {"cert": pem, "literal": "@ca.pem", "key": "from stdin"}
    assert sr.ok("kv", "get", "-field=cert", "secret/from/file").out == pem
    sr.ok("kv", "put", "secret/from/json", "-", stdin='{"port": 5432, "nested": {"a": [1, null]}}')
    got = sr.ok("kv", "get", "-format=json", "secret/from/json").json["data"]["data"]
    assert got == {"port": 5432, "nested": {"a": [1, None]}}
    (sr.home / "all.json").write_text('{"one": "1"}')
    sr.ok("kv", "put", "secret/from/json", "@all.json")
    assert sr.ok("kv", "get", "-field=one", "secret/from/json").out == "1"


def test_delete_undelete_destroy(sr: Cli) -> None:
    """A deleted version is gone from reads but comes back; a destroyed one never does; metadata delete ends it all."""
    path = "secret/life"
    sr.ok("kv", "put", path, "a=1")
    sr.ok("kv", "put", path, "a=2")
    assert sr.ok("kv", "delete", path).out == "Success! Data deleted (if it existed) at: secret/data/life\n"
    sr.refused("kv", "get", path, says="No value found at secret/data/life")
    shown = sr("kv", "get", "-format=json", path).json["data"]
    assert shown["data"] is None
    assert shown["metadata"]["deletion_time"]
    assert sr.ok("kv", "undelete", "-versions=2", path).out == "Success! Data written to: secret/undelete/life\n"
    assert sr.ok("kv", "get", "-field=a", path).out == "2"
    assert sr.ok("kv", "destroy", "-versions=1", path).out == "Success! Data written to: secret/destroy/life\n"
    sr.ok("kv", "undelete", "-versions=1", path)
    sr.refused("kv", "get", "-version=1", path)
    versions = sr.ok("kv", "metadata", "get", "-format=json", path).json["data"]["versions"]
    assert versions["1"]["destroyed"] is True
    assert sr.ok("kv", "get", "-field=a", path).out == "2"
    sr.ok("kv", "delete", "-versions=2", path)
    sr.refused("kv", "get", path)
    sr.ok("kv", "metadata", "delete", path)
    sr.refused("kv", "metadata", "get", path, says="No value found at secret/metadata/life")
    sr.ok("kv", "put", path, "a=3")
    sr.ok("kv", "metadata", "destroy", path)
    sr.refused("kv", "get", "-version=1", path)
    sr.refused("kv", "undelete", path, code=1)
    sr.refused("kv", "put", path, code=1, says="Must supply data")


def test_metadata_patch_and_rollback(sr: Cli) -> None:
    """Metadata settings apply to later versions; patch changes named members only; rollback is a new version."""
    path = "secret/tuned"
    sr.ok("kv", "metadata", "put", "-max-versions=3", "-delete-version-after=30s", "-custom-metadata=team=a", path)
    for number in range(1, 5):
        sr.ok("kv", "put", path, f"n={number}", "same=x")
    shown = sr.ok("kv", "metadata", "get", "-format=json", path).json["data"]
    assert shown["custom_metadata"] == {"team": "a"}
    assert (shown["max_versions"], shown["delete_version_after"]) == (3, "30s")
    assert set(shown["versions"]) == {"2", "3", "4"}
    assert shown["versions"]["4"]["deletion_time"] > shown["versions"]["4"]["created_time"]
    assert sr.ok("kv", "patch", path, "n=5").rows["version"] == "5"
    assert sr.ok("kv", "get", "-format=json", path).json["data"]["data"] == {"n": "5", "same": "x"}
    assert sr.ok("kv", "patch", "-method=rw", path, "n=6").rows["version"] == "6"
    assert sr.ok("kv", "rollback", "-version=4", path).rows["version"] == "7"
    assert sr.ok("kv", "get", "-field=n", path).out == "4"
    sr.refused("kv", "rollback", "-version=1", path)
    sr.refused("kv", "patch", "secret/absent", "n=1", says="No value found")
    sr.ok("kv", "metadata", "patch", "-custom-metadata=owner=b", path)
    metadata = sr.ok("kv", "metadata", "get", "-format=json", path).json["data"]
    assert metadata["custom_metadata"] == {"team": "a", "owner": "b"}
    assert metadata["max_versions"] == 3


def test_a_version_ends_by_itself(sr: Cli) -> None:
    """delete_version_after makes a version unreadable once its time has come, without anybody deleting it."""
    sr.ok("kv", "metadata", "put", "-delete-version-after=1s", "secret/short")
    sr.ok("kv", "put", "secret/short", "a=1")
    wait_until(lambda: sr("kv", "get", "secret/short").code == 2, "the version ends", 10)


def test_ten_versions_are_kept(sr: Cli) -> None:
    """10 versions are kept by default; max_versions of the engine changes that, and of the key again."""
    sr.ok("secrets", "enable", "-path=kept", "-version=2", "kv")
    for number in range(12):
        sr.ok("kv", "put", "kept/a", f"n={number}")
    assert len(sr.ok("kv", "metadata", "get", "-format=json", "kept/a").json["data"]["versions"]) == 10
    sr.ok("write", "kept/config", "max_versions=2")
    sr.ok("kv", "put", "kept/a", "n=12")
    assert set(sr.ok("kv", "metadata", "get", "-format=json", "kept/a").json["data"]["versions"]) == {"12", "13"}


def test_engines(sr: Cli) -> None:
    """Engines are enabled, listed, tuned and disabled with the documented lines."""
    enabled = sr.ok("secrets", "enable", "-path=team-alpha", "-version=2", "kv")
    assert enabled.out == "Success! Enabled the kv secrets engine at: team-alpha/\n"
    sr.ok("secrets", "enable", "-path=team-beta", "-version=2", "-description=for beta", "kv")
    sr.ok("secrets", "enable", "-path=shared", "kv-v2")
    listed = sr.ok("secrets", "list")
    assert listed.out.splitlines()[0].split() == ["Path", "Type", "Accessor", "Description"]
    assert {"team-alpha/", "team-beta/", "shared/"} <= set(listed.rows)
    assert "for beta" in listed.rows["team-beta/"]
    detailed = sr.ok("secrets", "list", "-detailed").out
    assert "map[version:2]" in detailed
    assert "Deprecation Status" in detailed
    sr.refused("secrets", "enable", "-path=shared", "kv", says="path is already in use at shared/")
    sr.refused("secrets", "enable", "no-such-engine")
    tuned = sr.ok("secrets", "tune", "-default-lease-ttl=1h", "-description=new", "shared")
    assert tuned.out == "Success! Tuned the secrets engine at: shared/\n"
    assert sr.ok("read", "sys/mounts/shared/tune").rows["default_lease_ttl"] == "1h"
    disabled = sr.ok("secrets", "disable", "shared")
    assert disabled.out == "Success! Disabled the secrets engine (if it existed) at: shared/\n"
    sr.ok("secrets", "disable", "shared")
    sr.refused("kv", "get", "shared/x")


def test_check_and_set(sr: Cli) -> None:
    """Where cas is required: 0 for the first, the current version after it, and the documented texts otherwise."""
    sr.ok("secrets", "enable", "-path=cas", "-version=2", "kv")
    sr.ok("secrets", "tune", "-cas-required=true", "cas")
    sr.refused("kv", "put", "cas/a", "n=0", says="check-and-set parameter required for this call")
    sr.ok("kv", "put", "-cas=0", "cas/a", "n=1")
    sr.ok("kv", "put", "-cas=1", "cas/a", "n=2")
    stale = "check-and-set parameter did not match the current version"
    sr.refused("kv", "put", "-cas=1", "cas/a", "n=3", says=stale)
    sr.refused("kv", "put", "-cas=0", "cas/a", "n=3", says=stale)
    sr.ok("write", "cas/config", "cas_required=false")
    assert sr.ok("kv", "put", "cas/a", "n=3").rows["version"] == "3"


def test_version_1(sr: Cli) -> None:
    """The same commands work on an engine of version 1, which can be upgraded to 2."""
    sr.ok("secrets", "enable", "-path=one", "-version=1", "kv")
    assert sr.ok("kv", "put", "one/a/b", "x=1").out == "Success! Data written to: one/a/b\n"
    got = sr.ok("kv", "get", "one/a/b")
    assert got.rows["x"] == "1"
    assert "Metadata" not in got.out
    assert sr.ok("read", "-field=x", "one/a/b").out == "1"
    assert sr.ok("read", "one/a/b").rows["refresh_interval"] == "768h"
    assert sr.ok("kv", "list", "one").out.split()[-1] == "a/"
    assert sr.ok("kv", "delete", "one/a/b").out == "Success! Data deleted (if it existed) at: one/a/b\n"
    sr.refused("kv", "get", "one/a/b", says="No value found at one/a/b")
    sr.refused("kv", "list", "one", says="No value found at one")
    sr.ok("kv", "put", "one/c", "x=2")
    assert sr.ok("kv", "enable-versioning", "one").out == "Success! Tuned the secrets engine at: one/\n"
    wait_until(lambda: sr("kv", "get", "-field=x", "one/c").out == "2", "the upgraded secret is readable", 10)
    assert sr.ok("kv", "put", "one/c", "x=3").rows["version"] == "2"


def test_failures_are_told_on_standard_error(sr: Cli) -> None:
    """Wrong usage ends with 1, a refusal with 2; nothing is printed on standard output."""
    assert sr.refused("kv", "get", code=1, says="Not enough arguments (expected 1, got 0)").out == ""
    assert sr.refused("kv", "get", "-nope", "secret/a", code=1, says="flag provided but not defined: -nope").out == ""
    sr.ok("kv", "put", "secret/one", "a=1")
    missing = sr.refused("kv", "get", "-field=b", "secret/one", code=1, says='Field "b" not present in secret')
    assert missing.out == ""
    refused = sr.refused("kv", "get", "nowhere/a")
    assert refused.out == ""
    assert sr.refused("kv", "list", "secret/none", says="No value found at secret/metadata/none").out == ""

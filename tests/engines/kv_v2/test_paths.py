"""KV version 2 as a client sees it (API documentation, "KV", version 2)."""

from typing import Any

import pytest

from engines.common.errors import InvalidRequest, NotFound, UnsupportedPath
from engines.common.frame import Operation
from engines.common.plan import Delete, Put
from engines.kv_v2 import ENGINE
from tests.engines.memory_view import LostRaceError, Rig, data_of

AT = "2026-11-21T20:00:00.123000000Z"


@pytest.fixture
def rig() -> Rig:
    return Rig(ENGINE)


async def _gone(rig: Rig, path: str, **query: object) -> Any:
    with pytest.raises(NotFound) as missing:
        await rig.read(path, **query)
    return data_of(missing.value.answer)


async def _refused(rig: Rig, operation: Operation, path: str, body: dict[str, object]) -> str:
    before = dict(rig.view.records)
    with pytest.raises(InvalidRequest) as refusal:
        await rig.answer(operation, path, body)
    assert rig.view.records == before
    return str(refusal.value)


async def test_a_write_answers_with_the_new_version_and_a_read_with_its_values(rig: Rig) -> None:
    """The shapes of the documentation's samples, member by member."""
    version = {"created_time": AT, "custom_metadata": None, "deletion_time": "", "destroyed": False, "version": 1}
    assert await rig.write("data/app/db", data={"x": "y"}) == version
    assert await rig.read("data/app/db") == {"data": {"x": "y"}, "metadata": version}
    assert await rig.write("data/app/db", data={}, options={}) == {**version, "version": 2}
    assert await rig.read("data/app/db") == {"data": {}, "metadata": {**version, "version": 2}}
    assert (await rig.read("data/app/db", version="1"))["data"] == {"x": "y"}
    assert (await rig.read("metadata/app/db")) == {
        "cas_required": False,
        "created_time": AT,
        "current_version": 2,
        "custom_metadata": None,
        "delete_version_after": "0s",
        "max_versions": 0,
        "oldest_version": 0,
        "updated_time": AT,
        "versions": {n: {"created_time": AT, "deletion_time": "", "destroyed": False} for n in ("1", "2")},
    }


async def test_values_come_back_byte_for_byte(rig: Rig) -> None:
    """Unicode, escapes, big integers, floats, nesting and null, also through a patch."""
    data: dict[str, object] = {
        "pem": "-----BEGIN\n\t\u0000-----",
        "ü€😀": [1, 2**63, 10**30, -0.5, 1e300, None, {"": {"a": []}}],
    }
    await rig.write("data/a", data=data)
    answer = await rig.answer(Operation.READ, "data/a")
    assert answer.data is not None
    stored = [seen.value for key, seen in rig.view.records.items() if key.startswith("versions/")]
    assert b"1000000000000000000000000000000" in stored[0]
    await rig.patch("data/a", data={"more": 1})
    stored = [seen.value for key, seen in rig.view.records.items() if key.endswith("/2")]
    assert b"1000000000000000000000000000000" in stored[0]


async def test_what_never_existed_is_plainly_not_found(rig: Rig) -> None:
    """Keys, versions and empty folders; writes about them change nothing and are no error."""
    await rig.write("data/a", data={})
    for path, query in (("data/b", {}), ("data/a", {"version": 7}), ("metadata/b", {}), ("subkeys/b", {})):
        assert (await _not_found(rig, path, query)).answer is None
    with pytest.raises(NotFound):
        await rig.list("metadata/a")
    for path in ("delete/b", "undelete/b", "destroy/b"):
        assert await rig.write(path, versions=[1]) is None
    await rig.delete("data/b")
    await rig.delete("metadata/b")
    assert await rig.list("metadata") == ["a"]


async def _not_found(rig: Rig, path: str, query: dict[str, Any]) -> NotFound:
    with pytest.raises(NotFound) as missing:
        await rig.read(path, **query)
    return missing.value


async def test_a_deleted_version_shows_its_metadata_until_it_is_undeleted(rig: Rig) -> None:
    """Not found, with data null; an older version is not fallen back to."""
    await rig.write("data/a", data={"v": 1})
    await rig.write("data/a", data={"v": 2})
    rig.sources.advance_s(60)
    assert await rig.delete("data/a") is None
    gone = await _gone(rig, "data/a")
    assert gone["data"] is None
    assert gone["metadata"]["version"] == 2
    assert gone["metadata"]["deletion_time"] == "2026-11-21T20:01:00.123000000Z"
    assert (await rig.read("data/a", version=1))["data"] == {"v": 1}
    rig.sources.advance_s(60)
    await rig.delete("data/a")
    assert await _gone(rig, "data/a") == gone, "deleting again keeps the first time"
    await rig.write("undelete/a", versions=["2"])
    read = await rig.read("data/a")
    assert (read["data"], read["metadata"]["deletion_time"]) == ({"v": 2}, "")


async def test_a_deleted_version_stays_deleted_when_the_clock_is_set_back(rig: Rig) -> None:
    """The next active node's clock may not have come to the time of the deletion. Found by the torture test."""
    await rig.write("metadata/b", delete_version_after="30s")
    for name in ("a", "b"):
        await rig.write(f"data/{name}", data={"v": 1})
    rig.sources.advance_s(60)
    for name in ("a", "b"):
        await rig.delete(f"data/{name}")
    rig.sources.advance_s(-3600)
    for name in ("a", "b"):
        assert (await _gone(rig, f"data/{name}"))["data"] is None
    await rig.write("undelete/a", versions=[1])
    assert (await rig.read("data/a"))["data"] == {"v": 1}


async def test_a_destroyed_version_is_gone_from_storage_for_good(rig: Rig) -> None:
    """Metadata says destroyed; undelete does not bring it back."""
    for v in (1, 2, 3):
        await rig.write("data/a", data={"v": v})
    await rig.write("delete/a", versions="1,2")
    await rig.write("destroy/a", versions=[1, 3, 99])
    assert [key[-2:] for key in rig.view.records if key.startswith("versions/")] == ["/2"]
    gone = await _gone(rig, "data/a")
    assert (gone["data"], gone["metadata"]["destroyed"], gone["metadata"]["deletion_time"]) == (None, True, "")
    await rig.write("undelete/a", versions=[1, 2, 3])
    assert (await rig.read("data/a", version=2))["data"] == {"v": 2}
    assert (await _gone(rig, "data/a", version=1))["metadata"]["destroyed"] is True


async def test_deleting_metadata_leaves_nothing(rig: Rig) -> None:
    """All versions and settings; a new key starts at version 1."""
    for v in range(12):
        await rig.write("data/a/b", data={"v": v})
    await rig.write("destroy/a/b", versions=[5])
    await rig.delete("metadata/a/b")
    assert rig.view.records == {}
    assert (await rig.write("data/a/b", data={}))["version"] == 1


async def test_names_are_listed_with_folders(rig: Rig) -> None:
    """A secret and a folder of the same name are two entries; deleted secrets stay listed."""
    for path in ("foo", "foo/bar", "foo/bar/1", "Foo", "zoë"):
        await rig.write(f"data/{path}", data={})
    await rig.delete("data/foo")
    assert await rig.list("metadata") == ["Foo", "foo", "foo/", "zoë"]
    assert await rig.list("metadata/foo") == ["bar", "bar/"]
    assert await rig.list("metadata/foo/bar") == ["1"]


async def test_check_and_set(rig: Rig) -> None:
    """cas=0 only creates; the current version is needed after that; a stale one is refused with the known text."""
    required = "check-and-set parameter required for this call"
    mismatch = "check-and-set parameter did not match the current version"
    await rig.write("config", cas_required=True)
    assert await _refused(rig, Operation.UPDATE, "data/a", {"data": {}}) == required
    assert await _refused(rig, Operation.UPDATE, "data/a", {"data": {}, "options": {"cas": 1}}) == mismatch
    await rig.write("data/a", data={}, options={"cas": 0})
    assert await _refused(rig, Operation.UPDATE, "data/a", {"data": {}, "options": {"cas": 0}}) == mismatch
    await rig.write("data/a", data={}, options={"cas": "1"})
    assert await _refused(rig, Operation.UPDATE, "data/a", {"data": {}, "options": {"cas": 1}}) == mismatch
    assert await _refused(rig, Operation.PATCH, "data/a", {"data": {}}) == required
    assert await _refused(rig, Operation.PATCH, "data/a", {"data": {}, "options": {"cas": 0}}) == mismatch
    await rig.write("config", cas_required=False)
    await rig.write("data/a", data={})
    await rig.write("metadata/a", cas_required=True)
    assert await _refused(rig, Operation.UPDATE, "data/a", {"data": {}}) == required


async def test_of_two_concurrent_writes_with_one_cas_exactly_one_is_made(rig: Rig) -> None:
    """Both were planned on the same state: storage refuses the second, and asked again it no longer matches."""
    await rig.write("data/a", data={})
    body: dict[str, object] = {"data": {"by": "x"}, "options": {"cas": 1}}
    first, second = [await rig.plan(Operation.UPDATE, "data/a", body) for _ in range(2)]
    rig.view.commit(first.writes)
    with pytest.raises(LostRaceError):
        rig.view.commit(second.writes)
    assert "did not match" in await _refused(rig, Operation.UPDATE, "data/a", body)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("data/a", {"data": {}}),
        ("delete/a", {"versions": [1]}),
        ("destroy/a", {"versions": [1]}),
        ("metadata/a", {"max_versions": 2}),
        ("config", {"max_versions": 2}),
    ],
)
async def test_no_change_overwrites_one_it_has_not_seen(rig: Rig, path: str, body: dict[str, object]) -> None:
    """Every change names the index at which it saw the record; also when the key is new."""
    for prepared in (False, True):
        if prepared:
            await rig.write("data/a", data={})
        stale = await rig.plan(Operation.UPDATE, path, body)
        if stale.writes:
            await rig.write("data/a", data={"newer": True})
            await rig.write("config", max_versions=5)
            with pytest.raises(LostRaceError):
                rig.view.commit(stale.writes)


async def test_a_put_reads_two_records_and_writes_two_or_three(rig: Rig) -> None:
    """What a write costs, once the key exists; with it a read is two reads."""
    for _ in range(10):
        await rig.write("data/a", data={})
    rig.view.reads = 0
    plan = await rig.plan(Operation.UPDATE, "data/a", {"data": {}})
    assert rig.view.reads == 2
    assert [type(write) for write in plan.writes] == [Put, Put, Delete]
    rig.view.reads = 0
    await rig.read("data/a")
    assert rig.view.reads == 2


async def test_a_patch_makes_a_version_from_the_newest(rig: Rig) -> None:
    """JSON merge patch: null removes, objects merge, the rest replaces."""
    with pytest.raises(NotFound):
        await rig.patch("data/a", data={"x": 1})
    await rig.write("data/a", data={"keep": 1, "drop": 2, "deep": {"x": 1, "y": 2}, "list": [1]})
    made = await rig.patch("data/a", data={"drop": None, "deep": {"y": None, "z": 3}, "list": [2, None]})
    assert made["version"] == 2
    assert (await rig.read("data/a"))["data"] == {"keep": 1, "deep": {"x": 1, "z": 3}, "list": [2, None]}
    await rig.delete("data/a")
    assert await _patch_not_found(rig) is None
    await rig.write("undelete/a", versions=[2])
    await rig.write("destroy/a", versions=[2])
    assert await _patch_not_found(rig) is None


async def _patch_not_found(rig: Rig) -> object:
    with pytest.raises(NotFound) as missing:
        await rig.patch("data/a", data={"x": 1})
    return missing.value.answer


async def test_subkeys_show_names_without_values(rig: Rig) -> None:
    """Leaves and empty objects are null; depth cuts."""
    await rig.write("data/a", data={"foo": "abc", "bar": {"baz": {"q": 1}}, "quux": {}, "l": [{"x": 1}]})
    full = await rig.read("subkeys/a")
    assert full["subkeys"] == {"foo": None, "bar": {"baz": {"q": None}}, "quux": None, "l": None}
    assert full["metadata"]["version"] == 1
    assert (await rig.read("subkeys/a", depth=1))["subkeys"] == dict.fromkeys(("foo", "bar", "quux", "l"))
    assert (await rig.read("subkeys/a", depth="2"))["subkeys"]["bar"] == {"baz": None}
    await rig.delete("data/a")
    assert (await _gone(rig, "subkeys/a"))["subkeys"] is None


async def test_ten_versions_are_kept_unless_engine_or_key_say_otherwise(rig: Rig) -> None:
    """The key's number wins; a changed number acts on the next write; what is pruned leaves storage."""
    for _ in range(11):
        await rig.write("data/a", data={})
    metadata = await rig.read("metadata/a")
    assert (metadata["oldest_version"], len(metadata["versions"])) == (2, 10)
    await rig.write("config", max_versions=4)
    assert len((await rig.read("metadata/a"))["versions"]) == 10
    await rig.write("data/a", data={})
    assert list((await rig.read("metadata/a"))["versions"]) == ["9", "10", "11", "12"]
    await rig.write("metadata/a", max_versions=1)
    await rig.write("data/a", data={})
    assert list((await rig.read("metadata/a"))["versions"]) == ["13"]
    assert sum(key.startswith("versions/") for key in rig.view.records) == 1
    with pytest.raises(NotFound):
        await rig.read("data/a", version=12)


async def test_versions_end_by_themselves(rig: Rig) -> None:
    """delete_version_after gives each new version its end; the shorter of engine and key counts; below zero is off."""
    await rig.write("metadata/a", delete_version_after="30s")
    made = await rig.write("data/a", data={"v": 1})
    assert made["deletion_time"] == "2026-11-21T20:00:30.123000000Z"
    rig.sources.advance_s(29.999)
    assert (await rig.read("data/a"))["data"] == {"v": 1}
    rig.sources.advance_s(0.001)
    assert (await _gone(rig, "data/a"))["metadata"] == made
    await rig.write("undelete/a", versions=[1])
    assert (await rig.read("data/a"))["metadata"]["deletion_time"] == ""
    await rig.write("config", delete_version_after="10s")
    assert (await rig.write("data/a", data={}))["deletion_time"] == "2026-11-21T20:00:40.123000000Z"
    assert (await rig.write("data/b", data={}))["deletion_time"] == "2026-11-21T20:00:40.123000000Z"
    await rig.write("config", delete_version_after="-7s")
    assert (await rig.read("config"))["delete_version_after"] == "-1s"
    assert (await rig.write("data/a", data={}))["deletion_time"] == ""


async def test_the_engine_has_settings(rig: Rig) -> None:
    """Documented defaults; what a write leaves out stays."""
    assert await rig.read("config") == {"cas_required": False, "delete_version_after": "0s", "max_versions": 0}
    assert await rig.write("config", max_versions="5", delete_version_after="3h25m19s") is None
    await rig.write("config", cas_required="true")
    assert await rig.read("config") == {
        "cas_required": True,
        "delete_version_after": "3h25m19s",
        "max_versions": 5,
    }


async def test_a_key_has_settings_without_a_version(rig: Rig) -> None:
    """Writing metadata makes a key that has no version yet, and never makes one."""
    rig.sources.advance_s(1)
    await rig.write("metadata/a", max_versions=3, delete_version_after=90, custom_metadata={"team": "a"})
    metadata = await rig.read("metadata/a")
    assert (metadata["current_version"], metadata["versions"]) == (0, {})
    assert (metadata["max_versions"], metadata["delete_version_after"]) == (3, "1m30s")
    assert await _not_found(rig, "data/a", {}) is not None
    made = await rig.write("data/a", data={}, options={"cas": 0})
    assert (made["version"], made["custom_metadata"]) == (1, {"team": "a"})
    await rig.write("metadata/a", custom_metadata={"b": "2"})
    metadata = await rig.read("metadata/a")
    assert (metadata["custom_metadata"], metadata["max_versions"]) == ({"b": "2"}, 3)
    await rig.write("metadata/a", custom_metadata={})
    assert (await rig.read("metadata/a"))["custom_metadata"] is None


async def test_settings_of_a_key_are_patched(rig: Rig) -> None:
    """Only what is named changes; null puts back the default, or removes one name."""
    with pytest.raises(NotFound):
        await rig.patch("metadata/a", max_versions=1)
    await rig.write(
        "metadata/a",
        max_versions=3,
        cas_required=True,
        delete_version_after="1h",
        custom_metadata={"x": "1", "y": "2"},
    )
    await rig.patch("metadata/a", custom_metadata={"x": None, "z": "3"})
    metadata = await rig.read("metadata/a")
    assert metadata["custom_metadata"] == {"y": "2", "z": "3"}
    assert (metadata["max_versions"], metadata["cas_required"]) == (3, True)
    await rig.patch("metadata/a", max_versions=None, cas_required=None, delete_version_after=None)
    metadata = await rig.read("metadata/a")
    assert (metadata["max_versions"], metadata["cas_required"]) == (0, False)
    assert metadata["delete_version_after"] == "0s"
    await rig.patch("metadata/a", custom_metadata=None)
    assert (await rig.read("metadata/a"))["custom_metadata"] is None


async def test_a_write_is_a_create_until_the_key_has_metadata(rig: Rig) -> None:
    """The capability that policy asks for; a deleted secret still exists."""
    assert not await rig.exists("data/a")
    assert not await rig.exists("metadata/a")
    await rig.write("data/a", data={})
    await rig.delete("data/a")
    assert await rig.exists("data/a")
    assert await rig.exists("metadata/a")
    for path in ("config", "delete/a", "undelete/a", "destroy/a"):
        assert ENGINE.table.match(Operation.UPDATE, path).route.exists is None, "always an update"


async def test_the_top_is_no_key(rig: Rig) -> None:
    """It can be listed and nothing else."""
    operations = (Operation.READ, Operation.UPDATE, Operation.PATCH, Operation.DELETE)
    for path in ("data", "metadata"):
        for operation in operations:
            with pytest.raises(UnsupportedPath):
                await rig.answer(operation, path, {"data": {}})
        with pytest.raises(UnsupportedPath):
            await rig.exists(path)


async def test_a_read_that_crosses_a_write_is_asked_again(rig: Rig) -> None:
    """Between the two reads of a secret its version may be removed: the answer is then that of the newer state."""
    await rig.write("data/a", data={"v": 1})
    plain_get = rig.view.get
    done = False

    async def get(key: str) -> Any:
        nonlocal done
        if key.startswith("versions/") and not done:
            done = True
            await rig.write("destroy/a", versions=[1])
        return await plain_get(key)

    rig.view.get = get  # type: ignore[method-assign]
    assert (await _gone(rig, "data/a"))["metadata"]["destroyed"] is True
    assert done


async def test_lost_values_are_an_error_and_not_an_absence(rig: Rig) -> None:
    """Metadata without its values is damage; saying "not found" would invite to write over it."""
    await rig.write("data/a", data={"v": 1})
    rig.view.commit(tuple(Delete(key) for key in rig.view.records if key.startswith("versions/")))
    with pytest.raises(LookupError):
        await rig.read("data/a")


@pytest.mark.parametrize(
    ("operation", "path", "body", "names"),
    [
        (Operation.UPDATE, "data/a", {}, "no data provided"),
        (Operation.UPDATE, "data/a", {"data": None}, "no data provided"),
        (Operation.PATCH, "data/a", {}, "no data provided"),
        (Operation.UPDATE, "delete/a", {}, "No version number provided"),
        (Operation.UPDATE, "undelete/a", {"versions": []}, "No version number provided"),
        (Operation.UPDATE, "destroy/a", {"versions": ""}, "No version number provided"),
        (Operation.UPDATE, "data/a", {"data": "canary"}, "data"),
        (Operation.UPDATE, "data/a", {"data": ["canary"]}, "data"),
        (Operation.UPDATE, "data/a", {"data": {}, "options": "canary"}, "options"),
        (Operation.UPDATE, "data/a", {"data": {}, "options": {"cas": "canary"}}, "cas"),
        (Operation.UPDATE, "data/a", {"data": {}, "options": {"cas": ["canary"]}}, "cas"),
        (Operation.UPDATE, "data/a", {"data": {}, "options": {"cas": True}}, "cas"),
        (Operation.UPDATE, "data/a", {"data": {}, "options": {"cas": 0.5}}, "cas"),
        (Operation.READ, "data/a", {"version": "canary"}, "version"),
        (Operation.READ, "data/a", {"version": "-1"}, "version"),
        (Operation.READ, "subkeys/a", {"depth": "canary"}, "depth"),
        (Operation.READ, "subkeys/a", {"depth": -1}, "depth"),
        (Operation.UPDATE, "delete/a", {"versions": ["canary"]}, "versions"),
        (Operation.UPDATE, "delete/a", {"versions": [True]}, "versions"),
        (Operation.UPDATE, "undelete/a", {"versions": {"canary": 1}}, "versions"),
        (Operation.UPDATE, "destroy/a", {"versions": [[1]]}, "versions"),
        (Operation.UPDATE, "config", {"max_versions": "canary"}, "max_versions"),
        (Operation.UPDATE, "config", {"max_versions": -1}, "max_versions"),
        (Operation.UPDATE, "config", {"max_versions": 2**32}, "max_versions"),
        (Operation.UPDATE, "config", {"cas_required": "canary"}, "cas_required"),
        (Operation.UPDATE, "config", {"delete_version_after": "canary"}, "delete_version_after"),
        (Operation.UPDATE, "metadata/a", {"max_versions": ["canary"]}, "max_versions"),
        (Operation.UPDATE, "metadata/a", {"delete_version_after": "-1s"}, "delete_version_after"),
        (Operation.UPDATE, "metadata/a", {"custom_metadata": {"canary": {"x": 1}}}, "custom_metadata"),
        (Operation.UPDATE, "metadata/a", {"custom_metadata": {"canary" * 22: "x"}}, "custom_metadata"),
        (Operation.UPDATE, "metadata/a", {"custom_metadata": {"x": "canary" * 86}}, "custom_metadata"),
        (Operation.UPDATE, "metadata/a", {"custom_metadata": {"": "canary"}}, "custom_metadata"),
        (Operation.UPDATE, "metadata/a", {"custom_metadata": {"x": "canary\n"}}, "custom_metadata"),
        (
            Operation.UPDATE,
            "metadata/a",
            {"custom_metadata": {f"k{i}": "canary" for i in range(65)}},
            "custom_metadata",
        ),
        (Operation.PATCH, "metadata/a", {"custom_metadata": "canary"}, "custom_metadata"),
        (Operation.PATCH, "metadata/a", {"custom_metadata": {"x": ["canary"]}}, "custom_metadata"),
        (Operation.PATCH, "metadata/a", {"max_versions": "canary"}, "max_versions"),
    ],
)
async def test_a_wrong_field_is_named_and_its_value_is_not(
    rig: Rig, operation: Operation, path: str, body: dict[str, object], names: str
) -> None:
    """Nothing is written, and the message never holds what was sent."""
    await rig.write("data/a", data={"v": 1})
    message = await _refused(rig, operation, path, body)
    assert names in message
    assert "canary" not in message
    await rig.write("data/a", data={})


async def test_custom_metadata_fits_up_to_its_limits(rig: Rig) -> None:
    """64 names of 128 bytes with texts of 512 bytes."""
    full = {f"{i:02}" + "n" * 126: "t" * 512 for i in range(64)}
    await rig.write("metadata/a", custom_metadata=full)
    assert (await rig.read("metadata/a"))["custom_metadata"] == full

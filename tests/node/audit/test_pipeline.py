"""Audit as a part of every request: what is recorded, and what is refused when nothing can be."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from node.audit.channel import Channel, Record
from node.audit.sinks import File
from node.audit.trail import Trail
from node.errors import Sealed
from tests.node.audit.kit import Asked, active_node, body_of, lines_of


def _pairs(records: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    return Counter((record["request"]["id"], record["type"]) for record in records)


async def _token(node: Asked, policy: str, **options: object) -> str:
    """A token with one policy of its own."""
    await node.call("POST", "sys/policies/acl/own", {"policy": policy})
    made = await node.call("POST", "auth/token/create", {"policies": ["own"], "no_default_policy": True, **options})
    return str(body_of(made)["auth"]["client_token"])


async def test_every_request_has_two_records(tmp_path: Path) -> None:
    """Allowed or not, with a good token, a bad one or none: one record before and one after, with the same id."""
    async with active_node() as node:
        token = await _token(node, 'path "secret/data/a" { capabilities = ["read", "create"] }')
        assert (await node.enable("file", file_path=str(tmp_path / "a"))).status == 204
        expected = [
            (await node.call("POST", "secret/data/a", {"data": {"x": "1"}}, token=token), "create", True, ""),
            (await node.call("GET", "secret/data/a", token=token), "read", True, ""),
            (await node.call("POST", "secret/data/a", {"data": {}}, token=token), "update", False, "permission denied"),
            (await node.call("GET", "secret/data/b", token=token), "read", False, "permission denied"),
            (await node.call("GET", "secret/data/a", token="bad"), "read", False, "permission denied"),
            (await node.call("GET", "secret/data/a", token=""), "read", False, "permission denied"),
            (await node.call("GET", "secret/data/none"), "read", True, ""),
            (await node.call("LIST", "secret/metadata"), "list", True, ""),
            (await node.call("POST", "secret/data/a", {"data": "text"}), "update", True, "field validation"),
            (await node.call("GET", "secret/data/a?help=1"), "help", True, ""),
            (await node.call("GET", "nowhere/a"), "read", True, "no handler for route"),
        ]
        records = lines_of(tmp_path / "a")[1:]  # the first is the trial of the device
    assert [response.status for response, *_ in expected] == [200, 200, 403, 403, 403, 403, 404, 200, 400, 200, 404]
    assert [record["type"] for record in records] == ["request", "response"] * len(expected)
    assert all(count == 1 for count in _pairs(records).values())
    for place, (_, operation, allowed, error) in enumerate(expected):
        first, second = records[2 * place], records[2 * place + 1]
        assert first["request"] == second["request"]
        assert first["request"]["operation"] == operation
        assert first["auth"]["policy_results"]["allowed"] is allowed
        assert error in second.get("error", "") and bool(error) == ("error" in second)
        assert (first["request"]["remote_address"], first["request"]["remote_port"]) == ("192.0.2.7", 4711)
    granting = records[0]["auth"]["policy_results"]["granting_policies"]
    assert granting == [{"name": "own", "namespace_id": "root", "type": "acl"}]


async def test_nothing_is_done_when_nothing_records_it(tmp_path: Path) -> None:
    """With its only device broken a node answers 500 and writes nothing; with a second device it goes on."""
    async with active_node() as node:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        assert (await node.enable("pipe", file_path=str(pipe))).status == 204
        assert (await node.call("POST", "secret/data/a", {"data": {"x": "1"}})).status == 200
        os.close(reader)
        for method in ("POST", "GET"):
            refused = await node.call(method, "secret/data/a", {"data": {"x": "2"}} if method == "POST" else None)
            assert refused.status == 500
            assert body_of(refused)["errors"] == ["no audit device could record the request; nothing was done"]
        assert (await node.call("GET", "secret/data/a", token="bad")).status == 500
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        assert (await node.enable("file", file_path=str(tmp_path / "a"))).status == 204
        os.close(reader)
        read = await node.call("GET", "secret/data/a")
        assert body_of(read)["data"]["data"] == {"x": "1"}
        assert (await node.call("POST", "secret/data/a", {"data": {"x": "3"}})).status == 200
        assert Counter(record["type"] for record in lines_of(tmp_path / "a")[1:])["request"] == 2


async def test_no_answer_without_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the record of the response fails, the client learns neither the answer nor the error it would have been."""
    async with active_node() as node:
        await node.call("POST", "secret/data/a", {"data": {"x": "canary"}})
        await node.enable("file", file_path=str(tmp_path / "a"))
        real_send = Channel.send

        def send(channel: Channel, line: bytes, record: Record) -> None:
            if b'"type":"response"' in line:
                record.failed()
            else:
                real_send(channel, line, record)

        def send_both(channel: Channel, lines: tuple[bytes, bytes], records: tuple[Record, Record]) -> None:
            for line, record in zip(lines, records, strict=True):
                send(channel, line, record)

        monkeypatch.setattr(Channel, "send", send)
        monkeypatch.setattr(Channel, "send_both", send_both)
        for path in ("secret/data/a", "secret/data/none"):
            answer = await node.call("GET", path)
            assert answer.status == 500
            assert "no audit device could record the response" in body_of(answer)["errors"][0]
            assert b"canary" not in answer.body


async def test_a_pure_read_is_recorded_in_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both records of a read of stored values leave in one write, the request's first; a write's are two."""
    async with active_node() as node:
        await node.enable("file", file_path=str(tmp_path / "a"))
        writes: list[list[str]] = []
        real_write = File.write

        def write(file: File, lines: Sequence[bytes]) -> None:
            writes.append([json.loads(line)["type"] for line in lines])
            real_write(file, lines)

        monkeypatch.setattr(File, "write", write)
        assert (await node.call("POST", "secret/data/a", {"data": {"x": "1"}})).status == 200
        assert (await node.call("GET", "secret/data/a")).status == 200
        assert (await node.call("GET", "secret/data/none")).status == 404
    assert writes == [["request"], ["response"], ["request", "response"], ["request", "response"]]


async def test_without_a_device_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody audits, a request costs one question."""

    def never(*arguments: object) -> None:
        raise AssertionError("made a trail")

    monkeypatch.setattr(Trail, "__init__", never)
    async with active_node() as node:
        assert (await node.call("POST", "secret/data/a", {"data": {"x": "1"}})).status == 200


async def test_a_plan_that_is_made_again_is_recorded_once(tmp_path: Path) -> None:
    """Writers that race for one key retry inside the node; each has exactly one request and one response."""
    async with active_node() as node:
        await node.enable("file", file_path=str(tmp_path / "a"))
        answers = await asyncio.gather(
            *(node.call("POST", "secret/data/a", {"data": {"x": str(n)}}) for n in range(20))
        )
        assert {answer.status for answer in answers} == {200}
        counted = _pairs(lines_of(tmp_path / "a")[1:])
        assert len(counted) == 40 and set(counted.values()) == {1}


async def test_a_request_that_is_cut_off_leaves_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of time is an answer too."""
    entered = asyncio.Event()

    async def hang(*arguments: object) -> int:
        entered.set()
        await asyncio.Event().wait()
        return 0

    async with active_node() as node:
        await node.enable("file", file_path=str(tmp_path / "a"))
        monkeypatch.setattr(node.core.require_unsealed().opened, "commit", hang)
        task = asyncio.create_task(node.call("POST", "secret/data/a", {"data": {"x": "1"}}))
        await entered.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        last = lines_of(tmp_path / "a")[-1]
        assert (last["type"], last["error"]) == ("response", "the request was cut off")


async def test_sealing_is_recorded_before_it_happens(tmp_path: Path) -> None:
    """The request to seal is in the file, and is answered although the devices close."""
    async with active_node() as node:
        await node.enable("file", file_path=str(tmp_path / "a"))
        assert (await node.call("POST", "sys/seal")).status == 204
        assert lines_of(tmp_path / "a")[-1]["request"]["path"] == "sys/seal"
        async with asyncio.timeout(10):
            while not node.core.is_sealed:
                await asyncio.sleep(0.01)
        with pytest.raises(Sealed):
            node.core.require_unsealed()


async def test_devices_come_from_the_table(tmp_path: Path) -> None:
    """A node that ceases to lead closes its devices; when it leads again it opens those that the table has."""
    async with active_node() as node:
        await node.enable("file", file_path=str(tmp_path / "a"))
        unsealed = node.core.require_unsealed()
        (device,) = unsealed.audit.devices
        unsealed.audit.close()
        record = Record(1)
        device.channel.send(b"late\n", record)
        assert record.outcome is False
        assert (await node.call("GET", "secret/data/a")).status == 404
        assert lines_of(tmp_path / "a")[-1]["type"] == "response"
        (again,) = unsealed.audit.devices
        assert again.entry == device.entry
        assert await node.call("GET", "secret/data/a") and unsealed.audit.devices == (again,)


async def test_a_device_that_is_no_longer_usable_fails_instead_of_vanishing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options that today's settings forbid never turn auditing off: requests fail until somebody decides."""
    async with active_node() as node:
        await node.enable("file", file_path=str(tmp_path / "a"))
        broker = node.core.require_unsealed().audit
        broker.close()
        monkeypatch.setattr(broker, "_forbidden", [tmp_path.resolve()])
        assert (await node.call("GET", "secret/data/a")).status == 500


async def test_a_raced_device_is_not_enabled_twice(tmp_path: Path) -> None:
    """Of two that enable a device at one path, one is told that it is taken."""
    async with active_node() as node:
        answers = await asyncio.gather(*(node.enable("file", file_path=str(tmp_path / "a")) for _ in range(4)))
        assert sorted(answer.status for answer in answers) == [204, 400, 400, 400]
        assert len(body_of(await node.call("GET", "sys/audit"))["data"]) == 1

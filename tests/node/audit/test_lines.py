"""The records themselves, as one device writes them."""

import hmac
import json
from dataclasses import replace
from typing import Any

import orjson
import pytest

from engines.common.context import Caller
from engines.common.frame import Operation
from node.audit.lines import Exchange, Formatter
from node.audit.options import LineOptions
from node.audit.redact import Redactor
from node.identify import ANONYMOUS, Identified
from node.mounts import Mount, MountConfig
from node.policy import Acl
from node.request import WireRequest, parse
from node.response import Response
from node.tokens.model import SeenToken, TokenEntry, TokenType

SALT = bytes(32)
TOKEN, ACCESSOR = "hvs.canary-token", "canary-accessor"
CANARY = "canary-value"
NOON_MS = 1_893_499_200_123

ENTRY = TokenEntry(
    accessor=ACCESSOR,
    type=TokenType.SERVICE,
    policies=("default", "dev"),
    path="auth/userpass/login/ann",
    display_name="userpass-ann",
    created_at_ms=NOON_MS - 5000,
    ttl_s=3600,
    expire_at_ms=NOON_MS + 3_595_000,
    metadata={"username": "ann"},
)
WHO = Identified(
    Caller(token_key="k", accessor=ACCESSOR, policies=("default", "dev", "team"), entity_id="e-1", token=TOKEN),
    Acl.of(()),
    SeenToken("k", ENTRY, 7),
)
MOUNT = Mount(path="secret/", type="kv", uuid="u", accessor="kv_1")


def hashed(value: str | bytes) -> str:
    """What SALT makes of a value."""
    data = value.encode() if isinstance(value, str) else value
    return "hmac-sha256:" + hmac.digest(SALT, data, "sha256").hex()


def exchange(
    method: str = "POST", path: str = "secret/data/a", body: object = None, headers: dict[str, str] | None = None
) -> Exchange:
    """One allowed request of WHO."""
    path, _, query = path.partition("?")
    wire = WireRequest(
        method=method,
        path=f"/v1/{path}",
        query=query,
        headers={"x-vault-token": TOKEN, **(headers or {})},
        body=b"" if body is None else json.dumps(body).encode(),
        client_address="192.0.2.7",
        client_port=4711,
    )
    request = parse(wire, "id-1")
    return Exchange(
        request=request, operation=request.operation.value, who=WHO, mount=MOUNT, is_allowed=True, granting=("dev",)
    )


def formatter(**options: Any) -> Formatter:
    """A device's formatter."""
    return Formatter(LineOptions(**options), Redactor(SALT))


def records(
    one: Exchange, response: Response, audited: dict[str, bool] | None = None, error: str = "", **options: Any
) -> tuple[Any, Any, bytes]:
    """Both records of an exchange, and their text."""
    form = formatter(**options)
    head = form.head(one, audited or {})
    first = form.request_line(head, NOON_MS, error)
    second = form.response_line(head, NOON_MS, response, error)
    assert first.count(b"\n") == second.count(b"\n") == 1
    return orjson.loads(first), orjson.loads(second), first + second


def enveloped(**members: object) -> Response:
    """An answer in the API's envelope."""
    body: dict[str, object] = {
        "request_id": "id-1",
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": None,
        "wrap_info": None,
        "warnings": None,
        "auth": None,
        "mount_type": "kv",
    }
    return Response(200, orjson.dumps({**body, **members}))


def test_the_documented_members() -> None:
    """Request and response records hold the members of the documented schema, and nothing else."""
    one = exchange(body={"data": {"x": CANARY, "n": 1, "yes": True, "none": None}})
    first, second, text = records(one, enveloped(data={"version": 1, "created_time": "now"}, warnings=["careful"]))
    mount = {
        "mount_point": "secret/",
        "mount_type": "kv",
        "mount_accessor": "kv_1",
        "mount_running_version": "v1.18.0+builtin.vault",
        "mount_class": "secret",
    }
    assert first == {
        "time": "2030-01-01T12:00:00.123000000Z",
        "type": "request",
        "auth": {
            "client_token": hashed(TOKEN),
            "accessor": hashed(ACCESSOR),
            "display_name": "userpass-ann",
            "policies": ["default", "dev", "team"],
            "token_policies": ["default", "dev"],
            "identity_policies": ["team"],
            "policy_results": {
                "allowed": True,
                "granting_policies": [{"name": "dev", "namespace_id": "root", "type": "acl"}],
            },
            "metadata": {"username": "ann"},
            "entity_id": "e-1",
            "token_type": "service",
            "token_ttl": 3600,
            "token_issue_time": "2030-01-01T11:59:55.123000000Z",
        },
        "request": {
            "id": "id-1",
            "operation": "update",
            "path": "secret/data/a",
            "client_id": "e-1",
            "client_token": hashed(TOKEN),
            "client_token_accessor": hashed(ACCESSOR),
            "namespace": {"id": "root"},
            "data": {"data": {"x": hashed(CANARY), "n": 1, "yes": True, "none": None}},
            "remote_address": "192.0.2.7",
            "remote_port": 4711,
            **mount,
        },
    }
    assert second["response"] == {
        "data": {"version": 1, "created_time": hashed("now")},
        "warnings": ["careful"],
        **mount,
    }
    assert {**second, "type": "request"} == {**first, "response": second["response"]}
    assert b"canary" not in text


def test_cve_2024_8365_tokens_and_accessors_are_hashed_wherever_the_api_names_them() -> None:
    """Client token and accessor of the request, and those that a login or a wrapping gives out."""
    auth = {"client_token": "canary-new", "accessor": "canary-new-accessor", "policies": ["default"], "num_uses": 0}
    info = {
        "token": "canary-wrap",
        "accessor": "canary-wrap-accessor",
        "ttl": 60,
        "creation_path": "secret/data/a",
        "wrapped_accessor": "canary-inner",
    }
    _, second, text = records(exchange(body={"secret_id": CANARY}), enveloped(auth=auth, wrap_info=info))
    assert second["response"]["auth"] == {
        "client_token": hashed("canary-new"),
        "accessor": hashed("canary-new-accessor"),
        "policies": ["default"],
    }
    assert second["response"]["wrap_info"] == {
        "token": hashed("canary-wrap"),
        "accessor": hashed("canary-wrap-accessor"),
        "ttl": 60,
        "creation_path": "secret/data/a",
        "wrapped_accessor": hashed("canary-inner"),
    }
    assert b"canary" not in text


def test_cve_2024_0831_log_raw_is_one_devices_own() -> None:
    """Of two devices one shows everything; the other, given the same exchange and answer, still hashes."""
    one, answer = exchange(body={"data": {"x": CANARY}}), enveloped(data={"x": CANARY})
    raw, plain = formatter(log_raw=True), formatter()
    texts = []
    for form in (raw, plain, raw, plain):
        head = form.head(one, {})
        texts.append(form.request_line(head, NOON_MS) + form.response_line(head, NOON_MS, answer))
    assert CANARY.encode() in texts[0] and TOKEN.encode() in texts[0] and ACCESSOR.encode() in texts[0]
    assert texts[0] == texts[2] and texts[1] == texts[3]
    assert b"canary" not in texts[1]


def test_accessors_can_be_shown() -> None:
    """hmac_accessor=false shows accessors, and nothing more."""
    first, _, text = records(exchange(body={"x": CANARY}), enveloped(), hmac_accessor=False)
    assert first["auth"]["accessor"] == first["request"]["client_token_accessor"] == ACCESSOR
    assert TOKEN.encode() not in text and CANARY.encode() not in text


def test_a_mounts_own_keys_stay_clear() -> None:
    """audit_non_hmac_request_keys and -response_keys of the mount, each for its own side."""
    config = MountConfig(audit_non_hmac_request_keys=("a",), audit_non_hmac_response_keys=("b",))
    one = exchange(body={"a": "1", "b": "2"})
    one.mount = replace(MOUNT, config=config)
    first, second, _ = records(one, enveloped(data={"a": "1", "b": "2"}))
    assert first["request"]["data"] == {"a": "1", "b": hashed("2")}
    assert second["response"]["data"] == {"a": hashed("1"), "b": "2"}


def test_long_lists_are_counted_instead() -> None:
    """elide_list_responses puts counts for keys and key_info of a listing, if they are what they usually are."""
    answer = enveloped(data={"keys": ["a", "b"], "key_info": {"a": {}, "b": {}}, "x": "y"})
    _, second, _ = records(exchange("LIST"), answer, elide_list_responses=True)
    assert second["response"]["data"] == {"keys": 2, "key_info": 2, "x": hashed("y")}
    odd = enveloped(data={"keys": "canary", "key_info": ["a"]})
    _, second, _ = records(exchange("LIST"), odd, elide_list_responses=True)
    assert second["response"]["data"] == {"keys": hashed("canary"), "key_info": [hashed("a")]}
    _, second, _ = records(exchange("GET"), answer, elide_list_responses=True)
    assert second["response"]["data"]["keys"] == [hashed("a"), hashed("b")]


@pytest.mark.parametrize(
    "content_type", ["application/pem-certificate-chain", "application/octet-stream", "text/plain"]
)
def test_cve_2025_62513_raw_bodies_are_hashed_whole(content_type: str) -> None:
    """A body that is not the API's JSON is one string of its record."""
    _, second, text = records(exchange("GET"), Response(200, b"canary\xff", content_type))
    assert second["response"]["data"] == {
        "http_content_type": hashed(content_type),
        "http_raw_body": hashed(b"canary\xff"),
        "http_status_code": 200,
    }
    assert b"canary" not in text


def test_cve_2025_62513_json_that_is_no_envelope_is_hashed_by_its_strings() -> None:
    """Also text that says it is JSON and is not."""
    _, second, _ = records(exchange("GET"), Response(200, b'{"keys":[{"k":"canary"}]}'))
    assert second["response"]["data"] == {"keys": [{"k": hashed("canary")}]}
    _, second, text = records(exchange("GET"), Response(200, b'"canary"'))
    assert second["response"]["data"]["http_raw_body"] == hashed(b'"canary"')
    assert b"canary" not in text.replace(b"canary-", b"")


@pytest.mark.parametrize(
    "headers",
    [
        {"x-vault-token": TOKEN},
        {"authorization": f"Bearer {TOKEN}"},
        {"x-vault-token": TOKEN, "x-vault-wrap-ttl": "60"},
    ],
)
def test_cve_2026_46358_every_way_to_send_a_token_gives_the_same_record(headers: dict[str, str]) -> None:
    """Header, bearer or wrapped: the same members, custom headers as configured, and no secret in clear."""
    audited = {"x-custom": True, "x-plain": False, "x-vault-token": False, "authorization": False, "x-absent": False}
    sent = {**headers, "x-custom": CANARY, "x-plain": "shown", "x-other": CANARY}
    one = exchange("GET")
    wire = WireRequest(
        method="GET", path="/v1/secret/data/a", query="", headers=sent, body=b"", client_address="192.0.2.7"
    )
    one.request = parse(wire, "id-1")
    first, _, text = records(one, enveloped(), audited)
    shown = dict(first["request"]["headers"])
    assert shown.pop("x-custom") == [hashed(CANARY)]
    assert shown.pop("x-plain") == ["shown"]
    assert all(value == [hashed(headers[name])] for name, value in shown.items())
    assert first["auth"]["client_token"] == first["request"]["client_token"] == hashed(TOKEN)
    assert b"canary" not in text


def test_nobody_known() -> None:
    """Without a token, or with one that is not good, the record says who asked as far as that is known."""
    one = exchange("GET")
    one.who, one.is_allowed, one.granting = None, False, ()
    first, second, text = records(one, Response(403, b'{"errors":["permission denied"]}\n'), error="permission denied")
    assert first["auth"] == {
        "token_type": "default",
        "policy_results": {"allowed": False},
        "client_token": hashed(TOKEN),
    }
    assert first["error"] == second["error"] == "permission denied"
    assert "data" not in second["response"]
    assert b"canary" not in text
    one.who = ANONYMOUS
    one.request = parse(
        WireRequest(method="GET", path="/v1/a", query="", headers={}, body=b"", client_address=""), "id-2"
    )
    first, _, _ = records(one, Response(204))
    assert "client_token" not in first["auth"] and "client_token" not in first["request"]


def test_a_prefix_stands_before_each_record() -> None:
    """Collectors look for it; the rest is the same record."""
    form = formatter(prefix="@cee: ")
    head = form.head(exchange("GET"), {})
    assert form.request_line(head, NOON_MS).startswith(b'@cee: {"time":"2030')
    assert form.response_line(head, NOON_MS, Response(204)).startswith(b'@cee: {"time":"2030')


def test_values_that_json_can_hardly_hold() -> None:
    """Integers of any size stay what they were, and deep nesting makes no record fail."""
    deep: object = CANARY
    for _ in range(230):
        deep = [deep]
    body = b'{"n":123456789012345678901234567890,"deep":' + json.dumps(deep).encode() + b"}"
    wire = WireRequest(
        method="POST", path="/v1/secret/data/a", query="", headers={}, body=body, client_address="192.0.2.7"
    )
    one = exchange()
    one.request = parse(wire, "id-1")
    form = formatter()
    head = form.head(one, {})
    line = form.request_line(head, NOON_MS)
    answer = Response(200, enveloped(data={"n": 1}).body.replace(b'"n":1', b'"n":123456789012345678901234567890'))
    assert json.loads(line)["request"]["data"]["n"] == 123456789012345678901234567890
    assert (
        json.loads(form.response_line(head, NOON_MS, answer))["response"]["data"]["n"] == 123456789012345678901234567890
    )
    assert b"canary" not in line


def test_operations_are_the_documented_words() -> None:
    """create, read, update, patch, delete and list."""
    assert {operation.value for operation in Operation} == {"create", "read", "update", "patch", "delete", "list"}

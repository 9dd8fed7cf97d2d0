"""From an exchange to the JSON lines of one device (documentation, "Audit log entry schema").

Members that have nothing to say are left out, as documented. The `request` of both lines is encoded once.
"""

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import orjson

from engines.common.json_values import decode_json, encode_json, has_long_number
from engines.common.timestamp import rfc3339
from node.audit.options import LineOptions
from node.audit.redact import Redactor
from node.certificates import serial_number
from node.identify import Identified
from node.mounts import Mount
from node.request import Request
from node.response import JSON, Response

_CALLERS_REMEMBERED: Final = 4096  # callers and what let them in; the encoded form of one has under a kilobyte
_NAMESPACE: Final = {"id": "root"}
MOUNT_VERSION: Final = "v1.18.0+builtin.vault"
_EMPTY: Final[frozenset[str]] = frozenset()

# Headers that hold what authenticates: whatever is configured, no record shows them in clear (CVE-2024-2877).
ALWAYS_HASHED: Final = frozenset({"x-vault-token", "authorization", "proxy-authorization", "cookie"})


@dataclass(slots=True, kw_only=True)  # not frozen: that triples the time to make one, and each request makes one
class Exchange:
    """What is known of a request when it is recorded. `who` is None when its token is not good."""

    request: Request
    operation: str
    who: Identified | None
    mount: Mount | None
    is_allowed: bool
    granting: tuple[str, ...] = ()


@dataclass(slots=True)
class Head:
    """What the records of one exchange share on one device: `,"auth":{...},"request":{...}`."""

    exchange: Exchange
    text: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Caller:
    """Encoded: `,"auth":{...},"request":` and the last members of the request with its closing brace."""

    auth: bytes = field(repr=False)
    request_tail: bytes = field(repr=False)

    @staticmethod
    def of(auth: Mapping[str, object], own: Mapping[str, object], mount: Mount | None) -> "_Caller":
        """The text that these members make."""
        tail = b"," + _encoded({**own, "namespace": _NAMESPACE})[1:-1]
        if mount is not None:
            tail += b"," + _mount_text(mount.path, mount.type, mount.accessor, mount.is_auth)
        return _Caller(b',"auth":' + _encoded(auth) + b',"request":', tail + b"}")


class Formatter:
    """The lines of one device."""

    def __init__(self, options: LineOptions, redactor: Redactor) -> None:
        self._options = options
        self._redactor = redactor
        self._prefix = options.prefix.encode("utf-8", "surrogatepass")
        self._callers: dict[tuple[object, ...], _Caller] = {}
        self._at_ms = -1
        self._start = b""

    def head(self, exchange: Exchange, headers: Mapping[str, bool]) -> Head:
        """The part that the request's record and the response's have in common."""
        request, mount = exchange.request, exchange.mount
        caller = self._caller_of(exchange)
        members: dict[str, object] = {"id": request.id, "operation": exchange.operation, "path": request.path}
        if request.body:
            clear = mount.config.audit_non_hmac_request_keys if mount is not None else ()
            members["data"] = self._values(request.body, clear)
        members["remote_address"] = request.client_address
        if request.client_port:
            members["remote_port"] = request.client_port
        if request.client_certificate:
            members["client_certificate_serial_number"] = serial_number(request.client_certificate)
        if request.wrap_ttl_s:
            members["wrap_ttl"] = request.wrap_ttl_s
        if headers:
            shown = self._headers(request.headers, headers)
            if shown:
                members["headers"] = shown
        return Head(exchange, caller.auth + _encoded(members)[:-1] + caller.request_tail)

    def request_line(self, head: Head, at_ms: int, error: str = "") -> bytes:
        """The record of a request, with its line feed."""
        return self._line(b"request", head, at_ms, b"", error)

    def response_line(self, head: Head, at_ms: int, response: Response, error: str = "") -> bytes:
        """The record of a response, with its line feed."""
        mount = head.exchange.mount
        text = _encoded(self._response(head.exchange, response))
        if mount is not None:
            comma = b"," if len(text) > 2 else b""
            text = text[:-1] + comma + _mount_text(mount.path, mount.type, mount.accessor, mount.is_auth) + b"}"
        return self._line(b"response", head, at_ms, b',"response":' + text, error)

    def _line(self, kind: bytes, head: Head, at_ms: int, response: bytes, error: str) -> bytes:
        if at_ms != self._at_ms:
            self._at_ms, self._start = at_ms, self._prefix + b'{"time":"' + rfc3339(at_ms).encode() + b'","type":"'
        said = b',"error":' + _encoded(error) if error else b""
        return b"".join((self._start, kind, b'"', head.text, response, said, b"}\n"))

    def _caller_of(self, exchange: Exchange) -> "_Caller":
        """What the records say of the sender and the mount, remembered because they repeat."""
        who, mount = exchange.who, exchange.mount
        if who is None or who.token is None:
            return self._anonymous(exchange)
        place = "" if mount is None else mount.path
        key = (who.token.key, who.token.index, exchange.granting, exchange.is_allowed, place, who.caller.policies)
        known = self._callers.get(key)
        if known is None:
            if len(self._callers) >= _CALLERS_REMEMBERED:
                self._callers.clear()
            own: dict[str, object] = {
                "client_id": who.caller.entity_id or client_id(who.caller.policies),
                "client_token": self._token(exchange.request.token),
            }
            if who.caller.accessor:
                own["client_token_accessor"] = self._accessor(who.caller.accessor)
            known = self._callers[key] = _Caller.of(self._auth(exchange, who), own, mount)
        return known

    def _anonymous(self, exchange: Exchange) -> "_Caller":
        auth: dict[str, object] = {"token_type": "default", "policy_results": _results(exchange)}
        own: dict[str, object] = {}
        if exchange.request.token:
            auth["client_token"] = own["client_token"] = self._secret(exchange.request.token)
        return _Caller.of(auth, own, exchange.mount)

    def _auth(self, exchange: Exchange, who: Identified) -> dict[str, object]:
        assert who.token is not None
        caller, entry = who.caller, who.token.entry
        members: dict[str, object] = {
            "client_token": self._token(exchange.request.token),
            "accessor": self._accessor(caller.accessor),
            "display_name": entry.display_name,
            "policies": list(caller.policies),
            "token_policies": list(entry.policies),
            "identity_policies": [name for name in caller.policies if name not in entry.policies],
            "policy_results": _results(exchange),
            "metadata": dict(entry.metadata),
            "entity_id": caller.entity_id,
            "token_type": entry.type.value,
            "token_ttl": entry.ttl_s,
            "token_issue_time": rfc3339(entry.created_at_ms),
        }
        return {name: value for name, value in members.items() if value or name == "policy_results"}

    def _response(self, exchange: Exchange, response: Response) -> dict[str, object]:
        """From the very bytes that are sent, so that no type an engine may answer with escapes (CVE-2025-62705)."""
        mount = exchange.mount
        members: dict[str, object] = {}
        clear = mount.config.audit_non_hmac_response_keys if mount is not None else ()
        if response.headers:
            members["headers"] = {name: [self._secret(value)] for name, value in response.headers.items()}
        if not response.body:
            return members
        body = _json_object(response)
        if body is None:
            members["data"] = self._raw_body(response)
        elif "errors" in body and response.status >= 400:
            pass  # its text is the record's error
        elif "request_id" not in body:
            members["data"] = self._data(exchange, body, clear)
        else:
            self._add_envelope(members, exchange, body, clear)
        return members

    def _add_envelope(
        self, members: dict[str, object], exchange: Exchange, body: Mapping[str, Any], clear: Sequence[str]
    ) -> None:
        if body["auth"]:
            members["auth"] = self._response_auth(body["auth"])
        if body["lease_id"]:
            members["secret"] = {"lease_id": body["lease_id"]}
        if body["data"] is not None:
            members["data"] = self._data(exchange, body["data"], clear)
        if body["wrap_info"]:
            members["wrap_info"] = self._wrap_info(body["wrap_info"])
        if body["warnings"]:
            members["warnings"] = body["warnings"]

    def _data(self, exchange: Exchange, data: Mapping[str, Any], clear: Sequence[str]) -> object:
        if self._options.elide_list_responses and exchange.operation == "list":
            data = dict(data)
            for name, kind in (("keys", list), ("key_info", dict)):
                if isinstance(data.get(name), kind):
                    data[name] = len(data[name])
        return self._values(data, clear)

    def _raw_body(self, response: Response) -> dict[str, object]:
        """A body that is not the API's JSON is one string, and hashed as one (CVE-2025-62513)."""
        body = response.body.decode("utf-8", "replace") if self._options.log_raw else response.body
        return {
            "http_content_type": self._secret(response.content_type),
            "http_raw_body": body if isinstance(body, str) else self._redactor.hashed(body),
            "http_status_code": response.status,
        }

    def _response_auth(self, auth: Mapping[str, Any]) -> dict[str, object]:
        shown: dict[str, object] = {
            "client_token": self._secret(auth["client_token"]) if auth.get("client_token") else "",
            "accessor": self._accessor(auth.get("accessor") or ""),
            "display_name": auth.get("display_name"),
            "policies": auth.get("policies"),
            "token_policies": auth.get("token_policies"),
            "identity_policies": auth.get("identity_policies"),
            "metadata": auth.get("metadata"),
            "entity_id": auth.get("entity_id"),
            "token_type": auth.get("token_type"),
            "token_ttl": auth.get("lease_duration"),
            "num_uses": auth.get("num_uses"),
        }
        return {name: value for name, value in shown.items() if value}

    def _wrap_info(self, info: Mapping[str, Any]) -> dict[str, object]:
        shown: dict[str, object] = {
            "ttl": info.get("ttl"),
            "token": self._secret(info["token"]),
            "accessor": self._accessor(info.get("accessor") or ""),
            "creation_time": info.get("creation_time"),
            "creation_path": info.get("creation_path"),
            "wrapped_accessor": self._accessor(info.get("wrapped_accessor") or ""),
        }
        return {name: value for name, value in shown.items() if value}

    def _headers(self, sent: Mapping[str, str], audited: Mapping[str, bool]) -> dict[str, list[str]]:
        return {
            name: [self._secret(sent[name]) if is_hashed or name in ALWAYS_HASHED else sent[name]]
            for name, is_hashed in audited.items()
            if name in sent
        }

    def _values(self, values: Mapping[str, Any], clear: Sequence[str]) -> object:
        return values if self._options.log_raw else self._redactor.redacted(values, clear or _EMPTY)

    def _secret(self, value: str) -> str:
        return value if self._options.log_raw else self._redactor.hashed(value)

    def _token(self, token: str) -> str:
        return token if self._options.log_raw else self._redactor.hashed_name(token)

    def _accessor(self, accessor: str) -> str:
        if not accessor or self._options.log_raw or not self._options.hmac_accessor:
            return accessor
        return self._redactor.hashed_name(accessor)


def _results(exchange: Exchange) -> dict[str, object]:
    results: dict[str, object] = {"allowed": exchange.is_allowed}
    if exchange.granting:
        results["granting_policies"] = [
            {"name": name, "namespace_id": "root", "type": "acl"} for name in exchange.granting
        ]
    return results


@lru_cache(maxsize=1024)
def _mount_text(path: str, engine_type: str, accessor: str, is_auth: bool) -> bytes:
    """How requests and responses name a mount: members without the braces around them."""
    members = {
        "mount_point": path,
        "mount_type": engine_type,
        "mount_accessor": accessor,
        "mount_running_version": MOUNT_VERSION,
        "mount_class": "auth" if is_auth else "secret",
    }
    return _encoded(members)[1:-1]


@lru_cache(maxsize=1024)
def client_id(policies: tuple[str, ...]) -> str:
    """Who is counted as one client when there is no entity: those with the same policies, as documented."""
    return b64encode(hashlib.sha256(",".join(sorted(policies)).encode("utf-8", "surrogatepass")).digest()).decode()


def _json_object(response: Response) -> Mapping[str, Any] | None:
    if not response.content_type.startswith(JSON):
        return None
    body = response.body
    try:
        # orjson turns integers of more than 64 bits into floats, which would show a number that was not sent.
        decoded = decode_json(body) if has_long_number(body) else orjson.loads(body)
    except (ValueError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict) else None


def _encoded(value: object) -> bytes:
    """JSON text without a line feed, of whatever JSON can hold."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return encode_json(value)

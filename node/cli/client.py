"""The client of the HTTP API: retries, redirects, the token, the envelope.

No error it raises, and no repr of what it holds, shows a token, a body or a query (CVE-2026-55102).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Final
from urllib.parse import SplitResult, quote, urlencode, urljoin, urlsplit

from node.cli.errors import ApiError, RemoteError
from node.cli.secret import Data, Secret
from node.cli.settings import ClientSettings
from node.cli.transport import CHUNK_BYTES, Exchange, Stream, Transport, Upload

BODY_BYTES_MAX: Final = 64 << 20
"""Twice the largest request a node takes: no documented answer but a snapshot is longer, and that one streams."""
REDIRECTS_MAX: Final = 5
RETRY_PAUSE_S: Final = (1.0, 1.5)
"""Pause before the first retry and before every later one, as the documented client has it."""
MERGE_PATCH: Final = "application/merge-patch+json"
Query = Mapping[str, str]
Sleep = Callable[[float], None]
Dry = Callable[[Exchange], None]
"""Shows a request instead of sending it, and raises."""


class Client:
    """Talks to one server for the length of one command."""

    def __init__(self, settings: ClientSettings, token: Callable[[], str], sleep: Sleep, dry: Dry | None) -> None:
        self._settings = settings
        self._transport = Transport(settings)
        self._read_token = token
        self._sleep = sleep
        self._dry = dry
        self._token_override: str | None = None
        self._wrap = True

    @property
    def address(self) -> str:
        """The server's address, for messages."""
        return Exchange("GET", self._settings.address, {}, None).shown_url.rstrip("/")

    def use_token(self, token: str) -> None:
        """Send this token from now on."""
        self._token_override = token

    def token(self) -> str:
        """The token that requests carry; empty when there is none."""
        if self._token_override is None:
            self._token_override = self._read_token()
        return self._token_override

    def stop_wrapping(self) -> None:
        """Leave the wrap header off from now on."""
        self._wrap = False

    @contextmanager
    def unwrapped(self) -> Iterator[None]:
        """Leave the wrap header off: what a command asks for itself is not what its user wants wrapped."""
        before, self._wrap = self._wrap, False
        try:
            yield
        finally:
            self._wrap = before

    def read(self, path: str, query: Query | None = None) -> Secret | None:
        """GET; None when nothing is there. A deleted kv version is a 404 that still holds data."""
        return self._logical("GET", path, None, query, empty_on_404=True)

    def list(self, path: str) -> Secret | None:
        """The names under a path; None when there are none."""
        return self._logical("GET", path, None, {"list": "true"}, empty_on_404=True)

    def write(self, path: str, body: Mapping[str, object] | None = None) -> Secret | None:
        """PUT; None when the server has nothing to say."""
        return self._logical("PUT", path, body, None)

    def patch(self, path: str, body: Mapping[str, object]) -> Secret | None:
        """PATCH with a JSON merge patch."""
        return self._logical("PATCH", path, body, None)

    def delete(self, path: str, query: Query | None = None) -> Secret | None:
        """DELETE; None when the server has nothing to say."""
        return self._logical("DELETE", path, None, query)

    def plain(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        query: Query | None = None,
        *,
        retries: int | None = None,
        dry: bool = True,
    ) -> Data:
        """An answer without envelope, decoded; {} when it has no body.

        `dry=False` sends the request even under -output-curl-string: it only prepares the one that is shown.
        """
        exchange = self._exchange(method, path, body, query)
        if dry:
            self._show(exchange)
        with self._send(exchange, None, self._settings.retries if retries is None else retries) as stream:
            return _decode(exchange, _body(exchange, stream))

    @contextmanager
    def stream(
        self, method: str, path: str, query: Query | None = None, upload: Upload | None = None
    ) -> Iterator[Stream]:
        """An answer that is read as it comes. An upload is not retried: it may be long, and may have arrived."""
        exchange = self._exchange(method, path, None, query)
        self._show(exchange)
        with self._send(exchange, upload, self._settings.retries if upload is None else 0) as stream:
            yield stream

    def _logical(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        query: Query | None,
        *,
        empty_on_404: bool = False,
    ) -> Secret | None:
        exchange = self._exchange(method, path, body, query)
        self._show(exchange)
        with self._send(exchange, None, self._settings.retries, allow_404=empty_on_404) as stream:
            missing = stream.status == 404
            raw = _decode_or_empty(_body(exchange, stream)) if missing else _decode(exchange, _body(exchange, stream))
        secret = Secret.of(raw) if raw else None
        if missing and secret is not None and not secret.data and not secret.warnings:
            return None
        return secret

    def _show(self, exchange: Exchange) -> None:
        if self._dry is not None:
            self._dry(exchange)

    def _exchange(self, method: str, path: str, body: Mapping[str, object] | None, query: Query | None) -> Exchange:
        base = self._settings.address
        root = "" if base.scheme == "unix" else base.path.rstrip("/")
        # Percent-encoded like any client does it: a `?` or `#` in a path is part of the name.
        url = base._replace(
            path=f"{root}/v1/{quote(path.lstrip('/'), safe='/+:@!$&(),;=~*')}", query=urlencode(query or {})
        )
        headers = {**self._settings.headers}
        if not self._wrap:
            headers.pop("X-Vault-Wrap-TTL", None)
        if method == "PATCH":
            headers["Content-Type"] = MERGE_PATCH
        elif body is not None:
            headers["Content-Type"] = "application/json"
        if self._settings.mfa:
            headers["X-Vault-MFA"] = ", ".join(self._settings.mfa)
        payload = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        return Exchange(method, url, headers, payload)

    @contextmanager
    def _send(
        self, exchange: Exchange, upload: Upload | None, retries: int, *, allow_404: bool = False
    ) -> Iterator[Stream]:
        exchange = replace(exchange, headers={**exchange.headers, **self._token_header()})
        hops = tries = 0
        while True:
            with self._transport.send(exchange, upload) as stream:
                if stream.status in (301, 302, 307, 308) and self._settings.follow_redirects:
                    target = stream.header("Location")
                    stream.read(CHUNK_BYTES)
                elif _passing(stream.status) and tries < retries:
                    stream.read(CHUNK_BYTES)
                    target = ""
                else:
                    if stream.status >= 300 and not (allow_404 and stream.status == 404):
                        raise _refusal(exchange, stream)
                    yield stream
                    return
            if target:
                hops += 1
                exchange = replace(exchange, url=_redirected(exchange, target, hops))
            else:
                self._sleep(RETRY_PAUSE_S[min(tries, 1)])
                tries += 1

    def _token_header(self) -> dict[str, str]:
        token = self.token()
        if not token:
            return {}
        if not token.isascii() or not token.isprintable():
            raise RemoteError("the token holds characters that no token has; log in again")
        return {"X-Vault-Token": token}


def _passing(status: int) -> bool:
    """Whether the same request may do better in a moment."""
    return status == 412 or (status >= 500 and status != 501)


def _redirected(exchange: Exchange, target: str, hops: int) -> SplitResult:
    """Where the leader is. Raises RemoteError for a redirect that must not be followed with a token."""
    url = urlsplit(urljoin(exchange.url.geturl(), target))
    if hops > REDIRECTS_MAX:
        raise RemoteError(f"{exchange.method} {exchange.shown_url}: redirected too often")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise RemoteError(f"{exchange.method} {exchange.shown_url}: redirected to something that is no HTTP address")
    if exchange.url.scheme == "https" and url.scheme == "http":
        raise RemoteError(f"{exchange.method} {exchange.shown_url}: redirect would leave TLS; not followed")
    return url


def _body(exchange: Exchange, stream: Stream) -> bytes:
    parts = []
    size = 0
    while chunk := stream.read(CHUNK_BYTES):
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            raise RemoteError(f"{exchange.method} {exchange.shown_url}: the answer is too long")
        parts.append(chunk)
    return b"".join(parts)


def _decode(exchange: Exchange, body: bytes) -> Data:
    if not body.strip():
        return {}
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise RemoteError(f"{exchange.method} {exchange.shown_url}: the answer is not a JSON object")
    return value


def _decode_or_empty(body: bytes) -> Data:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _refusal(exchange: Exchange, stream: Stream) -> ApiError:
    errors = _decode_or_empty(_body(exchange, stream)).get("errors")
    messages = [str(error) for error in errors] if isinstance(errors, list) else None
    return ApiError(exchange.method, exchange.shown_url, stream.status, messages)

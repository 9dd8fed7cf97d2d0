"""One HTTP exchange over TCP, TLS, a unix socket or a proxy, on the standard library because it starts fastest."""

import http.client
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, Final, Protocol
from urllib.parse import SplitResult

from node.cli.errors import RemoteError, UsageError
from node.cli.settings import ClientSettings, TlsSettings

CHUNK_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Upload:
    """A body too large to hold; opened anew for every place the request is sent to."""

    size_bytes: int
    open: Callable[[], BinaryIO]


class Stream(Protocol):
    """An open answer. `read` gives at most so many bytes, and b"" at the end; `readline` gives a line."""

    status: int

    def read(self, amount: int) -> bytes: ...
    def readline(self) -> bytes: ...
    def header(self, name: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request as it goes out; `url` is absolute. Headers and body may hold secrets."""

    method: str
    url: SplitResult
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)

    @property
    def shown_url(self) -> str:
        """The URL for messages: no user information, no query."""
        if self.url.scheme == "unix":
            return f"unix://{self.url.path}"
        host = self.url.netloc.rpartition("@")[2]
        return f"{self.url.scheme}://{host}{self.url.path}"


class _HttpStream:
    def __init__(self, exchange: Exchange, response: http.client.HTTPResponse) -> None:
        self._exchange = exchange
        self._response = response
        self.status = response.status

    def read(self, amount: int) -> bytes:
        with _network(self._exchange):
            return self._response.read(amount)

    def readline(self) -> bytes:
        with _network(self._exchange):
            return self._response.readline()

    def header(self, name: str) -> str:
        return self._response.headers.get(name) or ""


@contextmanager
def _network(exchange: Exchange) -> Iterator[None]:
    """Turn whatever the network does into one line."""
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise RemoteError(f"{exchange.method} {exchange.shown_url}: {_reason(error)}") from None


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._timeout_s)
        self.sock.connect(self._path)


class _TlsConnection(http.client.HTTPSConnection):
    """TLS whose expected name may differ from the name that is connected to."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, server_name: str, timeout_s: float) -> None:
        super().__init__(host, port, context=context, timeout=timeout_s)
        self._tls = context
        self._server_name = server_name

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._server_name)


def tls_context(tls: TlsSettings) -> ssl.SSLContext:
    """What the client trusts and shows. Raises UsageError for files that cannot be used."""
    context = ssl.create_default_context()
    try:
        if tls.ca_file or tls.ca_pem or tls.ca_folder:
            # A named CA replaces the system's: whoever names one trusts that one.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            _load_authorities(context, tls)
        if tls.certificate or tls.key:
            if not (tls.certificate and tls.key):
                raise UsageError("a client certificate needs both -client-cert and -client-key")
            # The empty answer keeps OpenSSL from asking for a passphrase on the terminal.
            context.load_cert_chain(tls.certificate, tls.key, password="")
    except (OSError, ssl.SSLError, ValueError):
        raise UsageError("cannot load the CA or the client certificate; check the files that were named") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _load_authorities(context: ssl.SSLContext, tls: TlsSettings) -> None:
    from pathlib import Path

    if tls.ca_file:
        context.load_verify_locations(cafile=tls.ca_file)
    elif tls.ca_pem:
        context.load_verify_locations(cadata=tls.ca_pem)
    else:
        for file in sorted(Path(tls.ca_folder).iterdir()):
            if file.is_file():
                context.load_verify_locations(cafile=str(file))


class Transport:
    """Sends exchanges and keeps the last connection for the next one to the same place."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._connection: http.client.HTTPConnection | None = None
        self._place = ""

    @contextmanager
    def send(self, exchange: Exchange, upload: Upload | None = None) -> Iterator[Stream]:
        """The open answer to a request. Raises RemoteError, in one line, for whatever goes wrong on the way."""
        response: http.client.HTTPResponse | None = None
        try:
            response = self._answer(exchange, upload)
            yield _HttpStream(exchange, response)
        finally:
            # What was not read to its end would be taken for the next answer.
            if response is None or not response.isclosed():
                self.close()

    def _answer(self, exchange: Exchange, upload: Upload | None) -> http.client.HTTPResponse:
        headers = dict(exchange.headers)
        if upload is None:
            with _network(exchange):
                connection = self._connect(exchange.url)
                connection.request(exchange.method, self._target(exchange.url), exchange.body, headers)
                return connection.getresponse()
        with upload.open() as file, _network(exchange):
            connection = self._connect(exchange.url)
            headers["Content-Length"] = str(upload.size_bytes)
            connection.request(exchange.method, self._target(exchange.url), file, headers)
            return connection.getresponse()

    def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self, url: SplitResult) -> http.client.HTTPConnection:
        place = f"{url.scheme}://{url.netloc}"
        if self._connection is None or place != self._place:
            self.close()
            self._connection = self._open(url)
            self._place = place
        return self._connection

    def _open(self, url: SplitResult) -> http.client.HTTPConnection:
        timeout_s = self._settings.timeout_s
        if url.scheme == "unix":
            return _UnixConnection(self._settings.address.path, timeout_s)
        host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
        proxy = self._settings.proxy
        first_host, first_port = (proxy.hostname or "", proxy.port or 80) if proxy else (host, port)
        if url.scheme == "http":
            return http.client.HTTPConnection(first_host, first_port, timeout=timeout_s)
        tls = self._settings.tls
        connection = _TlsConnection(first_host, first_port, tls_context(tls), tls.server_name or host, timeout_s)
        if proxy:
            connection.set_tunnel(host, port, _proxy_headers(proxy))
        return connection

    def _target(self, url: SplitResult) -> str:
        path = url.path + (f"?{url.query}" if url.query else "")
        return f"{url.scheme}://{url.netloc}{path}" if self._settings.proxy and url.scheme == "http" else path


def _proxy_headers(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    import base64

    login = base64.b64encode(f"{proxy.username}:{proxy.password or ''}".encode()).decode()
    return {"Proxy-Authorization": f"Basic {login}"}


def _reason(error: Exception) -> str:
    """What went wrong, in words that cannot repeat what was sent or received."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"tls: the server's certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"tls: handshake failed: {error.reason or 'protocol error'}"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ConnectionError | socket.gaierror) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, OSError) and error.errno is not None:
        return (error.strerror or "input/output error").lower()
    return "the answer is not HTTP, or ended too early"

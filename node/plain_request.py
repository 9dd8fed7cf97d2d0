"""A request that arrives in one piece and says nothing unusual: what nearly every one is.

aiohttp's way of a request (a parser, a request, a writer, a stream and two tasks) costs as much as a read itself. Here
such a request is recognised in the bytes. Whatever is not exactly of this shape goes aiohttp's way: chunks, upgrades,
100-continue, HTTP/1.0, folded or repeated headers, anything but visible ASCII, an incomplete body, pipelining.
Nothing is taken here that aiohttp would refuse or read otherwise.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from node.request import WireRequest

HEAD_BYTES_MAX: Final = 8192
BODY_DIGITS_MAX: Final = 9
REMEMBERED_MAX: Final = 512  # header blocks: a client sends the same one again and again

# RFC 3986, 3.3 and 3.4: what a path and a query may hold.
_LINE: Final = re.compile(
    rb"(GET|LIST|POST|PUT|PATCH|DELETE) "
    rb"(/v1/[A-Za-z0-9\-._~!$&'()*+,;=:@%/]*)(?:\?([A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*))? HTTP/1\.1\r\n"
)
_HEADER: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([!-~](?:[ \t!-~]*[!-~])?)?[ \t]*")
_UNUSUAL: Final = frozenset({"transfer-encoding", "expect", "upgrade", "trailer", "te", "proxy-connection"})
# Paths below sys/ may stream (snapshots, the log); of them only those that many clients use are answered here.
_SYS: Final = "/v1/sys/"
_PLAIN_SYS: Final = ("/v1/sys/wrapping/", "/v1/sys/leases/", "/v1/sys/capabilities", "/v1/sys/tools/")


# Not frozen: filled on the way of a request (docs/performance.md).
@dataclass(slots=True)
class _Block:
    """A header block. The same mapping is handed to each request that has these headers: nobody changes it."""

    headers: Mapping[str, str] = field(repr=False)
    body_bytes: int


class PlainRequests:
    """Recognises plain requests. Remembers header blocks, tokens among them, until `forget`."""

    def __init__(self, body_bytes_max: int) -> None:
        self._body_bytes_max = body_bytes_max
        self._blocks: dict[bytes, _Block] = {}

    def forget(self) -> None:
        """Keep no header block longer than it is of use."""
        self._blocks.clear()

    def recognise(self, data: bytes, address: str, port: int) -> WireRequest | None:
        """The request that these bytes are, wholly and exactly; None if they are anything else."""
        line = _LINE.match(data)
        if line is None:
            return None
        start = line.end()
        end = data.find(b"\r\n\r\n", start - 2, HEAD_BYTES_MAX)
        if end < 0:
            return None
        text = data[start : end + 2]
        block = self._blocks.get(text)
        if block is None:
            block = _parsed(text)
            if block is None or block.body_bytes > self._body_bytes_max:
                return None
            if len(self._blocks) >= REMEMBERED_MAX:
                self._blocks.clear()
            self._blocks[text] = block
        if len(data) != end + 4 + block.body_bytes:
            return None
        method, path, query = line.groups()
        raw_path = path.decode()
        if raw_path.startswith(_SYS) and not raw_path.startswith(_PLAIN_SYS):
            return None
        if method == b"LIST":
            method, query = b"GET", b"list=true&" + query if query else b"list=true"
        return WireRequest(
            method=method.decode(),
            path=raw_path,
            query=query.decode() if query else "",
            headers=block.headers,
            body=data[end + 4 :],
            client_address=address,
            client_port=port,
        )


def _parsed(text: bytes) -> _Block | None:
    """The headers in a block whose lines all end in CR LF; None if any of them is unusual."""
    headers: dict[str, str] = {}
    for line in text.split(b"\r\n")[:-1]:
        found = _HEADER.fullmatch(line)
        if found is None:
            return None
        name = found[1].decode().lower()
        if name in headers or name in _UNUSUAL:
            return None
        headers[name] = (found[2] or b"").decode()
    if "host" not in headers or headers.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    length = headers.get("content-length", "0")
    if not length.isdigit() or len(length) > BODY_DIGITS_MAX:
        return None
    return _Block(headers, int(length))

"""Cuts a stream of bytes into frames, with one copy and no more memory than the largest frame allowed."""

from collections.abc import Iterator

from cluster.link_limits import READ_BUFFER_BYTES
from cluster.wire import HEADER_BYTES, WireError


class FrameReader:
    """Hands out room to read into, then the frames that are complete.

    Invariant: between calls, the unread bytes are `_buffer[_start:_end]` and the frame that they begin fits behind
    `_start`. A frame larger than the usual buffer is read straight into a buffer of its exact size.
    """

    __slots__ = ("_buffer", "_end", "_start", "frame_bytes_max")

    def __init__(self, frame_bytes_max: int) -> None:
        self.frame_bytes_max = frame_bytes_max
        self._buffer = memoryview(bytearray(READ_BUFFER_BYTES))
        self._start = 0
        self._end = 0

    def room(self) -> memoryview:
        """Where the next bytes go; never empty."""
        return self._buffer[self._end :]

    def received(self, byte_count: int) -> Iterator[memoryview]:
        """The bodies that the next byte_count bytes complete. Each is valid only until the next step.

        Raises:
            WireError: A length over frame_bytes_max.
        """
        self._end += byte_count
        while (unread := self._end - self._start) >= HEADER_BYTES:
            body = self._start + HEADER_BYTES
            body_bytes = int.from_bytes(self._buffer[self._start : body], "big")
            if body_bytes > self.frame_bytes_max:
                raise WireError(f"a frame of {body_bytes} bytes is over {self.frame_bytes_max}")
            if unread < HEADER_BYTES + body_bytes:
                self._make_room(HEADER_BYTES + body_bytes)
                return
            self._start = body + body_bytes
            yield self._buffer[body : self._start]
        self._make_room(HEADER_BYTES)

    def _make_room(self, frame_bytes: int) -> None:
        """See to it that a frame of this size fits behind _start."""
        if self._start == self._end:
            self._start = self._end = 0
        fits = self._start + frame_bytes <= len(self._buffer)
        oversized = len(self._buffer) > READ_BUFFER_BYTES >= frame_bytes
        if fits and not oversized:
            return
        # At most once a frame, and only what has come of this frame moves.
        unread = self._buffer[self._start : self._end]
        target = self._buffer
        if oversized or frame_bytes > len(self._buffer):
            target = memoryview(bytearray(max(frame_bytes, READ_BUFFER_BYTES)))
        target[: len(unread)] = unread
        self._buffer, self._start, self._end = target, 0, len(unread)

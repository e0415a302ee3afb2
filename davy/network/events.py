"""Server-sent events as davy carries them: one `data:` line or one comment, then a blank line (WHATWG HTML §9.2)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from davy.protocol.errors import TooLarge
from davy.protocol.limits import MAX_EVENT_BYTES, MAX_STREAM_BYTES
from davy.protocol.ports import Frame

DONE: Final = b"[DONE]"
"""The payload that ends a stream of OpenAI's API."""
STREAM_HEADERS: Final = (("content-type", "text/event-stream"), ("cache-control", "no-store"))
"""What every transport sets for a stream; a handler's own come after them."""


def data_frame(payload: bytes) -> Frame:
    """Return ``data: payload``. JSON holds no raw line break, so one line is always enough."""
    return b"data: " + payload


def data_payloads(frame: Frame) -> list[bytes]:
    """Return the payloads of a frame's ``data:`` lines, one leading space removed; a comment has none."""
    return [line[5:].removeprefix(b" ") for line in frame.split(b"\n") if line.startswith(b"data:")]


class FrameReader:
    r"""Cuts bytes as they arrive into frames. A line may end in LF or CR LF; within a frame they are LF.

    What is kept between two calls never exceeds MAX_EVENT_BYTES, nor what is taken in all MAX_STREAM_BYTES.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._held = b""
        self._searched = 0
        self._total = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes; return the frames that they complete.

        Raises
        ------
        TooLarge
            A frame, or all of them together, exceed their bound.
        """
        self._total += len(data)
        if self._total > MAX_STREAM_BYTES:
            raise TooLarge(f"a stream holds at most {MAX_STREAM_BYTES} bytes")
        if self._held or b"\r" in data:  # a CR at the end may be half of a CR LF
            data = self._held + data
            self._held = b"\r" if data.endswith(b"\r") else b""
            data = data.removesuffix(b"\r").replace(b"\r\n", b"\n")
        self._rest += data
        frames: list[Frame] = []
        start = 0
        while (end := self._rest.find(b"\n\n", max(start, self._searched))) >= 0:
            frames.append(bytes(self._rest[start:end]))
            start = self._searched = end + 2
        del self._rest[:start]
        self._searched = max(0, len(self._rest) - 1)
        if max(map(len, frames), default=0) > MAX_EVENT_BYTES or len(self._rest) > MAX_EVENT_BYTES + 2:
            raise TooLarge(f"one event of a stream holds at most {MAX_EVENT_BYTES} bytes")
        return [frame for frame in (f.lstrip(b"\n") for f in frames) if frame]

    @property
    def is_between_frames(self) -> bool:
        """Whether everything that arrived was part of a whole frame."""
        return not self._rest.strip(b"\n")


async def body_as_frame(body: bytes) -> AsyncGenerator[Frame]:
    """What a stream's reader gets of an answer that is no stream, such as an error: its whole body as one frame."""
    if body:
        yield body

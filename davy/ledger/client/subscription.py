"""A WebSocket on which a ledger tells its news, by wsproto: whole messages, each bounded; pings are answered."""

from __future__ import annotations

from collections import deque
from io import StringIO
from typing import Final, Self

import anyio
from anyio.abc import ByteStream
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, RejectConnection, Request, TextMessage
from wsproto.utilities import ProtocolError

MAX_EVENT_CHARS: Final = 64 * 1024
_CHUNK: Final = 64 * 1024
_BROKEN: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


class Subscription:
    """An open WebSocket. `text` may be cancelled and called again: nothing is lost between."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._socket = WSConnection(ConnectionType.CLIENT)
        self._texts: deque[str] = deque()
        self._part = StringIO()
        self._is_open = self._has_ended = False

    @classmethod
    async def open(cls, stream: ByteStream, host: str, target: str, first: str) -> Self:
        """Shake hands over a fresh connection and send a first message; the connection is closed where that fails.

        Raises
        ------
        OSError
            The connection broke off.
        ValueError
            The server takes no subscription there.
        """
        s = cls(stream)
        try:
            await s._write(s._socket.send(Request(host=host, target=target)))
            while not s._is_open:
                await s._read()
            await s._write(s._socket.send(TextMessage(data=first)))
        except BaseException:
            await s.aclose()
            raise
        return s

    @property
    def has_more(self) -> bool:
        """Whether a message has been read and waits for `text`."""
        return bool(self._texts)

    async def text(self) -> str:
        """Return the next message.

        Raises
        ------
        OSError
            The connection broke off, or the server ended it.
        ValueError
            What came is no WebSocket's, or a message too long.
        """
        while not self._texts:
            if self._has_ended:
                raise ConnectionResetError("the server ended the subscription")
            await self._read()
        return self._texts.popleft()

    async def aclose(self) -> None:
        """Hang up."""
        with anyio.CancelScope(shield=True):
            await anyio.aclose_forcefully(self._stream)

    async def _read(self) -> None:
        try:
            self._socket.receive_data(await self._stream.receive(_CHUNK))
            answers = b"".join([self._take(event) for event in self._socket.events()])
        except _BROKEN as e:
            raise ConnectionResetError("the connection broke off") from e
        except ProtocolError as e:
            raise ValueError(str(e)) from None
        if answers:
            await self._write(answers)

    def _take(self, event: Event) -> bytes:
        """Keep what an event says; return what is to be answered to it."""
        match event:
            case AcceptConnection():
                self._is_open = True
            case RejectConnection():
                raise ValueError(f"the server answers {event.status_code}")
            case TextMessage():
                self._part.write(event.data)  # which keeps nothing of an empty part, and copies no other one again
                if self._part.tell() > MAX_EVENT_CHARS:
                    raise ValueError("a message is too long")
                if event.message_finished:
                    self._texts.append(self._part.getvalue())
                    self._part = StringIO()
            case Ping():
                return self._socket.send(event.response())
            case CloseConnection():
                self._has_ended = True
            case _:
                pass
        return b""

    async def _write(self, data: bytes) -> None:
        try:
            await self._stream.send(data)
        except _BROKEN as e:
            raise ConnectionResetError("the connection broke off") from e

"""A client's connections to one ledger: POSTs whose answers are bounded, and a subscription.

HTTP/1.1 by h11 and WebSocket by wsproto, over anyio's streams: a command which makes three calls starts in half the
time that it takes with aiohttp imported (`python -m bench.startup`). No redirect is followed, no proxy, cookie or
compression is used.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import anyio
import h11
from anyio.abc import ByteStream

from davy.ledger.client.subscription import Subscription
from davy.protocol.errors import Misconfigured, TooLarge
from davy.protocol.limits import MAX_HEADER_BYTES

_CONNECT_S: Final = 3.0
_ANSWER_S: Final = 15.0
_AT_ONCE: Final = 32
_KEPT: Final = 8
_CHUNK: Final = 64 * 1024
_BROKEN: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


class Address(NamedTuple):
    """Where a server listens, from ``http://host:port/path`` or https."""

    host: str
    port: int
    path: str
    """Without a slash at its end."""
    secure: bool

    @classmethod
    def of(cls, url: str) -> Address:
        """Take a URL apart.

        Raises
        ------
        Misconfigured
            It is none, or says more than host, port and path.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
            said = f"{parts.hostname or ''}{parts.path}".encode("ascii")
            (parts.hostname or "").encode("idna")  # which knows how long a name and its parts may be
        except (ValueError, UnicodeError):
            parts, port, said = urlsplit(""), None, b""
        more = parts.query or parts.fragment or parts.username is not None or port == 0
        if parts.scheme not in ("http", "https") or not parts.hostname or more or not said.isascii() or b" " in said:
            raise Misconfigured(f"'{url[:80]}' is not an address of a ledger; write http://host:port")
        secure = parts.scheme == "https"
        return cls(parts.hostname, port or (443 if secure else 80), parts.path.rstrip("/"), secure)

    @property
    def authority(self) -> str:
        """What stands in the Host field."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


class _Connection(NamedTuple):
    stream: ByteStream
    http: h11.Connection


class Connections:
    """Connections to one server, kept for the next call; `aclose` closes them."""

    def __init__(self, to: Address) -> None:
        self._to = to
        self._idle: list[_Connection] = []
        self._limit = anyio.CapacityLimiter(_AT_ONCE)
        self._context: ssl.SSLContext | None = None

    async def aclose(self) -> None:
        while self._idle:
            await anyio.aclose_forcefully(self._idle.pop().stream)

    async def post(self, path: str, body: bytes, *, limit: int) -> bytes:
        """Send a body and return the answer's, whatever its status.

        A connection that was kept and turns out closed is opened anew and the same bytes are sent again: only what may
        arrive twice may be posted.

        Parameters
        ----------
        limit
            Bytes that an answer may have.

        Raises
        ------
        TimeoutError
            15 s have passed.
        OSError
            No connection came about, or it broke off.
        ValueError
            What answers speaks no HTTP/1.1.
        TooLarge
        """
        with anyio.fail_after(_ANSWER_S):
            async with self._limit:
                while self._idle:
                    with suppress(ConnectionError):
                        return await self._exchange(self._idle.pop(), path, body, limit)
                return await self._exchange(_Connection(await self._connect(), _parser()), path, body, limit)

    async def subscription(self, path: str, first: str) -> Subscription:
        """Open a WebSocket and send a first message; its owner closes it.

        Raises
        ------
        TimeoutError, OSError, ValueError
            As for `post`.
        """
        with anyio.fail_after(_ANSWER_S):
            return await Subscription.open(await self._connect(), self._to.authority, self._to.path + path, first)

    async def _connect(self) -> ByteStream:
        with anyio.fail_after(_CONNECT_S):
            if not self._to.secure:
                return await anyio.connect_tcp(self._to.host, self._to.port)
            self._context = self._context or ssl.create_default_context()
            try:
                return await anyio.connect_tcp(
                    self._to.host, self._to.port, ssl_context=self._context, tls_standard_compatible=False
                )
            except (*_BROKEN, ssl.SSLZeroReturnError) as e:  # hung up in the handshake; older OpenSSL says so itself
                raise ConnectionResetError("the connection broke off") from e

    async def _exchange(self, c: _Connection, path: str, body: bytes, limit: int) -> bytes:
        try:
            answer = await self._ask(c, path, body, limit)
            more, _ = c.http.trailing_data  # an answer that nobody asked for would be taken for the next one
            done = c.http.our_state is c.http.their_state is h11.DONE
            if done and not more and len(self._idle) < _KEPT:
                c.http.start_next_cycle()
                self._idle.append(c)
                return answer
        except _BROKEN as e:
            await anyio.aclose_forcefully(c.stream)
            raise ConnectionResetError("the connection broke off") from e
        except h11.ProtocolError as e:
            await anyio.aclose_forcefully(c.stream)
            _, has_ended = c.http.trailing_data
            raise (ConnectionResetError if has_ended else ValueError)(str(e)) from None
        except BaseException:
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(c.stream)
            raise
        await anyio.aclose_forcefully(c.stream)
        return answer

    async def _ask(self, c: _Connection, path: str, body: bytes, limit: int) -> bytes:
        headers = [
            ("Host", self._to.authority),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
        ]
        asked = h11.Request(method="POST", target=self._to.path + path, headers=headers)
        for part in (asked, h11.Data(data=body), h11.EndOfMessage()):
            await c.stream.send(c.http.send(part) or b"")
        answer = bytearray()
        while True:
            match c.http.next_event():
                case h11.NEED_DATA:
                    c.http.receive_data(await _more(c))
                case h11.Data(data=data):
                    answer += data
                    if len(answer) > limit:
                        raise TooLarge(f"{self._to.authority} answers more than {limit} bytes; ask another one")
                case h11.EndOfMessage():
                    return bytes(answer)
                case h11.ConnectionClosed():
                    raise ConnectionResetError("the connection broke off")
                case _:
                    pass


def _parser() -> h11.Connection:
    return h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER_BYTES)


async def _more(c: _Connection) -> bytes:
    """What comes next; nothing at the end, which h11 knows to judge."""
    try:
        return await c.stream.receive(_CHUNK)
    except anyio.EndOfStream:
        return b""

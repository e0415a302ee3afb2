"""`Transport` over HTTP/1.1 and TLS by aiohttp: one session, connections kept alive, each peer's certificate pinned.

No redirect is followed, no proxy, cookie or compression is used, and every client of davy sends the same header fields.
A signed request is never sent twice by itself: what came of a lost one is the caller's to decide.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Set
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from typing import Final, Self

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    ServerFingerprintMismatch,
    TCPConnector,
)
from aiohttp.abc import AbstractResolver
from yarl import URL

from davy.network.client_failures import told_of_client
from davy.network.events import FrameReader, body_as_frame
from davy.network.tls import pin
from davy.protocol.errors import TooLarge, Unreachable
from davy.protocol.limits import MAX_HEADER_BYTES, MAX_HEADERS, MAX_RESPONSE_BYTES
from davy.protocol.ports import Clock, Frame, IncomingStream, Response, SignedRequest
from davy.protocol.transaction import Endpoint
from davy.protocol.words import UnixMillis

_IDLE_S: Final = 30
"""Shorter than a server keeps a connection (`ServerLimits.idle`)."""
_MAX_CONNECTIONS: Final = 1_000
_MAX_CONNECTIONS_A_PEER: Final = 100


class HttpTransport:
    """Carries signed requests while its context is open.

    Parameters
    ----------
    clock
        Tells what a deadline means; it must run at the event loop's pace.
    pinned
        False takes any certificate: only for what proves itself, such as signed orders, which no certificate that was
        lost or changed may stop.
    plain
        Hosts and ports that speak no TLS: gateways, which may hear of orders, too.
    resolver
        Looks up names; the system's, where there is none.
    keeps_alive
        False closes each connection after its answer: thousands of nodes that are asked once would use up a process's
        files.

    Raises
    ------
    ValueError
        Plain addresses beside pinned ones.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        pinned: bool = True,
        plain: Set[tuple[str, int]] = frozenset(),
        resolver: AbstractResolver | None = None,
        keeps_alive: bool = True,
    ) -> None:
        if pinned and plain:
            raise ValueError("nothing that needs a certificate may go out in plain HTTP")
        self._clock = clock
        self._pinned = pinned
        self._plain = plain
        self._resolver = resolver
        self._keeps_alive = keeps_alive
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = ClientSession(
            connector=TCPConnector(
                limit=_MAX_CONNECTIONS,
                limit_per_host=_MAX_CONNECTIONS_A_PEER,
                keepalive_timeout=_IDLE_S if self._keeps_alive else None,
                force_close=not self._keeps_alive,
                resolver=self._resolver,
            ),
            timeout=ClientTimeout(total=None),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("accept", "accept-encoding", "user-agent"),
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def call(self, to: Endpoint, r: SignedRequest, *, deadline: UnixMillis) -> Response:
        """See `davy.protocol.ports.Transport.call`."""
        with _translated(to):
            async with asyncio.timeout(self._left(deadline)), self._request(to, r) as answer:
                return Response(answer.status, _headers(answer), await _whole(to, answer))

    def stream(
        self, to: Endpoint, r: SignedRequest, *, deadline: UnixMillis
    ) -> AbstractAsyncContextManager[IncomingStream]:
        """Send a request and read its answer frame by frame; leaving the context closes an unfinished stream.

        An answer that is no event stream, such as an error, is one frame: its whole body.

        Raises
        ------
        Unreachable
            As for `call`; while frames are read also when the stream broke off before its end, or had none in time.
        TooLarge
            A frame exceeds MAX_EVENT_BYTES, or all of them MAX_STREAM_BYTES.
        """
        return self._stream(to, r, deadline)

    @asynccontextmanager
    async def _stream(self, to: Endpoint, r: SignedRequest, deadline: UnixMillis) -> AsyncGenerator[IncomingStream]:
        end = asyncio.get_running_loop().time() + self._left(deadline)
        async with AsyncExitStack() as opened:
            with _translated(to):
                async with asyncio.timeout_at(end):
                    answer = await opened.enter_async_context(self._request(to, r))
                    if answer.content_type == "text/event-stream":
                        frames = _frames(to, answer, end)
                    else:
                        frames = body_as_frame(await _whole(to, answer))
            async with aclosing(frames):
                yield IncomingStream(answer.status, _headers(answer), frames)

    def _request(self, to: Endpoint, r: SignedRequest) -> AbstractAsyncContextManager[ClientResponse]:
        if self._session is None:
            raise RuntimeError("HttpTransport works while its context is open: async with HttpTransport(clock)")
        host = f"[{to.host}]" if ":" in to.host else to.host
        scheme = "http" if (to.host, to.port) in self._plain else "https"
        url = URL(f"{scheme}://{host}:{to.port}{r.path}", encoded=True)
        known = pin(to.fingerprint, to.next) if self._pinned else False
        return self._session.request(r.method, url, data=r.body, headers=r.headers, allow_redirects=False, ssl=known)

    def _left(self, deadline: UnixMillis) -> float:
        return max(0, deadline - self._clock.now()) / 1000


async def _whole(to: Endpoint, answer: ClientResponse) -> bytes:
    if (answer.content_length or 0) > MAX_RESPONSE_BYTES:
        raise _too_large(to)
    body = bytearray()
    while chunk := await answer.content.readany():
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            raise _too_large(to)
    return bytes(body)


async def _frames(to: Endpoint, answer: ClientResponse, end: float) -> AsyncGenerator[Frame]:
    if answer.headers.get("transfer-encoding", "").lower() != "chunked" and answer.content_length is None:
        raise Unreachable(f"{to.host}:{to.port} does not mark the end of its streams, so a cut could not be noticed")
    reader = FrameReader()
    while True:
        with _translated(to):
            async with asyncio.timeout_at(end):
                chunk = await answer.content.readany()
        if not chunk:
            break
        for frame in reader.feed(chunk):
            yield frame
    if not reader.is_between_frames:
        raise Unreachable(f"the stream of {to.host}:{to.port} broke off before its end")


def _too_large(to: Endpoint) -> TooLarge:
    return TooLarge(f"{to.host}:{to.port} answered with more than {MAX_RESPONSE_BYTES} bytes")


def _headers(answer: ClientResponse) -> tuple[tuple[str, str], ...]:
    return tuple((name.lower(), value) for name, value in answer.headers.items())


@contextmanager
def _translated(to: Endpoint) -> Generator[None]:
    """Let nothing of the library out: every failure to reach a peer is Unreachable."""
    where = f"{to.host}:{to.port}"
    try:
        yield
    except TimeoutError:
        raise Unreachable(f"{where} did not answer in time") from None
    except ServerFingerprintMismatch:
        raise Unreachable(f"{where} has another certificate than its serve record says; read the record anew") from None
    except ClientConnectorError as e:
        raise Unreachable(f"nobody answers at {where} ({told_of_client(e)})") from None
    except (ClientError, OSError, ValueError) as e:
        raise Unreachable(f"{where} cannot be asked: {told_of_client(e)}; try again") from None

"""A node's front door: HTTP/1.1 by uvicorn, over TLS 1.3 or plain, in front of a `Handler`.

No framework: the application below reads a bounded body in bounded time, asks the handler, and sends what it returns.
Whoever sends or reads too slowly, or too much, loses the connection; a client that leaves cancels its handler or pump
where it stands, in the connection's own task. What the handler raises becomes an answer (`error_responses`).

It runs on asyncio (uvloop where the loop is one), for uvicorn does.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from asyncio import TimerHandle, Transport
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple, cast

import anyio
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from davy.network.certificate import CertificateFiles
from davy.network.error_responses import answer, error_response, pump_to_end
from davy.network.events import STREAM_HEADERS
from davy.network.failures import told
from davy.network.openai import error_body
from davy.network.tls import server_context
from davy.protocol.errors import Misconfigured, TooLarge
from davy.protocol.limits import MAX_HEADER_BYTES, MAX_HEADERS, MAX_REQUEST_BYTES
from davy.protocol.ports import Frame, Handler, Response, SignedRequest, StreamReply

_Scope = dict[str, Any]
_Receive = Callable[[], Awaitable[dict[str, Any]]]
_Send = Callable[[dict[str, Any]], Awaitable[None]]

_MAX_MESSAGE_BYTES: Final = MAX_HEADER_BYTES + 8 * MAX_REQUEST_BYTES
"""Raw bytes of one request with its chunk marks and trailers: what is beyond all sense is cut off unread."""
_CLOSE: Final = ("connection", "close")

_log = logging.getLogger(__name__)


class ServerLimits(NamedTuple):
    """How patient a server is, in seconds, and with how many at once."""

    connections: int = 1_000
    handshake: float = 10
    head: float = 10
    """From a connection, or a request's first byte, to the end of its header."""
    body: float = 10
    write: float = 30
    """For a client to take what was sent."""
    idle: int = 75
    """Between two requests; longer than clients keep a connection, so that no request meets its end."""
    farewell: float = 2
    """For running requests to finish when the server stops."""


@asynccontextmanager
async def serve(
    handler: Handler,
    host: str,
    port: int,
    certificate: CertificateFiles | None,
    *,
    limits: ServerLimits | None = None,
) -> AsyncGenerator[int]:
    """Answer at an address while the context is open; yields the port.

    Parameters
    ----------
    port
        0 takes a free one.
    certificate
        None serves plain HTTP: for clients on this machine only.

    Raises
    ------
    Misconfigured
        The address cannot be listened on, or the certificate's files are not usable.
    """
    limits = limits or ServerLimits()
    context = server_context(certificate) if certificate else None
    config = Config(
        _Application(handler, limits),
        http=HttpToolsProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",  # what clients do wrong is not for our log; failures are logged below
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=limits.idle,
    )
    config.load()
    state = ServerState()
    listener = await _listen(lambda: _Connection(config, state, limits), host, port, context, limits)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        with anyio.CancelScope(shield=True):
            await _stop(listener, state, limits)


async def _listen(
    factory: Callable[[], asyncio.Protocol],
    host: str,
    port: int,
    context: ssl.SSLContext | None,
    limits: ServerLimits,
) -> asyncio.Server:
    if not host:  # which would be every address of this machine
        raise Misconfigured("cannot listen on a host without a name; write 127.0.0.1, or 0.0.0.0 for every address")
    if not 0 <= port <= 65_535:  # uvloop would take it modulo 65,536
        raise Misconfigured(f"cannot listen on {host}:{port}; a port is a number up to 65535")
    loop = asyncio.get_running_loop()
    patience = limits.handshake if context else None
    try:
        return await loop.create_server(
            factory, host, port, ssl=context, ssl_handshake_timeout=patience, ssl_shutdown_timeout=patience
        )
    except (OSError, UnicodeError) as e:
        reason = e.strerror if isinstance(e, OSError) and not isinstance(e, socket.gaierror) else told(e)
        raise Misconfigured(f"cannot listen on {host}:{port} ({reason}); choose another address or port") from None


async def _stop(listener: asyncio.Server, state: ServerState, limits: ServerLimits) -> None:
    listener.close()
    for connection in list(state.connections):
        connection.shutdown()
    if state.tasks:
        await asyncio.wait(list(state.tasks), timeout=limits.farewell)
    for connection in list(state.connections):
        with suppress(AttributeError):  # of CPython 3.11.2, where its TLS is gone already
            connection.transport.abort()
    if state.tasks:
        await asyncio.wait(list(state.tasks), timeout=limits.farewell)
    await asyncio.sleep(0)  # for the sockets to be closed


class _Connection(HttpToolsProtocol):
    """uvicorn's protocol and what it lacks: bounds on a request's bytes and time, a call when the client leaves."""

    def __init__(self, config: Config, state: ServerState, limits: ServerLimits) -> None:
        super().__init__(config, state, {"connection": self})
        self.leave: Callable[[], None] | None = None
        self._limits = limits
        self._message_bytes = 0
        self._head_timer: TimerHandle | None = None
        self._in_head = False

    def connection_made(self, transport: Transport) -> None:
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            transport.abort()
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        super().connection_lost(exc)
        if self.leave is not None:
            self.leave()

    def data_received(self, data: bytes) -> None:
        self._message_bytes += len(data)
        if self._message_bytes > _MAX_MESSAGE_BYTES:
            self.transport.abort()
            return
        super().data_received(data)
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if self._head_timer is None and (cycle is None or cycle.response_complete):
            self._await_head()

    def on_message_begin(self) -> None:
        self._message_bytes = 0
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_arrived()
        self.scope.setdefault("state", {})["target"] = self.url
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_head and self._head_timer is None:  # the next request had begun before this answer's end
            self._await_head()

    def send_400_response(self, msg: str) -> None:
        body = error_body("this is not HTTP/1.1; check the client", "invalid_request_error", "malformed")
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"x-should-retry: false\r\nconnection: close\r\n\r\n" + body)
        self.transport.close()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self._limits.head, self.transport.abort)

    def _head_arrived(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class _Application:
    """The ASGI application: one call a request, in a task of its own."""

    def __init__(self, handler: Handler, limits: ServerLimits) -> None:
        self._handler = handler
        self._limits = limits

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        connection: _Connection = scope["state"]["connection"]
        with anyio.CancelScope() as running:
            connection.leave = running.cancel
            out = _Answer(send, connection, self._limits.write)
            try:
                request = await self._read_in_time(scope, receive)
                if isinstance(request, Response):
                    await out.whole(request)
                elif request is not None:
                    await self._exchange(request, out)
            except Exception:
                _log.exception("an answer could not be sent")
        connection.leave = None  # uvicorn closes a connection whose answer was left unfinished: the client sees a cut

    async def _read_in_time(self, scope: _Scope, receive: _Receive) -> SignedRequest | Response | None:
        if not scope["state"]["connection"].cycle.more_body:
            return await _read(scope, receive)
        with anyio.move_on_after(self._limits.body):
            return await _read(scope, receive)
        message = error_body("the body did not arrive in time; send it again", "invalid_request_error", "slow")
        return Response(408, (("content-type", "application/json"), ("x-should-retry", "true"), _CLOSE), message)

    async def _exchange(self, request: SignedRequest, out: _Answer) -> None:
        reply = await answer(self._handler, request)
        if isinstance(reply, StreamReply):
            await out.begin(reply)
            if await pump_to_end(reply, out.frame):
                await out.end()
        else:
            await out.whole(reply)


class _Answer:
    """Sends an answer, each piece within the time a client has to take it."""

    def __init__(self, send: _Send, connection: _Connection, patience: float) -> None:
        self._send = send
        self._connection = connection
        self._patience = patience

    async def whole(self, response: Response) -> None:
        headers = (*response.headers, ("content-length", str(len(response.body))))
        await self._within({"type": "http.response.start", "status": response.status, "headers": _raw(headers)})
        await self._within({"type": "http.response.body", "body": response.body})

    async def begin(self, reply: StreamReply) -> None:
        headers = _raw((*STREAM_HEADERS, *reply.headers))
        await self._within({"type": "http.response.start", "status": reply.status, "headers": headers})

    async def frame(self, frame: Frame) -> None:
        await anyio.lowlevel.checkpoint_if_cancelled()  # where a client that left is noticed, even by a busy pump
        await self._within({"type": "http.response.body", "body": frame + b"\n\n", "more_body": True})
        await anyio.lowlevel.cancel_shielded_checkpoint()  # what was written is told as sent

    async def end(self) -> None:
        await self._within({"type": "http.response.body", "body": b""})

    async def _within(self, message: dict[str, Any]) -> None:
        if not self._connection.flow.write_paused:  # then it does not wait
            await self._send(message)
            return
        with anyio.move_on_after(self._patience) as waiting:
            await self._send(message)
        if waiting.cancelled_caught:
            self._connection.transport.abort()
            await anyio.sleep_forever()  # until connection_lost cancels this


async def _read(scope: _Scope, receive: _Receive) -> SignedRequest | Response | None:
    """Return the request, the answer that refuses it, or None when the client left."""
    fields: list[tuple[bytes, bytes]] = scope["headers"]
    target: bytes = scope["state"]["target"]
    if len(fields) > MAX_HEADERS or len(target) + sum(len(n) + len(v) for n, v in fields) > MAX_HEADER_BYTES:
        return _refusal(f"a request holds at most {MAX_HEADERS} header fields and {MAX_HEADER_BYTES} bytes of them")
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message["body"]
        if len(body) > MAX_REQUEST_BYTES:
            return _refusal(f"a request body holds at most {MAX_REQUEST_BYTES} bytes; send less")
        if not message["more_body"]:
            break
    headers = tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in fields)
    address = scope["client"][0] if scope["client"] else ""
    return SignedRequest(scope["method"], target.decode("latin-1"), headers, bytes(body), address)


def _refusal(message: str) -> Response:
    """The rest of the request stays unread, so the connection cannot be used again."""
    refused = error_response(TooLarge(message))
    return refused._replace(headers=(*refused.headers, _CLOSE))


def _raw(headers: tuple[tuple[str, str], ...]) -> list[tuple[bytes, bytes]]:
    return [(n.encode("latin-1"), v.encode("latin-1")) for n, v in headers]

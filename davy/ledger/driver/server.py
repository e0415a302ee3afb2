"""JSON-RPC over HTTP and WebSocket: bounded bodies and batches, errors as JSON-RPC says them, slow readers dropped.

``POST /`` takes a call or a batch; ``GET /status`` and the like are calls with parameters in the address;
``/websocket`` takes calls and ``subscribe``. Served by aiohttp, which a node has for its client.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, cast

import anyio
import msgspec
from aiohttp import WSMsgType, web
from aiohttp.http_exceptions import HttpProcessingError
from msgspec import Meta

from davy.ledger.driver.guests import Guests, origin, room
from davy.ledger.driver.methods import Methods, RpcCode, RpcFailed
from davy.ledger.driver.node import Node
from davy.ledger.driver.shapes import Json
from davy.ledger.driver.subscribers import Subscriber
from davy.network.failures import told
from davy.protocol.errors import Busy, Misconfigured
from davy.protocol.limits import MAX_RPC_BATCH, MAX_RPC_BODY_BYTES

_PATIENCE_S: Final = 10.0
"""For a body to arrive, and for a subscriber to answer a ping."""
_UNREAD_S: Final = 15.0
"""Within which whoever is sent something has to take some of it."""
_IDLE_S: Final = 10.0
"""Until a WebSocket has subscribed to something."""
_EVENTS: Final = {"tm.event='NewBlock'": "NewBlock", "tm.event='NewBlockHeader'": "NewBlockHeader"}
_MESSAGES: Final = {
    RpcCode.PARSE: "Parse error. Invalid JSON",
    RpcCode.INVALID_REQUEST: "Invalid Request",
    RpcCode.METHOD_NOT_FOUND: "Method not found",
    RpcCode.INVALID_PARAMS: "Invalid params",
    RpcCode.INTERNAL: "Internal error",
}


class _Call(msgspec.Struct, frozen=True):
    method: Annotated[str, Meta(max_length=64)]
    params: dict[str, Any] | list[Any] | None = None
    id: Annotated[str, Meta(max_length=256)] | int | None = None
    jsonrpc: str = "2.0"


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether what is logged failed here: whoever speaks no HTTP is told so, and could else fill the log."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_log = logging.getLogger(__name__)
_log.addFilter(_is_ours)


class RpcServer:
    """One ledger's front door."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._methods = Methods(node)
        self._conversations: set[anyio.CancelScope] = set()
        self._events: dict[str, tuple[int, msgspec.Raw]] = {}
        self.app = web.Application(client_max_size=MAX_RPC_BODY_BYTES)
        self.app.on_shutdown.append(self._hang_up)
        self.app.router.add_post("/", self._post)
        self.app.router.add_get("/websocket", self._websocket)
        self.app.router.add_get("/{method:[a-z_]{1,64}}", self._get)

    async def _post(self, request: web.Request) -> web.Response:
        if "content-encoding" in request.headers:
            return _json(_failure(None, RpcCode.INVALID_REQUEST, "send the body as it is, not encoded"), 415)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            said = f"a body holds at most {MAX_RPC_BODY_BYTES} bytes"
            return _json(_failure(None, RpcCode.INVALID_REQUEST, said), 400)
        except TimeoutError:
            return _json(_failure(None, RpcCode.INVALID_REQUEST, "the body did not arrive in time"), 408)
        except ConnectionResetError:
            return _json(_failure(None, RpcCode.INVALID_REQUEST, "the caller left before its body had arrived"), 400)
        return _json(await self.answer(body))

    async def answer(self, body: bytes) -> Json | list[Json]:
        """Answer a call or a batch; whatever is wrong with it is in the answer."""
        try:
            asked: object = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            return _failure(None, RpcCode.PARSE, str(e))
        if not isinstance(asked, list):
            return await self._call(asked)
        calls = cast("list[object]", asked)
        if not 0 < len(calls) <= MAX_RPC_BATCH:
            said = f"a batch holds 1 to {MAX_RPC_BATCH} calls, not {len(calls)}"
            return _failure(None, RpcCode.INVALID_REQUEST, said)
        answers: list[Json] = []
        for one in calls:
            answers.append(await self._call(one))
            await asyncio.sleep(0)  # others' calls, and blocks, come in between
        return answers

    async def _call(self, asked: object) -> Json:
        try:
            call = msgspec.convert(asked, _Call)
        except msgspec.ValidationError as e:
            return _failure(None, RpcCode.INVALID_REQUEST, str(e))
        try:
            return _success(call.id, await self._methods.call(call.method, call.params))
        except RpcFailed as e:
            return _failure(call.id, e.code, e.data)

    async def _get(self, request: web.Request) -> web.Response:
        params = {name: _from_address(value) for name, value in request.query.items()}
        if request.match_info["method"] == "broadcast_tx_sync":
            return _json(_failure(-1, RpcCode.INVALID_REQUEST, "hand in transactions by POST"))
        try:
            return _json(_success(-1, await self._methods.call(request.match_info["method"], params)))
        except RpcFailed as e:
            return _json(_failure(-1, e.code, e.data))

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        socket_ = web.WebSocketResponse(max_msg_size=MAX_RPC_BODY_BYTES, heartbeat=_PATIENCE_S)
        try:
            with self._node.subscribed(origin(request.remote)) as subscriber:
                await socket_.prepare(request)
                self._conversations.add(subscriber.scope)
                try:
                    with subscriber.scope:
                        await self._converse(socket_, subscriber)
                finally:
                    self._conversations.discard(subscriber.scope)
                if subscriber.scope.cancelled_caught and request.transport is not None:
                    request.transport.abort()  # a farewell would wait for it to read
        except Busy as e:
            return _json(_failure(None, RpcCode.INTERNAL, str(e)), 503)
        return socket_

    async def _hang_up(self, _: web.Application) -> None:
        for conversation in self._conversations:
            conversation.cancel()

    async def _converse(self, socket_: web.WebSocketResponse, subscriber: Subscriber) -> None:
        events: dict[str, _Call] = {}
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._tell, socket_, subscriber, events)
                tasks.start_soon(_end_the_idle, subscriber, events)
                async for message in socket_:
                    if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                        break
                    body: bytes = message.data.encode() if isinstance(message.data, str) else message.data
                    answer = self._subscribe(body, events) or await self.answer(body)
                    await socket_.send_str(msgspec.json.encode(answer).decode())
                tasks.cancel_scope.cancel()
        except* ConnectionError:
            pass  # it has hung up

    def _subscribe(self, body: bytes, events: dict[str, _Call]) -> Json | None:
        """Answer a (un)subscription; None for anything else."""
        try:
            call = msgspec.json.decode(body, type=_Call)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        if call.method == "unsubscribe_all":
            events.clear()
        elif call.method in ("subscribe", "unsubscribe"):
            query = _query_of(call)
            if query not in _EVENTS:
                return _failure(call.id, RpcCode.INVALID_PARAMS, f"the queries are: {', '.join(_EVENTS)}")
            if call.method == "subscribe":
                events[query] = call
            else:
                events.pop(query, None)
        else:
            return None
        return _success(call.id, {})

    async def _tell(self, socket_: web.WebSocketResponse, subscriber: Subscriber, events: dict[str, _Call]) -> None:
        async for height in subscriber.heights:
            for query, call in list(events.items()):
                told_of = msgspec.json.encode(_success(call.id, self._event(query, height)))
                await socket_.send_str(told_of.decode())

    def _event(self, query: str, height: int) -> msgspec.Raw:
        """What subscribers are told of a block; read and written once for all of them."""
        kept = self._events.get(query)
        if kept is None or kept[0] != height:
            show = self._methods.block if _EVENTS[query] == "NewBlock" else self._methods.header
            data = {"type": f"tendermint/event/{_EVENTS[query]}", "value": show(height)}
            result = {"query": query, "data": data, "events": {"tm.event": [_EVENTS[query]]}}
            kept = self._events[query] = height, msgspec.Raw(msgspec.json.encode(result))
        return kept[1]


@asynccontextmanager
async def listening(app: web.Application, host: str, port: int, *, places: int = 0) -> AsyncGenerator[str]:
    """Serve an application on a port (0: any free one) and give its address.

    Parameters
    ----------
    places
        For how many connections; 0: for as many as this process has room for (`guests`).

    Raises
    ------
    Misconfigured
        The port is taken, or the address is not this machine's.
    """
    runner = web.AppRunner(
        app, access_log=None, logger=_log, auto_decompress=False, shutdown_timeout=1.0, keepalive_timeout=75
    )
    await runner.setup()
    guests = Guests(runner.server, places or room())
    try:
        try:
            listener = await asyncio.get_running_loop().create_server(guests.protocol, host, port)
        except (OSError, UnicodeError) as e:
            raise Misconfigured(_why_not(e, host, port)) from None
        looking = asyncio.create_task(_drop_idle_readers(guests))
        try:
            bound: int = listener.sockets[0].getsockname()[1]
            yield f"http://{f'[{host}]' if ':' in host else host}:{bound}"
        finally:
            looking.cancel()
            listener.close()
    finally:
        await runner.cleanup()


async def _drop_idle_readers(guests: Guests) -> None:
    while True:
        await asyncio.sleep(_UNREAD_S)
        guests.drop_idle_readers()


def _why_not(e: OSError | UnicodeError, host: str, port: int) -> str:
    if isinstance(e, UnicodeError | socket.gaierror):
        return f"cannot listen on {host[:64]}:{port} ({told(e)}); name an address of this machine"
    if e.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken; stop what listens there or choose another with --port"
    if e.errno == errno.EACCES:
        return f"port {port} needs more rights than this user has; choose one above 1023 with --port"
    return f"cannot listen on {host}:{port} ({e.strerror}); name an address of this machine"


async def _end_the_idle(subscriber: Subscriber, events: dict[str, _Call]) -> None:
    """Hang up on who has subscribed to nothing for a while: it holds a place that others want."""
    while True:
        await anyio.sleep(_IDLE_S)
        if not events:
            subscriber.scope.cancel()


def _query_of(call: _Call) -> str:
    params = call.params
    value = params.get("query") if isinstance(params, dict) else params[0] if params else None
    return value.replace(" ", "") if isinstance(value, str) else ""


def _success(call_id: str | int | None, result: Json | msgspec.Raw) -> Json:
    return {"jsonrpc": "2.0", "id": call_id, "result": result}


def _failure(call_id: str | int | None, code: RpcCode, data: str) -> Json:
    error = {"code": int(code), "message": _MESSAGES[code], "data": data[:1_000]}
    return {"jsonrpc": "2.0", "id": call_id, "error": error}


def _json(answer: Json | list[Json], status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), status=status, content_type="application/json")


def _from_address(value: str) -> str | bool:
    """A parameter as CometBFT writes it into an address: text in quotation marks, true, false, numbers."""
    if value in ("true", "false"):
        return value == "true"
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value

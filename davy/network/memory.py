"""A network without sockets: HTTP's handlers and HTTP's promises, with loss, delay and partitions from a seed.

Time is the event loop's: virtual under a clock of trio's that jumps, real otherwise. The `Clock` handed in tells only
what a deadline means, so it must run at the loop's pace. Random numbers are drawn in the order of calls; with a
scheduler that is seeded too, the same seed gives the same history.

Loss is what a client of TCP sees: no answer until its deadline. One message is lost as a whole (a request before it is
handled, an answer after it was); frames of a stream are not lost one by one, a partition cuts it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from random import Random
from typing import Final, TypeAlias

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from davy.network.error_responses import answer, error_response, pump_to_end
from davy.network.events import STREAM_HEADERS, body_as_frame
from davy.protocol.errors import TooLarge, Unreachable
from davy.protocol.limits import MAX_EVENT_BYTES, MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, MAX_STREAM_BYTES
from davy.protocol.ports import Clock, Frame, Handler, IncomingStream, Response, SignedRequest, StreamReply, Transport
from davy.protocol.transaction import Endpoint
from davy.protocol.words import UnixMillis

Delay = Callable[[Random], float]
"""One way, in milliseconds, ≥ 0."""
Sleep = Callable[[float], Awaitable[None]]
_FRAMES_IN_FLIGHT: Final = 64
_Item: TypeAlias = tuple[float, Frame | None]
"""When it arrives, in the loop's seconds, and what: None is the end of a stream."""


def no_delay(_: Random) -> float:
    return 0.0


class MemoryNetwork:
    """Who can be reached, and how badly.

    Parameters
    ----------
    loss
        Probability, in [0, 1], that one message is lost.
    rng
        All randomness; nothing else draws from it.
    sleep
        Waits so many of the loop's seconds.
    """

    def __init__(self, clock: Clock, loss: float, delay: Delay, rng: Random, *, sleep: Sleep = anyio.sleep) -> None:
        self._clock = clock
        self._loss = loss
        self._delay = delay
        self._rng = rng
        self.sleep = sleep
        self._served: dict[tuple[str, int], tuple[bytes, Handler]] = {}
        self._cut: set[frozenset[str]] = set()

    def serve(self, endpoint: Endpoint, handler: Handler) -> None:
        """Let `handler` answer at an endpoint, under its fingerprint; replaces who answered there."""
        self._served[endpoint.host, endpoint.port] = (endpoint.fingerprint, handler)

    def stop(self, endpoint: Endpoint) -> None:
        """Nobody listens at this endpoint any more."""
        self._served.pop((endpoint.host, endpoint.port), None)

    def cut(self, a: str, b: str) -> None:
        """No message passes between these two hosts; streams between them break."""
        self._cut.add(frozenset((a, b)))

    def heal(self) -> None:
        """Undo every `cut`."""
        self._cut.clear()

    def transport(self, host: str = "client", *, pinned: bool = True) -> Transport:
        """Return the network as seen from a host: the name that `cut` takes."""
        return _MemoryTransport(self, host, pinned)

    def reach(self, host: str, to: Endpoint, *, pinned: bool = True) -> Handler:
        """Return who answers at an endpoint.

        Raises
        ------
        Unreachable
            Nobody listens there, under this fingerprint, or a cut lies between.
        """
        served = self._served.get((to.host, to.port))
        if served is None or self.is_cut(host, to):
            raise Unreachable(f"nobody answers at {to.host}:{to.port}")
        if pinned and served[0] not in (to.fingerprint, to.next):
            raise Unreachable(f"{to.host}:{to.port} has another certificate than its serve record says")
        return served[1]

    def is_cut(self, host: str, to: Endpoint) -> bool:
        return frozenset((host, to.host)) in self._cut

    def is_lost(self) -> bool:
        return self._loss > 0 and self._rng.random() < self._loss

    def draw_delay(self) -> float:
        """One way, in seconds."""
        return self._delay(self._rng) / 1000

    def seconds_until(self, deadline: UnixMillis) -> float:
        return max(0, deadline - self._clock.now()) / 1000


class _MemoryTransport:
    def __init__(self, network: MemoryNetwork, host: str, pinned: bool) -> None:
        self._network = network
        self._host = host
        self._pinned = pinned

    async def call(self, to: Endpoint, r: SignedRequest, *, deadline: UnixMillis) -> Response:
        with anyio.move_on_after(self._network.seconds_until(deadline)):
            reply = await self._ask(to, r)
            if isinstance(reply, StreamReply):
                reply = Response(reply.status, (*STREAM_HEADERS, *reply.headers), await _gathered(reply))
            await self._carry(to)
            if len(reply.body) > MAX_RESPONSE_BYTES:
                raise TooLarge(f"{to.host}:{to.port} answered with more than {MAX_RESPONSE_BYTES} bytes")
            return reply
        raise Unreachable(f"{to.host}:{to.port} did not answer in time")

    def stream(
        self, to: Endpoint, r: SignedRequest, *, deadline: UnixMillis
    ) -> AbstractAsyncContextManager[IncomingStream]:
        return self._stream(to, r, anyio.current_time() + self._network.seconds_until(deadline))

    @asynccontextmanager
    async def _stream(self, to: Endpoint, r: SignedRequest, end: float) -> AsyncGenerator[IncomingStream]:
        reply: Response | StreamReply | None = None
        with anyio.move_on_after(end - anyio.current_time()):
            reply = await self._ask(to, r)
            await self._carry(to)
        if reply is None:
            raise Unreachable(f"{to.host}:{to.port} did not answer in time")
        if isinstance(reply, Response):
            if len(reply.body) > MAX_RESPONSE_BYTES:
                raise TooLarge(f"{to.host}:{to.port} answered with more than {MAX_RESPONSE_BYTES} bytes")
            async with aclosing(body_as_frame(reply.body)) as frames:
                yield IncomingStream(reply.status, reply.headers, frames)
            return
        failure: Exception | None = None
        send, receive = anyio.create_memory_object_stream[_Item](_FRAMES_IN_FLIGHT + 1)
        room = anyio.Semaphore(_FRAMES_IN_FLIGHT)
        async with anyio.create_task_group() as pumping, send, receive:
            pumping.start_soon(self._pump, to, reply, send.clone(), room)
            send.close()
            try:
                async with aclosing(self._frames(to, receive, end, room)) as frames:
                    yield IncomingStream(reply.status, (*STREAM_HEADERS, *reply.headers), frames)
            except Exception as e:  # raised below: a task group would wrap it in an ExceptionGroup
                failure = e
            pumping.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _ask(self, to: Endpoint, r: SignedRequest) -> Response | StreamReply:
        handler = self._network.reach(self._host, to, pinned=self._pinned)
        await self._carry(to)
        if len(r.body) > MAX_REQUEST_BYTES:
            return error_response(TooLarge(f"a request body holds at most {MAX_REQUEST_BYTES} bytes; send less"))
        return await answer(handler, r._replace(address=self._host))

    async def _carry(self, to: Endpoint) -> None:
        """One message, one way."""
        if self._network.is_lost():
            await anyio.sleep_forever()
        await self._network.sleep(self._network.draw_delay())
        if self._network.is_cut(self._host, to):
            raise Unreachable(f"nobody answers at {to.host}:{to.port}")

    async def _pump(
        self, to: Endpoint, reply: StreamReply, out: MemoryObjectSendStream[_Item], room: anyio.Semaphore
    ) -> None:
        arrives = 0.0
        delay = self._network.draw_delay()

        async def send(frame: Frame) -> None:
            nonlocal arrives
            if self._network.is_cut(self._host, to):
                connection.cancel()
            await room.acquire()
            arrives = max(arrives, anyio.current_time() + delay)
            out.send_nowait((arrives, frame))

        with out, anyio.CancelScope() as connection:
            if await pump_to_end(reply, send):
                out.send_nowait((arrives, None))

    async def _frames(
        self, to: Endpoint, receive: MemoryObjectReceiveStream[_Item], end: float, room: anyio.Semaphore
    ) -> AsyncGenerator[Frame]:
        size = 0
        while True:
            item = None
            with anyio.move_on_after(end - anyio.current_time()):
                try:
                    item = await receive.receive()
                    room.release()
                    await self._network.sleep(max(0, item[0] - anyio.current_time()))
                except anyio.EndOfStream:
                    raise Unreachable(f"the stream of {to.host}:{to.port} broke off before its end") from None
            if item is None or anyio.current_time() > end:
                raise Unreachable(f"the stream of {to.host}:{to.port} did not end in time")
            frame = item[1]
            if frame is None:
                return
            size += len(frame)
            if len(frame) > MAX_EVENT_BYTES or size > MAX_STREAM_BYTES:
                raise TooLarge(f"{to.host}:{to.port} sent a larger stream than is read")
            yield frame


async def _gathered(reply: StreamReply) -> bytes:
    """What a client reads that asks for a whole answer and gets a stream."""
    body = bytearray()

    async def send(frame: Frame) -> None:
        if len(body) <= MAX_RESPONSE_BYTES:
            body.extend(frame + b"\n\n")

    if not await pump_to_end(reply, send):
        raise Unreachable("the answer broke off before its end")
    return bytes(body)

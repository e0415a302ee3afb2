"""A client that signs what it sends, and signs anew, once, when a node cannot prove that a request is new.

That happens after the node's restart (`davy.network.freshness`): it answers 409 ``retry_fresh`` and says how long to
wait. The second request has a nonce and an id of its own; receipts name the one that was answered, which is returned.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import NamedTuple

from davy.network.error_responses import response_error
from davy.network.events import body_as_frame
from davy.network.freshness import RetryFresh
from davy.network.signed import sign_request
from davy.protocol.limits import NONCE_BYTES
from davy.protocol.ports import Clock, Entropy, IncomingStream, KeyStore, Response, SignedRequest, Transport
from davy.protocol.receipt import Anchor
from davy.protocol.transaction import Endpoint
from davy.protocol.words import ChainId, Digest, Hotkey, UnixMillis


class Question(NamedTuple):
    """What to ask whom, before it is signed."""

    to: Endpoint
    recipient: Hotkey
    path: str
    body: bytes
    anchor: Anchor
    brake_head: Digest
    method: str = "POST"


class Answered(NamedTuple):
    """A whole answer and the request it answers."""

    sent: SignedRequest
    response: Response


class AnsweredStream(NamedTuple):
    """A stream and the request it answers."""

    sent: SignedRequest
    incoming: IncomingStream


class SignedClient:
    """Asks nodes under one hotkey."""

    def __init__(self, keys: KeyStore, chain: ChainId, transport: Transport, clock: Clock, entropy: Entropy) -> None:
        self._keys = keys
        self._chain = chain
        self._transport = transport
        self._clock = clock
        self._entropy = entropy

    async def call(self, q: Question, *, deadline: UnixMillis) -> Answered:
        """Ask and read the whole answer, whatever its status (`response_error` turns one into an exception).

        Raises
        ------
        Unreachable, TooLarge
            See `davy.protocol.ports.Transport.call`.
        """
        sent = self._sign(q)
        response = await self._transport.call(q.to, sent, deadline=deadline)
        if await self._may_retry(response, deadline):
            sent = self._sign(q)
            response = await self._transport.call(q.to, sent, deadline=deadline)
        return Answered(sent, response)

    def stream(self, q: Question, *, deadline: UnixMillis) -> AbstractAsyncContextManager[AnsweredStream]:
        """Ask and read the answer frame by frame; an error is one frame, its whole body.

        Raises
        ------
        Unreachable, TooLarge
            See `davy.protocol.ports.Transport.stream`; also while frames are read.
        """
        return self._stream(q, deadline)

    @asynccontextmanager
    async def _stream(self, q: Question, deadline: UnixMillis) -> AsyncGenerator[AnsweredStream]:
        sent = self._sign(q)
        async with self._transport.stream(q.to, sent, deadline=deadline) as incoming:
            if incoming.status != 409:
                yield AnsweredStream(sent, incoming)
                return
            body = b"".join([frame async for frame in incoming.frames])
        if not await self._may_retry(Response(incoming.status, incoming.headers, body), deadline):
            async with aclosing(body_as_frame(body)) as frames:
                yield AnsweredStream(sent, incoming._replace(frames=frames))
            return
        sent = self._sign(q)
        async with self._transport.stream(q.to, sent, deadline=deadline) as incoming:
            yield AnsweredStream(sent, incoming)

    def _sign(self, q: Question) -> SignedRequest:
        return sign_request(
            self._keys,
            method=q.method,
            path=q.path,
            body=q.body,
            recipient=q.recipient,
            chain=self._chain,
            anchor=q.anchor,
            brake_head=q.brake_head,
            created=self._clock.now(),
            nonce=self._entropy.bytes(NONCE_BYTES),
        )

    async def _may_retry(self, response: Response, deadline: UnixMillis) -> bool:
        """Whether a fresh signature can help before the deadline; waits as long as the node asked for."""
        if response.status != 409:
            return False
        error = response_error(response)
        if not isinstance(error, RetryFresh) or (at := self._clock.now() + error.wait_ms) >= deadline:
            return False
        await self._clock.sleep_until(at)
        return True

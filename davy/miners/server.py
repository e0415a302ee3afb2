"""What a miner does with a request: signature, anchor, admission, the model, and a receipt for every answer.

======================  ==================================================================================
``GET /health``         unsigned: is it serving, which model, up to which block has it seen the chain
``GET /v1/models``      unsigned: the model it serves
``POST /v1/completions``  signed (`davy.network.signed`); whole or as server-sent events
======================  ==================================================================================

The guard is asked before an answer, at its turn, and before each token. What is halted is answered with 451 and the
signed order; a stream that a halt meets ends with an error event and a receipt that says so.

The handler knows nothing of HTTP: the same object serves sockets and simulations. A whole answer carries its receipt
in the header ``davy-receipt``; a stream in a comment after the last event, before ``[DONE]``, where OpenAI's clients
stop reading.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final, NamedTuple

import anyio
import msgspec

from davy.killswitch.guard import Guard
from davy.killswitch.running import Running
from davy.miners.admission import NOBODY, Admission, Crowded
from davy.miners.answer import Answer
from davy.miners.backend import Backend, Piece, Tally
from davy.miners.chain_view import ChainView
from davy.miners.serving import Serving
from davy.network.error_responses import error_response, internal_error
from davy.network.events import DONE, data_frame
from davy.network.openai import CompletionRequest, ModelCard, ModelList, error_body, parse_request, to_json
from davy.network.receipts import Served, StreamDigest, make_receipt, receipt_frame, receipt_header, response_digest
from davy.network.signed import Caller, RequestVerifier
from davy.protocol.errors import Busy, DavyError, ModelHalted, Refused, TooLarge, Unreachable
from davy.protocol.limits import MAX_RESPONSE_BYTES
from davy.protocol.ports import Clock, Entropy, KeyStore, Response, SendFrame, SignedRequest, StreamReply
from davy.protocol.receipt import EMPTY_BRAKE_HEAD, Outcome
from davy.protocol.words import ChainId, Digest, KeyRole

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 300.0
"""No answer takes longer, its time in the queue included."""
JSON: Final = ("content-type", "application/json")


class Job(NamedTuple):
    """An accepted request whose generation has not begun."""

    caller: Caller
    body: bytes
    request: CompletionRequest
    serving: Serving
    running: Running
    generation: AbstractAsyncContextManager[AsyncIterator[Piece | Tally]]
    answer: Answer


class NotFound(Refused):
    """Nothing here has that name or path."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class ClientGone(Exception):
    """The connection took no more frames."""


class MinerHandler:
    """A miner's side of the wire (`davy.protocol.ports.Handler`).

    Parameters
    ----------
    guard
        Asked about `serving.subjects`, which the node keeps up to date.
    backend
        The model served first; `swap` changes it.
    heard
        Told of each caller's brake head (`davy.network.brake_peers.BrakePeers.heard`).
    """

    def __init__(
        self,
        *,
        keys: KeyStore,
        chain: ChainId,
        verifier: RequestVerifier,
        clock: Clock,
        entropy: Entropy,
        view: ChainView,
        admission: Admission,
        guard: Guard,
        backend: Backend,
        heard: Callable[[Digest], None] = lambda _: None,
    ) -> None:
        self._keys = keys
        self._chain = chain
        self._verifier = verifier
        self._clock = clock
        self._entropy = entropy
        self._view = view
        self._admission = admission
        self._guard = guard
        self._heard = heard
        self._started = clock.now() // 1000
        self._stopping = False
        self._interrupted = False
        self.serving = Serving(backend)
        self._routes = {
            ("GET", "/health"): self._health,
            ("GET", "/v1/models"): self._models,
            ("POST", "/v1/completions"): self._completions,
        }

    async def handle(self, request: SignedRequest) -> Response | StreamReply:
        """Answer one request; never raises on account of what it holds."""
        return await self.answer(request, signed=True)

    async def answer(self, request: SignedRequest, *, signed: bool) -> Response | StreamReply:
        """Answer one request; `signed` false takes one that carries no signature, too (`Unsigned`)."""
        route = self._routes.get((request.method, request.path))
        try:
            if route is None:
                raise NotFound(f"there is no {request.method} {request.path[:64]}; POST /v1/completions", "not_found")
            return await route(request, signed)
        except Exception as e:
            return _told(e)

    def swap(self, new: Serving) -> Serving:
        """Answer from another model from now on; return the old one, whose running answers still end by themselves."""
        old, self.serving = self.serving, new
        return old

    def refuse(self) -> None:
        """Take no new requests; what runs goes on."""
        self._stopping = True

    def interrupt(self) -> None:
        """End what runs, within one token: streams get an error event and a receipt that says cancelled."""
        self._stopping = self._interrupted = True

    async def _health(self, _: SignedRequest, signed: bool) -> Response:
        status, code = ("stopping", 503) if self._stopping else ("ok", 200)
        try:
            self._view.anchor(self._clock.now())
            self._permit(self.serving)
        except DavyError as e:
            status, code = str(e), 503
        serving, head = self.serving, self._view.head
        body = {
            "status": status,
            "model": serving.model_id.hex(),
            "name": serving.manifest.name,
            "identity": serving.identity.value,
            "height": 0 if head is None else head.height,
            "brake": self._guard.head.hex(),
            "answering": serving.active,
        }
        return Response(code, (JSON,), msgspec.json.encode(body))

    async def _models(self, _: SignedRequest, signed: bool) -> Response:
        serving = self.serving
        owner = self._keys.public(KeyRole.HOTKEY).hex()
        card = ModelCard(serving.model_id.hex(), self._started, owner, serving.manifest.name)
        return Response(200, (JSON,), to_json(ModelList([card])))

    async def _completions(self, request: SignedRequest, signed: bool) -> Response | StreamReply:
        job = await self._accept(request, signed)
        headers = (("x-request-id", job.caller.request_id.hex()),)
        if not job.request.stream:
            return await self._whole(job, headers)

        async def pump(send: SendFrame) -> None:
            await self._stream(job, send)

        return StreamReply(200, headers, pump)

    async def _accept(self, request: SignedRequest, signed: bool) -> Job:
        """Everything that can refuse a request, cheapest first; holds nothing yet."""
        if self._stopping:
            raise Busy("this miner is stopping; ask another one")
        now = self._clock.now()
        if not signed and not any(name == "signature" for name, _ in request.headers):
            caller = Caller(NOBODY, self._entropy.bytes(32), self._view.anchor(now), EMPTY_BRAKE_HEAD, now)
        else:
            access = self.serving.access
            admits = partial(self._admission.authorise, access=access)
            caller = await self._verifier.verify(request, admits=admits)
            self._heard(caller.brake_head)
        serving = self.serving
        self._admission.authorise(caller.hotkey, serving.access)  # the model may have been changed meanwhile
        self._permit(serving)
        self._view.check(caller.anchor, now)
        asked = parse_request(request.body)
        if asked.model not in (serving.model_id.hex(), serving.manifest.name):
            raise NotFound(
                f"this miner serves {serving.manifest.name} ({serving.model_id.hex()}), not '{asked.model}'; "
                "GET /v1/models lists it",
                "model_not_found",
            )
        self._admission.spend(caller.hotkey)
        if asked.seed is None:
            # From the request itself, so that every answer can be made again from its request.
            asked = msgspec.structs.replace(asked, seed=int.from_bytes(caller.request_id[:8]) >> 1)
        running = self._guard.running(*serving.subjects, now=lambda: serving.subjects)
        generation = serving.generate(caller.hotkey, asked, lambda: self._interrupted or running.stopped())
        name = f"cmpl-{caller.request_id.hex()[:32]}"
        answer = Answer(asked, id=name, created=now // 1000, model=serving.model_id.hex())
        return Job(caller, request.body, asked, serving, running, generation, answer)

    def _permit(self, serving: Serving) -> None:
        if not serving.subjects:
            raise Busy("the ledger does not yet know this miner and its model; ask again in a moment")
        for subject in serving.subjects:
            self._guard.permit(subject)

    async def _generate(self, job: Job, show: Callable[[Piece], Awaitable[None]]) -> None:
        """Run a job's generation in a place of its own, and show its pieces as they come."""
        with anyio.move_on_after(ANSWER_SECONDS) as limit:
            async with job.running, self._admission.place():
                with job.serving.use():
                    async with job.generation as items:
                        async for item in items:
                            for piece in job.answer.take(item):
                                await show(piece)
                            if job.answer.is_stopped:
                                break
                        # What was held back for a stop sequence is an answer as well: a halt ends it, too.
                        for piece in job.answer.rest():
                            await show(piece)
        if limit.cancelled_caught:
            raise Unreachable(f"the answer was not finished within {ANSWER_SECONDS:g} s; ask for fewer tokens")
        if self._interrupted and not job.answer.is_whole:
            raise Busy("this miner was stopped while it answered; ask another one")

    async def _whole(self, job: Job, headers: tuple[tuple[str, str], ...]) -> Response:
        pieces: list[Piece] = []

        async def keep(piece: Piece) -> None:
            pieces.append(piece)

        await self._generate(job, keep)
        body = to_json(job.answer.whole(pieces))
        if len(body) > MAX_RESPONSE_BYTES:
            raise TooLarge(f"the answer has {len(body)} bytes, above {MAX_RESPONSE_BYTES}: ask for less, or stream")
        receipt = self._receipt(job, response_digest(body), Outcome.DONE)
        return Response(200, (JSON, *headers, receipt_header(receipt)), body)

    async def _stream(self, job: Job, send: SendFrame) -> None:
        said = StreamDigest()

        async def frame(data: bytes) -> None:
            try:
                await send(data)
            except Exception as e:
                raise ClientGone from e
            said.add(data)  # a send that a halt cancelled sent nothing

        async def show(piece: Piece) -> None:
            await frame(data_frame(to_json(job.answer.chunk(piece))))

        outcome = Outcome.DONE
        try:
            try:
                await self._generate(job, show)
                for chunk in job.answer.last_chunks():
                    await frame(data_frame(to_json(chunk)))
            except ClientGone:
                raise
            except Exception as e:
                outcome = Outcome.HALTED if isinstance(e, ModelHalted) else Outcome.CANCELLED
                await frame(data_frame(_told(e).body))
            await frame(receipt_frame(self._receipt(job, said.value(), outcome)))
            await frame(data_frame(DONE))
        except ClientGone:
            log.info("the caller of %s went away", job.caller.request_id.hex()[:16])

    def _receipt(self, job: Job, response_body: bytes, outcome: Outcome) -> bytes:
        usage = job.answer.usage
        served = Served(
            response_body=response_body,
            model_id=job.serving.model_id,
            identity=job.serving.identity,
            brake_head=self._guard.head,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            outcome=outcome,
            created=self._clock.now(),
        )
        return make_receipt(self._keys, self._chain, job.caller, job.body, served)


class Unsigned:
    """A second door to a miner, for its own machine only: OpenAI's clients may ask there without signing.

    The receipts name a caller of 32 zero bytes; admission still counts places, and rates by that caller.
    """

    def __init__(self, miner: MinerHandler) -> None:
        self._miner = miner

    async def handle(self, request: SignedRequest) -> Response | StreamReply:
        return await self._miner.answer(request, signed=False)


def _told(e: Exception) -> Response:
    """Return the answer that tells a caller of an error."""
    if isinstance(e, NotFound):
        body = error_body(str(e), "invalid_request_error", e.code)
        return Response(404, (JSON, ("x-should-retry", "false")), body)
    if not isinstance(e, DavyError):
        log.error("an answer failed", exc_info=e)
        return internal_error()
    told = error_response(e)
    if not isinstance(e, Crowded):
        return told
    kept = tuple((name, value) for name, value in told.headers if name != "retry-after")
    seconds = -(-e.retry_after_ms // 1000)
    wait = (("retry-after-ms", str(e.retry_after_ms)), ("retry-after", str(seconds)))
    return Response(told.status, (*kept, *wait), told.body)

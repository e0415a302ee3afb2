"""Asks one miner after another until the first byte of an answer, and passes that answer on.

A whole answer is asked for where its user waits. A stream is asked for by a task of its own, which hands frames over
one at a time: so a slow user holds one frame and not the answer, one who leaves ends the task and with it the miner's
work, and the brake's scope lies in the task that reads, never around a `yield`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectSendStream

from davy.gateway.directory import Directory, NotReady, Place
from davy.gateway.guarding import Permission
from davy.gateway.passing import Begun, Item, Passing
from davy.gateway.routing import NEW, Candidate, Health, answered, asked, crowded, failed, left, order
from davy.gateway.sampling import Sample, can_be_scored
from davy.gateway.wish import MINER_HEADER, Wish, request_for, sent_header, shown
from davy.network.error_responses import response_error
from davy.network.exchange import Exchange
from davy.network.openai import CompletionRequest, parse_response, to_json
from davy.network.receipts import check_receipt, receipt_header, receipt_of, response_digest
from davy.network.signed_client import Question, SignedClient
from davy.protocol.errors import BadAnswer, Busy, DavyError, Malformed, ModelHalted, TooLarge, Unauthorised, Unreachable
from davy.protocol.limits import MAX_REQUEST_BYTES
from davy.protocol.ports import Clock, Response, SendFrame, SignedRequest, StreamReply
from davy.protocol.receipt import Outcome
from davy.protocol.words import Digest, Hotkey
from davy.tasks.shape import Shapes

_log = logging.getLogger(__name__)

JSON = ("content-type", "application/json")


class Patience(NamedTuple):
    """With how many miners, and for how long with each."""

    attempts: int = 3
    first_byte_s: float = 20.0
    """For a stream to begin; after that another miner is asked."""
    whole_s: float = 60.0
    """For a whole answer."""
    answer_s: float = 300.0
    """For a stream to end, and for a user to take it."""


class Means(NamedTuple):
    """What a relay works with."""

    client: SignedClient
    clock: Clock
    directory: Directory
    guard: Permission
    rng: random.Random
    shapes: Shapes
    sample: Sample
    pinned: frozenset[str] = frozenset({"text"})
    """Tasks whose subnets pin a tokenizer: there miners name tokens by id."""


class Declined(Exception):
    """A miner answered with an error."""

    def __init__(self, error: DavyError) -> None:
        super().__init__(str(error))
        self.error = error


class BrokenOff(Declined):
    """A miner ended its answer early and signed for what it gave."""

    def __init__(self, error: DavyError, receipt: bytes) -> None:
        super().__init__(error)
        self.receipt = receipt


class Asked(NamedTuple):
    """One miner and what is sent to it."""

    place: Place
    wish: Wish
    request: CompletionRequest
    question: Question


class Relay:
    """See the head of this file. One a gateway: it remembers each miner's health."""

    def __init__(self, means: Means, patience: Patience) -> None:
        self._client, self._clock, self._rng = means.client, means.clock, means.rng
        self._directory, self._guard, self._pinned = means.directory, means.guard, means.pinned
        self._shapes, self._sample = means.shapes, means.sample
        self._patience = patience
        self._health: dict[Hotkey, Health] = {}

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """Whom to ask, in order, among those that are not halted.

        Raises
        ------
        ModelHalted, Busy
            None of them is permitted.
        """
        free: dict[Hotkey, Place] = {}
        refused: ModelHalted | Busy | None = None
        for p in places:
            try:
                self._guard.permit(p)
                known = free.get(p.neuron.hotkey)
                if known is None or p.neuron.incentive > known.neuron.incentive:
                    free[p.neuron.hotkey] = p
            except (ModelHalted, Busy) as e:
                refused = e
        if not free and refused is not None:
            raise refused
        candidates = [Candidate(h, p.neuron.incentive, self._health.get(h, NEW)) for h, p in free.items()]
        drawn = order(candidates, self._clock.now(), self._rng)
        return [free[c.hotkey] for c in drawn[: self._patience.attempts]]

    async def whole(self, wish: Wish, places: Sequence[Place]) -> Response:
        """Answer in one piece.

        Raises
        ------
        Malformed, TooLarge
            The miners asked said so of the request.
        Busy, NotReady
            Nobody answered.
        ModelHalted
        """
        refusals: list[DavyError] = []
        for place in self.choose(places):
            a = self._asked(place, wish)
            with self._at_work(place.neuron.hotkey) as work:
                try:
                    async with self._guard.running(place):
                        return await self._whole_of(a)
                except (Declined, DavyError) as e:
                    refusals.append(work.note(await self._heard(place, e)))
        raise why_nobody(refusals)

    async def stream(
        self, wish: Wish, places: Sequence[Place], tasks: TaskGroup, done: Callable[[], None]
    ) -> StreamReply:
        """Answer as a stream that has begun; raises what `whole` raises. `done` is called once, whatever happens."""
        to_user, from_miner = anyio.create_memory_object_stream[Item](0)
        scope = anyio.CancelScope(deadline=anyio.current_time() + self._patience.answer_s)

        async def run() -> None:
            try:
                with to_user, from_miner, scope:
                    await self._stream(wish, places, to_user)
            finally:
                done()

        tasks.start_soon(run)
        try:
            first = await from_miner.receive()
        except anyio.EndOfStream:
            raise NotReady("no miner began to answer in time; ask again later") from None
        except BaseException:
            scope.cancel()
            raise
        if isinstance(first, DavyError):
            raise first
        headers = first.headers if isinstance(first, Begun) else ()

        async def pump(send: SendFrame) -> None:
            try:
                while isinstance(item := await from_miner.receive(), bytes):
                    await send(item)
                if isinstance(item, DavyError):
                    raise item
            except (anyio.EndOfStream, anyio.ClosedResourceError):
                raise Unreachable("the answer was not finished in time") from None
            finally:
                scope.cancel()

        return StreamReply(200, headers, pump)

    async def _whole_of(self, a: Asked) -> Response:
        began = anyio.current_time()
        sent, answer = await self._client.call(
            a.question, deadline=self._clock.now() + int(self._patience.whole_s * 1000)
        )
        if answer.status != 200:
            raise Declined(response_error(answer))
        response = parse_response(answer.body)
        if not response.choices:
            raise BadAnswer("the miner's answer holds nothing")
        receipt, outcome = self._signed(a.place, sent, receipt_of(answer), response_digest(answer.body))
        _check_done(outcome)
        self._answered(a.place.neuron.hotkey, anyio.current_time() - began)
        if can_be_scored(a.request):
            exchange = Exchange(1, a.question.body, False, (answer.body,), receipt)
            self._sample.take(a.place.neuron.hotkey, exchange)
        body = answer.body if a.wish.proof else to_json(shown(response, a.wish.asked))
        return Response(200, (JSON, *self._headers(a), receipt_header(receipt)), body)

    async def _stream(self, wish: Wish, places: Sequence[Place], out: MemoryObjectSendStream[Item]) -> None:
        refusals: list[DavyError] = []
        try:
            for place in self.choose(places):
                a = self._asked(place, wish)
                passing = Passing(wish, self._headers(a), out)
                with self._at_work(place.neuron.hotkey) as work:
                    try:
                        await self._stream_of(a, passing)
                        return
                    except (Declined, DavyError) as e:
                        told = work.note(await self._heard(place, e))
                        if passing.begun:
                            await passing.break_off(told, e.receipt if isinstance(e, BrokenOff) else None)
                            return
                        refusals.append(told)
            await out.send(why_nobody(refusals))
        except DavyError as e:
            await out.send(e)
        except Exception:
            _log.exception("a stream failed")
            await out.send(NotReady("this gateway failed; ask again"))

    async def _stream_of(self, a: Asked, passing: Passing) -> None:
        began = first_byte = anyio.current_time()
        deadline = self._clock.now() + int(self._patience.answer_s * 1000)
        signed: bytes | None = None
        with anyio.move_on_after(self._patience.first_byte_s) as waiting:
            async with (
                self._guard.running(a.place),
                self._client.stream(a.question, deadline=deadline) as (sent, incoming),
            ):
                if incoming.status != 200:
                    body = b"".join([frame async for frame in incoming.frames])
                    raise Declined(response_error(Response(incoming.status, incoming.headers, body)))
                async for frame in incoming.frames:
                    await passing.take(frame)
                    if passing.error is not None and not passing.begun:
                        raise Declined(passing.error)
                    if passing.begun and waiting.deadline != float("inf"):
                        waiting.deadline = float("inf")
                        first_byte = anyio.current_time()
                    if passing.ended:
                        break
                if not (passing.begun and passing.ended):
                    raise BadAnswer("the miner's stream held nothing, or broke off")
                signed, outcome = self._signed(a.place, sent, passing.receipt, passing.digest)
                if passing.error is not None:
                    raise BrokenOff(passing.error, signed)
                _check_done(outcome)
        if signed is None:
            raise Unreachable("the miner did not begin to answer in time")
        self._answered(a.place.neuron.hotkey, first_byte - began)
        if can_be_scored(a.request):
            exchange = Exchange(1, a.question.body, True, tuple(passing.payloads), signed)
            self._sample.take(a.place.neuron.hotkey, exchange)
        await passing.end(signed)

    def _answered(self, miner: Hotkey, first_byte_s: float) -> None:
        """Note that a miner answered to the end and signed for it, and when its first byte came."""
        self._health[miner] = answered(self._health.get(miner, NEW), first_byte_s * 1000)

    def _asked(self, place: Place, wish: Wish) -> Asked:
        request = request_for(wish, place.model_id, token_ids=place.task in self._pinned)
        body = to_json(request)
        if len(body) > MAX_REQUEST_BYTES:
            raise TooLarge(f"a request holds at most {MAX_REQUEST_BYTES} bytes; shorten the prompt")
        self._shapes.observe(request)
        anchor = self._directory.anchor(self._clock.now())
        n = place.neuron
        q = Question(n.endpoint[0], n.hotkey, "/v1/completions", body, anchor, self._guard.head)
        return Asked(place, wish, request, q)

    def _signed(self, place: Place, sent: SignedRequest, receipt: bytes | None, body: Digest) -> tuple[bytes, Outcome]:
        """Return an answer's receipt if its miner signed for this request, this answer and the model asked for.

        Raises
        ------
        Refused
            It did not.
        """
        if receipt is None:
            raise BadAnswer("the miner gave no receipt")
        said = check_receipt(receipt, sent=sent, miner=place.neuron.hotkey, response_body=body)
        if said.model_id != place.model_id:
            raise BadAnswer("the miner's receipt is for another model")
        self._guard.noted(place, said.brake_head)
        return receipt, said.outcome

    async def _heard(self, place: Place, e: Declined | DavyError) -> Declined | DavyError:
        """What a miner says of a halt counts by what the guard makes of it."""
        if isinstance(e, Declined) and isinstance(e.error, ModelHalted):
            e.error = await self._guard.told(place, e.error)
        return e

    def _headers(self, a: Asked) -> tuple[tuple[str, str], ...]:
        return (MINER_HEADER, a.place.neuron.hotkey.hex()), sent_header(a.request)

    def _at_work(self, miner: Hotkey) -> _Work:
        return _Work(self._health, miner, self._clock)


class _Work:
    """One request under way at a miner."""

    def __init__(self, health: dict[Hotkey, Health], miner: Hotkey, clock: Clock) -> None:
        self._health, self._miner, self._clock = health, miner, clock

    def __enter__(self) -> _Work:
        self._health[self._miner] = asked(self._health.get(self._miner, NEW))
        return self

    def __exit__(self, *_: object) -> None:
        self._health[self._miner] = left(self._health.get(self._miner, NEW))

    def note(self, e: Declined | DavyError) -> DavyError:
        """Let the miner's health say what happened, unless it was the user's or the brake's doing."""
        error = e.error if isinstance(e, Declined) else e
        h, now = self._health.get(self._miner, NEW), self._clock.now()
        if isinstance(error, ModelHalted):
            return error
        if isinstance(e, Declined) and isinstance(error, (Malformed, TooLarge)):
            return error
        if isinstance(error, Busy):
            self._health[self._miner] = crowded(h, now)
            return error
        self._health[self._miner] = failed(h, now)
        _log.info("miner %s: %s", self._miner.hex()[:16], error)
        return error if isinstance(error, (Unreachable, Unauthorised)) else BadAnswer(str(error)[:200])


def _check_done(outcome: Outcome) -> None:
    if outcome is not Outcome.DONE:
        raise BadAnswer("the miner's receipt is for an answer that did not come to its end")


def why_nobody(refusals: Sequence[DavyError]) -> DavyError:
    """What a user is told when every miner that was asked declined: what concerns the request before what does not."""
    for kind in (ModelHalted, Malformed, TooLarge):
        found = next((e for e in refusals if isinstance(e, kind)), None)
        if found is not None:
            return found
    if refusals and all(isinstance(e, Busy) for e in refusals):
        return Busy("the miners that serve this are busy; ask again in a moment")
    if refusals and all(isinstance(e, Unauthorised) for e in refusals):
        return NotReady("miners do not answer this gateway's hotkey: stake on it, as they ask for")
    return NotReady("none of the miners that serve this answered; ask again in a moment")

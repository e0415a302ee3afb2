"""A request through the whole miner in memory: answers, receipts, refusals, and the ends of streams."""

import base64
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, cast

import anyio
import pytest

from davy.miners.admission import NOBODY, Rules
from davy.miners.backend import Piece, Tally
from davy.miners.server import ANSWER_SECONDS, Unsigned
from davy.miners.serving import Serving
from davy.network.openai import CompletionRequest, CompletionResponse, parse_response
from davy.protocol.errors import Misconfigured, ModelHalted
from davy.protocol.manifest import Identity, model_id
from davy.protocol.ports import Response, SignedRequest
from davy.protocol.receipt import Anchor, Outcome, Receipt, open_receipt
from davy.protocol.signing import Domain, digest
from davy.protocol.words import KeyRole
from tests.miners.stage import CHAIN, MINER, STRANGER, VALIDATOR, Letters, Miner, ask, head, start
from tests.twins import LoopClock
from tests.twins.brake import ANYBODY

pytestmark = pytest.mark.anyio


def receipt_of(response: Response) -> Receipt:
    return open_receipt(base64.b64decode(dict(response.headers)["davy-receipt"]))


def error_of(response: Response) -> tuple[int, str]:
    return response.status, json.loads(response.body)["error"]["code"]


class Stream:
    """What a caller read of a stream: every payload, and the receipt."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    @property
    def payloads(self) -> list[bytes]:
        return [f.removeprefix(b"data: ") for f in self.frames if f.startswith(b"data: ") and f != b"data: [DONE]"]

    @property
    def chunks(self) -> list[CompletionResponse]:
        return [parse_response(p) for p in self.payloads]

    @property
    def receipt(self) -> Receipt:
        (line,) = [f for f in self.frames if f.startswith(b": receipt ")]
        return open_receipt(base64.b64decode(line.removeprefix(b": receipt ")))

    def matches(self) -> bool:
        """Whether the receipt covers exactly the payloads that came."""
        said = b"".join(p + b"\n" for p in self.payloads)
        return self.receipt.response_body == digest(Domain.RESPONSE_BODY, said)


async def read(miner: Miner, request: SignedRequest) -> Stream:
    got = Stream()
    async with miner.stream(request) as incoming:
        assert incoming.status == 200
        async for frame in incoming.frames:
            got.frames.append(frame)
    return got


async def test_a_whole_answer_and_its_receipt() -> None:
    miner = await start(Letters())
    request = ask({"prompt": "ab", "max_tokens": 3, "temperature": 0, "logprobs": 2})
    response = await miner.call(request)
    assert response.status == 200
    answer = parse_response(response.body)
    assert answer.choices[0].text == "cde"
    assert answer.choices[0].finish_reason == "length"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 3) if answer.usage else False
    said = answer.choices[0].logprobs
    assert said is not None
    assert said.tokens == ["c", "d", "e"]
    assert said.top_logprobs[0] == pytest.approx({"c": -0.5108256, "d": -1.2039728})
    assert said.text_offset == [0, 1, 2]
    receipt = receipt_of(response)
    assert receipt.caller == VALIDATOR.public(KeyRole.HOTKEY)
    assert receipt.miner == MINER.public(KeyRole.HOTKEY)
    assert receipt.chain == CHAIN
    assert receipt.request_body == digest(Domain.REQUEST_BODY, request.body)
    assert receipt.response_body == digest(Domain.RESPONSE_BODY, response.body)
    assert receipt.request_id.hex() == dict(response.headers)["x-request-id"]
    assert receipt.model_id == model_id(Letters().manifest())
    assert receipt.identity is Identity.CLAIMED
    assert receipt.anchor == Anchor(10, head(10).hash)
    assert (receipt.prompt_tokens, receipt.completion_tokens, receipt.outcome) == (2, 3, Outcome.DONE)


async def test_a_stream_says_the_same_and_its_receipt_covers_it() -> None:
    miner = await start(Letters())
    body = {"prompt": "ab", "max_tokens": 4, "temperature": 0, "logprobs": 1}
    whole = parse_response((await miner.call(ask(body))).body)
    got = await read(miner, ask({**body, "stream": True, "stream_options": {"include_usage": True}}))
    assert got.frames[-1] == b"data: [DONE]"
    assert got.frames[-2].startswith(b": receipt ")
    *pieces, last, usage = got.chunks
    assert "".join(c.choices[0].text for c in pieces) == whole.choices[0].text == "cdef"
    assert whole.choices[0].logprobs is not None
    assert [c.choices[0].logprobs.text_offset for c in pieces if c.choices[0].logprobs] == [[0], [1], [2], [3]]
    assert last.choices[0].finish_reason == "length"
    assert usage.choices == []
    assert usage.usage == whole.usage
    assert got.matches()
    assert got.receipt.outcome is Outcome.DONE
    assert got.receipt.completion_tokens == 4


async def test_the_same_seed_gives_the_same_answer_and_another_one_another() -> None:
    miner = await start(Letters())

    async def text(**fields: Any) -> str:
        response = await miner.call(ask({"prompt": "a", "max_tokens": 20, "temperature": 1.5, **fields}))
        return parse_response(response.body).choices[0].text

    assert await text(seed=5) == await text(seed=5)
    assert len({await text(seed=s) for s in range(8)}) > 4
    assert len({await text() for _ in range(8)}) > 4, "without a seed, the request's own id decides"


async def test_an_end_token_is_reported_and_ends_the_answer() -> None:
    miner = await start(Letters())
    response = await miner.call(ask({"prompt": "x", "max_tokens": 9, "temperature": 0, "logprobs": 1}))
    choice = parse_response(response.body).choices[0]
    assert choice.finish_reason == "stop"
    assert choice.logprobs is not None
    assert choice.logprobs.tokens == ["y", "z"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stop_string_ends_the_answer_and_is_not_shown(stream: bool) -> None:
    miner = await start(Letters())
    body = {"prompt": "a", "max_tokens": 20, "temperature": 0, "logprobs": 0, "stop": ["fg", "q"], "stream": stream}
    if stream:
        got = await read(miner, ask(body))
        assert "".join(c.choices[0].text for c in got.chunks) == "bcde"
        assert got.chunks[-1].choices[0].finish_reason == "stop"
        assert got.matches()
        assert got.receipt.completion_tokens == 6
    else:
        answer = parse_response((await miner.call(ask(body))).body)
        assert answer.choices[0].text == "bcde"
        assert answer.choices[0].finish_reason == "stop"
        assert answer.choices[0].logprobs is not None
        assert answer.choices[0].logprobs.tokens == ["b", "c", "d", "e", "f", "g"], "generated tokens are all told"


async def test_token_ids_are_written_when_asked_for() -> None:
    miner = await start(Letters())
    body = {"prompt": "a", "max_tokens": 1, "temperature": 0, "logprobs": 2, "return_tokens_as_token_ids": True}
    said = parse_response((await miner.call(ask(body))).body).choices[0].logprobs
    assert said is not None
    assert said.tokens == ["token_id:98"]
    assert said.top_logprobs[0].keys() == {"token_id:98", "token_id:99"}


@pytest.mark.parametrize(
    ("request_of", "expected"),
    [
        (lambda: ask({"prompt": "a", "model": "gpt"}), (404, "model_not_found")),
        (lambda: ask({"prompt": "a", "max_tokens": 0}), (400, "malformed")),
        (lambda: ask({"prompt": "a", "max_tokens": 1000}), (400, "malformed")),  # beyond this model's context
        (lambda: ask({"prompt": "a", "tools": []}), (400, "malformed")),
        (lambda: ask({"prompt": "a", "echo": True}), (400, "malformed")),
        (lambda: ask(b"\xff{"), (400, "malformed")),
        (lambda: ask(b"[" * 60_000), (400, "malformed")),
        (lambda: ask({"prompt": "a" * 70_000}), (413, "too_large")),
        (lambda: ask({"prompt": "a"}, keys=STRANGER), (403, "unauthorised")),
        (lambda: ask({"prompt": "a"}, recipient=STRANGER), (421, "misdirected")),
        (lambda: ask({"prompt": "a"}, anchor=Anchor(12, head(12).hash)), (429, "busy")),
        (lambda: ask({"prompt": "a"}, anchor=Anchor(9, bytes(32))), (421, "misdirected")),
        (lambda: ask({"prompt": "a"})._replace(headers=()), (401, "bad_signature")),
        (lambda: ask({"prompt": "a"})._replace(path="/v1/chat"), (404, "not_found")),
        (lambda: ask({"prompt": "a"})._replace(method="GET"), (404, "not_found")),
    ],
)
async def test_refusals(request_of: Any, expected: tuple[int, str]) -> None:
    miner = await start(Letters())
    response = await miner.call(request_of())
    assert error_of(response) == expected
    assert "davy-receipt" not in dict(response.headers)
    assert miner.handler.serving.active == 0


async def test_an_anchor_one_ahead_is_answered_and_a_request_is_answered_once() -> None:
    miner = await start(Letters())
    request = ask({"prompt": "a"}, anchor=Anchor(11, head(11).hash))
    assert receipt_of(await miner.call(request)).anchor.height == 11
    assert error_of(await miner.call(request)) == (409, "retry_fresh")


async def test_the_model_goes_by_its_id_or_its_name() -> None:
    miner = await start(Letters())
    response = await miner.call(ask({"prompt": "a", "model": miner.handler.serving.model_id.hex()}))
    assert response.status == 200
    cards = json.loads((await miner.call(SignedRequest("GET", "/v1/models", (), b""))).body)["data"]
    assert [(c["id"], c["root"]) for c in cards] == [(miner.handler.serving.model_id.hex(), "letters")]


async def test_unsigned_requests_are_answered_only_where_told_so() -> None:
    body = json.dumps({"model": "letters", "prompt": "a"}).encode()
    request = SignedRequest("POST", "/v1/completions", (("content-type", "application/json"),), body)
    miner = await start(Letters())
    assert error_of(await miner.call(request)) == (401, "bad_signature")
    miner.network.serve(miner.endpoint, Unsigned(miner.handler))
    receipt = receipt_of(await miner.call(request))
    assert receipt.caller == NOBODY == bytes(32)
    assert receipt.anchor.height == 10


async def test_health_tells_model_and_height_and_a_lost_ledger() -> None:
    miner = await start(Letters())
    request = SignedRequest("GET", "/health", (), b"")
    response = await miner.call(request)
    health = json.loads(response.body)
    assert (response.status, health["status"], health["height"], health["name"]) == (200, "ok", 10, "letters")
    miner.view.see(head(10), LoopClock().now() - 61_000)
    response = await miner.call(request)
    assert response.status == 503
    assert "lost the ledger" in json.loads(response.body)["status"]
    assert error_of(await miner.call(ask({"prompt": "a"}))) == (429, "busy")


class Slow(Letters):
    """Counts how often it was asked; each token takes a tenth of a second."""

    made = 0
    open_ended = 0

    def next_token(self, tokens: Sequence[int]) -> dict[int, float]:
        self.made += 1
        return {97: 0.5, 98: 0.4}

    async def _pieces(self, prompt: Any, request: Any, stopped: Any) -> AsyncGenerator[Piece | Tally, None]:
        self.open_ended += 1
        try:
            async with aclosing(super()._pieces(prompt, request, stopped)) as items:
                async for item in items:
                    await anyio.sleep(0.1)
                    yield item
        finally:
            self.open_ended -= 1


async def test_a_caller_who_leaves_ends_the_generation_at_once() -> None:
    backend = Slow()
    miner = await start(backend)
    async with miner.stream(ask({"prompt": "a", "max_tokens": 150, "stream": True})) as incoming:
        async with aclosing(cast("AsyncGenerator[bytes]", incoming.frames)) as frames:
            async for _ in frames:
                break
        made = backend.made
    assert made <= 2
    assert backend.open_ended == 0
    assert miner.handler.serving.active == 0
    await anyio.sleep(0.5)
    assert backend.made == made
    assert (await miner.call(ask({"prompt": "a", "max_tokens": 1}))).status == 200, "its place is free again"


async def test_a_stopping_miner_ends_its_streams_with_an_error_and_a_receipt() -> None:
    backend = Slow()
    miner = await start(backend)
    got = Stream()
    made = 0
    async with miner.stream(ask({"prompt": "a", "max_tokens": 150, "stream": True})) as incoming:
        async for frame in incoming.frames:
            got.frames.append(frame)
            if len(got.frames) == 2:
                made = backend.made
                miner.handler.interrupt()
    assert backend.made <= made + 1, "cancelled within one token"
    assert json.loads(got.payloads[-1])["error"]["code"] == "busy"
    assert got.frames[-1] == b"data: [DONE]"
    assert got.matches()
    assert got.receipt.outcome is Outcome.CANCELLED
    assert error_of(await miner.call(ask({"prompt": "a"}))) == (429, "busy")


class Failing(Letters):
    def next_token(self, tokens: Sequence[int]) -> dict[int, float]:
        if tokens[-1] == ord("c"):
            raise ZeroDivisionError("a secret of this machine")
        return super().next_token(tokens)


async def test_a_model_that_fails_is_told_without_its_secrets() -> None:
    miner = await start(Failing())
    response = await miner.call(ask({"prompt": "a", "temperature": 0, "max_tokens": 5}))
    assert error_of(response) == (500, "internal")
    got = await read(miner, ask({"prompt": "a", "temperature": 0, "max_tokens": 5, "stream": True}))
    assert [c.choices[0].text for c in map(parse_response, got.payloads[:-1])] == ["b", "c"]
    assert json.loads(got.payloads[-1])["error"]["code"] == "internal"
    assert got.matches()
    assert got.receipt.outcome is Outcome.CANCELLED
    assert b"secret" not in response.body + b"".join(got.frames)
    assert miner.handler.serving.active == 0


class Halted(Letters):
    def next_token(self, tokens: Sequence[int]) -> dict[int, float]:
        if tokens[-1] == ord("c"):
            raise ModelHalted("halted by order 7", b"the order")
        return super().next_token(tokens)


async def test_a_halt_under_way_is_told_with_a_receipt_that_says_so() -> None:
    miner = await start(Halted())
    body = {"prompt": "a", "temperature": 0, "max_tokens": 5}
    response = await miner.call(ask(body))
    assert error_of(response) == (451, "model_halted")
    assert dict(response.headers)["x-should-retry"] == "false"
    got = await read(miner, ask({**body, "stream": True}))
    assert json.loads(got.payloads[-1])["error"]["code"] == "model_halted"
    assert got.receipt.outcome is Outcome.HALTED
    assert got.receipt.completion_tokens == 2
    assert got.matches()


class Wide(Letters):
    context = 2_000

    def next_token(self, tokens: Sequence[int]) -> dict[int, float]:
        return {i: 1 / 65 - i * 1e-5 for i in range(64)}


async def test_an_answer_too_large_to_be_taken_is_refused_and_can_be_streamed() -> None:
    miner = await start(Wide())
    body = {"prompt": "a", "max_tokens": 1000, "logprobs": 64, "temperature": 0, "return_tokens_as_token_ids": True}
    response = await miner.call(ask(body))
    assert error_of(response) == (413, "too_large")
    assert b"or stream" in response.body
    got = await read(miner, ask({**body, "stream": True}))
    assert got.receipt.completion_tokens == 1000


class Empty(Letters):
    def next_token(self, tokens: Sequence[int]) -> dict[int, float]:
        return {97: 0.0}


async def test_a_model_without_any_next_token_is_no_answer() -> None:
    miner = await start(Empty())
    assert error_of(await miner.call(ask({"prompt": "a", "temperature": 0}))) == (502, "bad_answer")


class Endless(Letters):
    async def _pieces(self, prompt: Any, request: Any, stopped: Any) -> AsyncGenerator[Piece | Tally, None]:
        yield Tally(1)
        await anyio.sleep_forever()


@pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)
async def test_no_answer_takes_for_ever() -> None:
    miner = await start(Endless())
    before = anyio.current_time()
    reply = await miner.handler.handle(ask({"prompt": "a"}))
    assert isinstance(reply, Response)
    assert error_of(reply) == (504, "unreachable")
    assert anyio.current_time() - before == pytest.approx(ANSWER_SECONDS)


@pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)
async def test_places_queue_and_the_refusal_beyond_them() -> None:
    backend = Slow()
    miner = await start(backend, Rules(places=2, queue=1, rate=1000, burst=1000))
    codes: list[int] = []

    async def one() -> None:
        codes.append((await miner.call(ask({"prompt": "a", "max_tokens": 5}))).status)

    async with anyio.create_task_group() as callers:
        for _ in range(3):
            callers.start_soon(one)
        await anyio.sleep(0.05)
        assert backend.open_ended == 2
        refused = await miner.call(ask({"prompt": "a"}))
        assert error_of(refused) == (429, "busy")
        assert dict(refused.headers)["retry-after-ms"] == "1000"
    assert codes == [200, 200, 200]


async def test_a_swap_names_the_new_model_and_lets_old_answers_end() -> None:
    class Other(Letters):
        name = "other"

    miner = await start(Slow())
    old = miner.handler.serving
    async with miner.stream(ask({"prompt": "a", "max_tokens": 3, "stream": True})) as incoming:
        frames = [frame async for frame in _with_swap(incoming.frames, miner, Other())]
    assert any(f.startswith(b": receipt ") for f in frames)
    (line,) = [f for f in frames if f.startswith(b": receipt ")]
    assert open_receipt(base64.b64decode(line.removeprefix(b": receipt "))).model_id == old.model_id
    assert receipt_of(await miner.call(ask({"prompt": "a", "model": "other"}))).model_id != old.model_id
    assert error_of(await miner.call(ask({"prompt": "a"}))) == (404, "model_not_found")
    await old.close(1)
    assert old.active == 0


async def _with_swap(frames: Any, miner: Miner, new: Letters) -> AsyncGenerator[bytes, None]:
    first = True
    async for frame in frames:
        if first:
            changed = Serving(new)
            changed.subjects, changed.access = miner.handler.serving.subjects, ANYBODY
            miner.handler.swap(changed)
            first = False
        yield frame


class Refusing(Letters):
    def generate(self, request: CompletionRequest, stopped: Any) -> Any:
        raise Misconfigured("the disk at /srv/models is gone")


async def test_what_is_wrong_on_the_miner_s_machine_is_not_told_to_callers() -> None:
    response = await (await start(Refusing())).call(ask({"prompt": "a"}))
    assert error_of(response) == (503, "unavailable")
    assert b"/srv" not in response.body

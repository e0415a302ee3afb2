"""What a user gets: an answer without what was not asked for, another miner's when one fails, or one sentence."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from davy.gateway.directory import Place
from davy.gateway.gateway import Limits
from davy.gateway.relay import Patience
from davy.gateway.wish import SENT_HEADER
from davy.miners.admission import Rules
from davy.miners.backend import Piece, Stopped, Tally
from davy.network.error_responses import ORDER_HEADER
from davy.network.events import DONE, data_frame, data_payloads
from davy.network.openai import CompletionRequest, CompletionResponse, parse_request, parse_response, to_json
from davy.network.receipts import (
    RECEIPT_HEADER,
    StreamDigest,
    receipt_frame,
    receipt_header,
    receipt_in,
    receipt_of,
    response_digest,
)
from davy.protocol.encoding import encode
from davy.protocol.errors import ModelHalted
from davy.protocol.limits import MAX_REQUEST_BYTES
from davy.protocol.ports import Handler, Response, SendFrame, SignedRequest, StreamReply
from davy.protocol.receipt import Outcome, SignedReceipt, open_receipt
from davy.protocol.signing import Domain, digest
from davy.protocol.words import KeyRole
from davy.tasks.shape import LISTED
from tests.gateway.stage import Miner, NoBrake, stage
from tests.miners.stage import Letters
from tests.twins import SeededKeys

pytestmark = pytest.mark.anyio
Pieces = AsyncGenerator[Piece | Tally, None]
GREEDY = {"temperature": 0, "max_tokens": 4}


def whole(answer: Response | StreamReply) -> tuple[CompletionResponse, dict[str, str]]:
    assert isinstance(answer, Response)
    assert answer.status == 200, answer.body
    return parse_response(answer.body), dict(answer.headers)


def refused(answer: Response | StreamReply) -> tuple[int, dict[str, Any], dict[str, str]]:
    assert isinstance(answer, Response)
    return answer.status, json.loads(answer.body)["error"], dict(answer.headers)


async def streamed(answer: Response | StreamReply) -> list[bytes]:
    assert isinstance(answer, StreamReply), answer
    frames: list[bytes] = []

    async def send(frame: bytes) -> None:
        frames.append(frame)

    await answer.pump(send)
    return frames


def text_of(frames: list[bytes]) -> str:
    chunks = [parse_response(p) for f in frames for p in data_payloads(f) if p != DONE]
    return "".join(c.text for chunk in chunks for c in chunk.choices)


def restored(headers: dict[str, str], prompt: str) -> bytes:
    """As docs/ask.md says: the prompt put back into what was sent."""
    sent = base64.b64decode(headers[SENT_HEADER])
    return sent.replace(b'"prompt":""', b'"prompt":' + json.dumps(prompt, ensure_ascii=False).encode())


async def test_a_user_gets_the_answer_and_nothing_that_was_not_asked_for() -> None:
    async with stage(Miner("a")) as s:
        answer, headers = whole(await s.ask({**GREEDY, "user": "me", "seed": 3}))
        seen = parse_request(s.miners[0].asked[0].body)
    assert answer.choices[0].text == "defg"
    assert answer.choices[0].logprobs is None
    assert (seen.logprobs, seen.seed, seen.user, seen.return_tokens_as_token_ids) == (LISTED, None, None, True)
    assert headers["davy-miner"] == s.miners[0].hotkey.hex()


@pytest.mark.parametrize("most", [0, 1])
async def test_a_user_gets_as_many_log_probabilities_as_were_asked_for(most: int) -> None:
    async with stage(Miner("a")) as s:
        answer, _ = whole(await s.ask({**GREEDY, "logprobs": most}))
    log = answer.choices[0].logprobs
    assert log is not None
    assert [len(top) for top in log.top_logprobs] == [most] * 4
    assert log.tokens == [f"token_id:{ord(c)}" for c in "defg"]
    if most:
        assert all(token in top for token, top in zip(log.tokens, log.top_logprobs, strict=True))


async def test_on_an_open_subnet_tokens_are_named_by_their_text() -> None:
    async with stage(Miner("a"), task="text-open") as s:
        answer, _ = whole(await s.ask({**GREEDY, "logprobs": 1}))
    assert answer.choices[0].logprobs is not None
    assert answer.choices[0].logprobs.tokens == list("defg")


@pytest.mark.parametrize("prompt", ["abc", 'a"prompt":""b\\', "ü\n\t\x01\x7f\u2028😀 abc"])
async def test_a_user_who_asks_for_proof_can_check_the_receipt_alone(prompt: str) -> None:
    async with stage(Miner("a")) as s:
        answer = await s.ask({**GREEDY, "prompt": prompt, "stop": ['"prompt":""']}, ("davy-proof", "1"))
    assert isinstance(answer, Response)
    _, headers = whole(answer)
    receipt = open_receipt(base64.b64decode(headers[RECEIPT_HEADER]))
    assert receipt.miner == s.miners[0].hotkey
    assert receipt.request_body == digest(Domain.REQUEST_BODY, restored(headers, prompt))
    assert receipt.response_body == response_digest(answer.body)


async def test_the_proof_of_a_stream() -> None:
    async with stage(Miner("a")) as s:
        answer = await s.ask({**GREEDY, "stream": True}, ("davy-proof", "1"))
        frames = await streamed(answer)
    said = StreamDigest()
    for frame in frames:
        said.add(frame)
    (raw,) = [r for f in frames if (r := receipt_in(f)) is not None]
    receipt = open_receipt(raw)
    assert receipt.response_body == said.value()
    assert receipt.request_body == digest(Domain.REQUEST_BODY, restored(dict(answer.headers), "abc"))
    assert data_payloads(frames[-1]) == [DONE]


async def test_a_stream_is_passed_on_chunk_by_chunk_without_what_was_not_asked_for() -> None:
    async with stage(Miner("a")) as s:
        frames = await streamed(await s.ask({**GREEDY, "stream": True, "stream_options": {"include_usage": True}}))
        await anyio.wait_all_tasks_blocked()
        _, health = await s.get("/health")
    chunks = [parse_response(p) for f in frames for p in data_payloads(f) if p != DONE]
    assert text_of(frames) == "defg"
    assert len(chunks) > 4
    assert all(c.logprobs is None for chunk in chunks for c in chunk.choices)
    assert chunks[-1].usage is not None
    assert data_payloads(frames[-1]) == [DONE]
    assert health["answering"] == 0


class Failing:
    """Answers every request in one way."""

    def __init__(self, answer: Response | StreamReply) -> None:
        self._answer = answer

    async def handle(self, request: SignedRequest) -> Response | StreamReply:
        return self._answer


def failing(answer: Response | StreamReply) -> Any:
    return lambda handler: Failing(answer)


async def junk(send: SendFrame) -> None:
    await send(b"data: {}")


class Cut:
    """Breaks a miner's answer: `cut` of a stream's frames come, and nothing of a receipt."""

    def __init__(self, handler: Handler, cut: int) -> None:
        self._handler, self._cut = handler, cut

    async def handle(self, request: SignedRequest) -> Response | StreamReply:
        answer = await self._handler.handle(request)
        if isinstance(answer, Response):
            return answer._replace(headers=tuple(h for h in answer.headers if h[0] != RECEIPT_HEADER))

        async def pump(send: SendFrame) -> None:
            left = self._cut

            async def some(frame: bytes) -> None:
                nonlocal left
                if left > 0:
                    await send(frame)
                left -= 1

            await answer.pump(some)

        return answer._replace(pump=pump)


class Empty:
    """Signs for an answer that holds nothing; its keys are those of the miner "bad"."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def handle(self, request: SignedRequest) -> Response | StreamReply:
        answer = await self._handler.handle(request)
        if isinstance(answer, Response):
            body = to_json(replace(parse_response(answer.body), choices=[]))
            signed = _signed_anew(receipt_of(answer), response_digest(body))
            others = [h for h in answer.headers if h[0] != RECEIPT_HEADER]
            return Response(200, (*others, receipt_header(signed)), body)

        async def pump(send: SendFrame) -> None:
            async def only_a_receipt(frame: bytes) -> None:
                if receipt := receipt_in(frame):
                    await send(receipt_frame(_signed_anew(receipt, StreamDigest().value())))
                    await send(data_frame(DONE))

            await answer.pump(only_a_receipt)

        return answer._replace(pump=pump)


def _signed_anew(raw: bytes | None, response_body: bytes) -> bytes:
    assert raw is not None
    body = encode(replace(open_receipt(raw), response_body=response_body))
    return encode(SignedReceipt(1, body, SeededKeys(int.from_bytes(b"bad")).sign(KeyRole.HOTKEY, Domain.RECEIPT, body)))


BROKEN = {
    "an empty answer, signed": Empty,
    "500": failing(Response(500, (), b"oops")),
    "200 and junk": failing(Response(200, (), b"{}")),
    "a stream of junk": failing(StreamReply(200, (), junk)),
    "busy": failing(Response(429, (), b'{"error":{"message":"later","type":"rate_limit_error","code":"busy"}}')),
    "no receipt, or nothing of a stream": lambda handler: Cut(handler, 0),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("broken", BROKEN)
async def test_another_miner_answers_when_one_does_not(broken: str, stream: bool) -> None:
    bad = Miner("bad", incentive=65_535, wrap=BROKEN[broken])
    async with stage(bad, Miner("good", incentive=1)) as s:
        for _ in range(3):
            answer = await s.ask({**GREEDY, "stream": stream})
            got = text_of(await streamed(answer)) if stream else whole(answer)[0].choices[0].text
            assert got == "defg"
        assert bad.asked
        assert len(s.miners[1].asked) == 3


async def test_a_miner_that_hangs_is_left_for_another_one() -> None:
    class Hanging:
        async def handle(self, request: SignedRequest) -> Response:
            await anyio.sleep_forever()
            raise AssertionError

    hung = Miner("bad", incentive=65_535, wrap=lambda handler: Hanging())
    patience = Patience(first_byte_s=0.2, whole_s=0.2)
    async with stage(hung, Miner("good", incentive=1), patience=patience) as s:
        assert whole(await s.ask(GREEDY))[0].choices[0].text == "defg"
        s.gateway._relay._health.clear()  # pyright: ignore[reportPrivateUsage]
        assert text_of(await streamed(await s.ask({**GREEDY, "stream": True}))) == "defg"
    assert len(hung.asked) == 2


async def test_a_stream_that_breaks_in_the_middle_ends_with_an_error_event() -> None:
    async with stage(Miner("a", wrap=lambda handler: Cut(handler, 2))) as s:
        frames = await streamed(await s.ask({**GREEDY, "stream": True}))
    assert text_of(frames[:2]) == "de"
    (told,) = data_payloads(frames[2])
    assert json.loads(told)["error"]["code"] == "bad_answer"
    assert s.sample.collect() == []


class Lying:
    """Signs for another answer than it gives."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def handle(self, request: SignedRequest) -> Response | StreamReply:
        answer = await self._handler.handle(request)
        if isinstance(answer, Response):
            return answer._replace(body=answer.body.replace(b"defg", b"evil"))

        async def pump(send: SendFrame) -> None:
            async def changed(frame: bytes) -> None:
                await send(frame.replace(b'"text":"e"', b'"text":"x"'))

            await answer.pump(changed)

        return answer._replace(pump=pump)


async def test_a_miner_that_breaks_its_streams_off_rests_longer_each_time() -> None:
    async with stage(a := Miner("a", wrap=lambda handler: Cut(handler, 2))) as s:
        for _ in range(3):
            await streamed(await s.ask({**GREEDY, "stream": True}))
    assert s.gateway._relay._health[a.hotkey].failures == 3  # pyright: ignore[reportPrivateUsage]


async def test_an_answer_that_its_miner_did_not_sign_for_is_not_given_out() -> None:
    async with stage(Miner("a", wrap=Lying)) as s:
        status, told, _ = refused(await s.ask(GREEDY))
        frames = await streamed(await s.ask({**GREEDY, "stream": True}))
    assert (status, told["code"]) == (503, "unavailable")
    errors = [json.loads(p)["error"] for f in frames for p in data_payloads(f) if b'"error"' in p]
    assert "another answer" in errors[0]["message"]
    assert not any(receipt_in(f) for f in frames)
    assert s.sample.collect() == []


ORDER = b"the signed order"


class Brake(NoBrake):
    """Halts a miner's model, from the start or in the middle of an answer."""

    def __init__(self, *halted: bytes) -> None:
        self.halted = set(halted)
        self.scopes: list[anyio.CancelScope] = []

    def permit(self, place: Place) -> None:
        if place.neuron.hotkey in self.halted:
            raise ModelHalted("order 7 halts this model", ORDER)

    @asynccontextmanager
    async def running(self, place: Place) -> AsyncGenerator[None]:
        with anyio.CancelScope() as scope:
            self.scopes.append(scope)
            yield
        if scope.cancel_called:
            raise ModelHalted("order 7 halts this model", ORDER)


async def test_a_halted_model_answers_451_with_the_signed_order() -> None:
    a = Miner("a")
    async with stage(a, guard=Brake(a.hotkey)) as s:
        for stream in (False, True):
            status, told, headers = refused(await s.ask({**GREEDY, "stream": stream}))
            assert (status, told["code"]) == (451, "model_halted")
            assert base64.b64decode(headers[ORDER_HEADER]) == ORDER
            assert headers["x-should-retry"] == "false"
        assert (await s.get("/v1/models"))[1]["data"] == []
    assert not a.asked


async def test_a_miner_that_is_halted_is_passed_over_while_another_one_serves() -> None:
    a, b = Miner("a", incentive=65_535), Miner("b", incentive=1)
    async with stage(a, b, guard=Brake(a.hotkey)) as s:
        for _ in range(5):
            whole(await s.ask(GREEDY))
    assert not a.asked
    assert len(b.asked) == 5


async def test_a_stream_that_runs_ends_with_the_order() -> None:
    class Slow(Letters):
        async def _pieces(self, prompt: list[int], request: CompletionRequest, stopped: Stopped) -> Pieces:
            async with aclosing(super()._pieces(prompt, request, stopped)) as pieces:
                async for piece in pieces:
                    yield piece
                    await anyio.sleep(1)

    frames: list[bytes] = []
    async with stage(Miner("a", backend=Slow()), guard=(brake := Brake())) as s:
        answer = await s.ask({**GREEDY, "max_tokens": 20, "stream": True})
        assert isinstance(answer, StreamReply)

        async def send(frame: bytes) -> None:
            frames.append(frame)
            if len(frames) == 2:
                brake.scopes[0].cancel()

        await answer.pump(send)
    assert text_of(frames[:2]) == "de"
    assert json.loads(data_payloads(frames[-3])[0])["error"]["code"] == "model_halted"
    assert base64.b64decode(frames[-2].removeprefix(b": order ")) == ORDER
    assert len(frames) <= 6  # one token at most was on its way


async def test_a_miner_that_breaks_off_says_so_and_signs_for_what_it_gave() -> None:
    class Failing(Letters):
        async def _pieces(self, prompt: list[int], request: CompletionRequest, stopped: Stopped) -> Pieces:
            yield Tally(len(prompt))
            yield Piece(ord("d"), "d", -0.5, ((ord("d"), -0.5),))
            raise ModelHalted("order 7 halts this model")

    async with stage(Miner("a", backend=Failing())) as s:
        frames = await streamed(await s.ask({**GREEDY, "stream": True}))
    assert text_of(frames[:1]) == "d"
    assert json.loads(data_payloads(frames[1])[0])["error"]["code"] == "model_halted"
    (receipt,) = [r for f in frames if (r := receipt_in(f)) is not None]
    assert open_receipt(receipt).outcome is Outcome.HALTED


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed"),
        (b'{"model":"any","prompt":"a","frobnicate":1}', 400, "malformed"),
        (b'{"model":"any","prompt":"a","echo":true}', 400, "malformed"),
        (b'{"model":"any","prompt":"a","logprobs":21}', 400, "malformed"),
        (b'{"model":"nobody","prompt":"a"}', 404, "model_not_found"),
        (b'{"model":"any","prompt":"' + b"a" * 300 + b'"}', 400, "malformed"),  # beyond the miner's context
        (b'{"model":"any","prompt":"' + b"a" * (MAX_REQUEST_BYTES - 40) + b'"}', 413, "too_large"),
        (b" " * (MAX_REQUEST_BYTES + 1), 413, "too_large"),
    ],
)
async def test_a_bad_request_gets_one_sentence(body: bytes, status: int, code: str) -> None:
    async with stage(Miner("a")) as s:
        got, told, headers = refused(await s.ask(body))
    assert (got, told["code"]) == (status, code)
    assert len(told["message"]) > 10
    assert "Traceback" not in told["message"]
    assert headers["x-should-retry"] == "false"


async def test_who_is_found_by_id_and_by_name() -> None:
    async with stage(Miner("a")) as s:
        _, listed = await s.get("/v1/models")
        (card,) = listed["data"]
        assert (card["root"], card["owned_by"]) == ("letters", "1 miner")
        for name in ("letters", card["id"], "any"):
            whole(await s.ask({**GREEDY, "model": name}))
        assert (await s.get("/health"))[1] == {"status": "ok", "height": 10, "miners": 1, "models": 1, "answering": 0}


async def test_without_miners_or_ledger_nothing_is_promised() -> None:
    async with stage() as s:
        status, health = await s.get("/health")
        assert (status, health["status"]) == (503, "no miner serves anything yet")
        s.directory.head = None
        assert (await s.get("/health"))[0] == 503
    async with stage(Miner("a")) as s:
        s.directory.head = None
        assert refused(await s.ask(GREEDY))[0] == 503


async def test_miners_that_are_all_busy_and_a_gateway_without_stake_are_told_as_such() -> None:
    async with stage(Miner("a", wrap=BROKEN["busy"]), Miner("b", wrap=BROKEN["busy"])) as s:
        status, told, headers = refused(await s.ask(GREEDY))
        assert (status, told["code"], headers["retry-after"]) == (429, "busy", "1")
    async with stage(Miner("a", rules=Rules(minimum_stake=10**18))) as s:
        status, told, _ = refused(await s.ask(GREEDY))
        assert (status, told["code"]) == (503, "unavailable")
        assert "stake" in told["message"]


async def test_the_key() -> None:
    async with stage(Miner("a"), key="secret") as s:
        for given in ((), (("authorization", "Bearer wrong"),), (("authorization", "secret"),)):
            assert refused(await s.ask(GREEDY, *given))[0] == 401
        assert (await s.get("/health"))[0] == 200
        whole(await s.ask(GREEDY, ("authorization", "Bearer secret")))


async def test_an_address_has_a_rate_and_the_gateway_a_number_of_places() -> None:
    async with stage(Miner("a"), limits=Limits(rate=0.001, burst=2)) as s:
        for address in ("10.0.0.1", "10.0.0.2"):
            for _ in range(2):
                whole(await s.ask(GREEDY, address=address))
            status, told, headers = refused(await s.ask(GREEDY, address=address))
            assert (status, told["code"]) == (429, "busy")
            assert int(headers["retry-after-ms"]) > 0
    async with stage(Miner("a"), limits=Limits(places=1)) as s:
        waiting = await s.ask({**GREEDY, "stream": True})
        assert refused(await s.ask(GREEDY))[0] == 429
        await streamed(waiting)
        await anyio.wait_all_tasks_blocked()
        whole(await s.ask(GREEDY))

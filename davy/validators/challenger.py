"""Asks one miner one thing and returns what came back, receipt checked, or the reason why nothing useful did.

A challenge must look like use: it is an ordinary signed request on the ordinary route, and when it is sent is drawn at
random (`arrivals`), so that neither fields nor gaps tell it from a user's.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

import msgspec
import numpy as np

from davy.network.openai import CompletionRequest, CompletionResponse, parse_response, to_json
from davy.network.receipts import check_receipt, receipt_of, response_digest
from davy.network.signed import sign_request
from davy.protocol.chain import Head, Neuron
from davy.protocol.errors import DavyError, Refused
from davy.protocol.limits import NONCE_BYTES
from davy.protocol.ports import Clock, Entropy, KeyStore, Response, SignedRequest, Transport
from davy.protocol.receipt import EMPTY_BRAKE_HEAD, Anchor, Outcome
from davy.protocol.words import ChainId

_ATTEMPTS: Final = 2
"""A miner that cannot prove a request new (`retry_fresh`) is asked once more, freshly signed."""


class Answered(NamedTuple):
    """What came of one request: a response, or a reason why there is none."""

    response: CompletionResponse | None
    reason: str


class Asker(Protocol):
    """Who asks; `head` is the newest block it was told of."""

    head: Head

    async def ask(self, miner: Neuron, request: CompletionRequest, *, deadline_ms: int) -> Answered: ...


class Challenger:
    """Sends a validator's requests, anchored to the newest block it was told of (`head`)."""

    def __init__(
        self,
        keys: KeyStore,
        chain: ChainId,
        transport: Transport,
        clock: Clock,
        entropy: Entropy,
        head: Head,
    ) -> None:
        self._keys, self._chain, self._transport = keys, chain, transport
        self._clock, self._entropy, self.head = clock, entropy, head

    async def ask(self, miner: Neuron, request: CompletionRequest, *, deadline_ms: int) -> Answered:
        """Ask a miner for its registered model; late, refused, unsigned and broken answers come back as a reason."""
        if not (miner.endpoint and miner.model):
            return Answered(None, "serves nothing")
        body = to_json(msgspec.structs.replace(request, model=miner.model[0].model_id.hex()))
        deadline = self._clock.now() + deadline_ms
        reason = ""
        try:
            for _ in range(_ATTEMPTS):
                response, reason = await self._exchange(miner, body, deadline)
                if response is not None:
                    return Answered(response, "")
                if not reason.startswith("retry_fresh"):
                    break
        except DavyError as e:
            reason = str(e)
        return Answered(None, reason[:200])

    async def _exchange(self, miner: Neuron, body: bytes, deadline: int) -> tuple[CompletionResponse | None, str]:
        sent = sign_request(
            self._keys,
            method="POST",
            path="/v1/completions",
            body=body,
            recipient=miner.hotkey,
            chain=self._chain,
            anchor=Anchor(self.head.height, self.head.hash),
            brake_head=EMPTY_BRAKE_HEAD,
            created=self._clock.now(),
            nonce=self._entropy.bytes(NONCE_BYTES),
        )
        answer = await self._transport.call(miner.endpoint[0], sent, deadline=deadline)
        if answer.status != 200:
            return None, _told(answer)
        fault = self.receipt_fault(miner, sent, answer)
        return (None, fault) if fault else (parse_response(answer.body), "")

    def receipt_fault(self, miner: Neuron, sent: SignedRequest, answer: Response) -> str:
        """Say what is wrong with an answer's receipt; an answer is worth nothing unless its miner signed for it.

        Raises
        ------
        Refused
            The receipt is not the miner's, or not for this request and answer.
        """
        raw = receipt_of(answer)
        if raw is None:
            return "no receipt"
        receipt = check_receipt(raw, sent=sent, miner=miner.hotkey, response_body=response_digest(answer.body))
        if receipt.model_id != miner.model[0].model_id or receipt.outcome is not Outcome.DONE:
            return "the receipt is for another model, or for an answer that did not come to its end"
        return ""


def arrivals(rng: np.random.Generator, count: int, span_ms: int) -> list[int]:
    """Draw when each of `count` requests leaves, in ms from now: a Poisson stream's arrivals, given their number."""
    return [int(t) for t in rng.uniform(0, span_ms, count)]


class _Code(msgspec.Struct):
    code: str | None = None
    message: str = ""


class _Error(msgspec.Struct):
    error: _Code


def _told(answer: Response) -> str:
    try:
        error = msgspec.json.decode(answer.body, type=_Error).error
    except (msgspec.DecodeError, Refused, UnicodeDecodeError):
        return f"status {answer.status}"
    return f"{error.code or answer.status}: {error.message}"

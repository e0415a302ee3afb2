"""A user's request: what goes out to a miner for it, and what of the miner's answer the user sees.

Every request goes out in the one form that challenges have too (`davy.tasks.shape.outgoing`): encoded anew, for the
model's id, with log-probabilities asked for, at temperature 0 without seed. So the user gets back what was sent, but
for the prompt, in the header ``davy-sent``: with the prompt put back these are the bytes that the receipt is for. Who
sends ``davy-proof: 1`` gets the miner's answer byte for byte too, and can check the receipt alone.
"""

from __future__ import annotations

import base64
from typing import Final, NamedTuple

import msgspec

from davy.network.openai import Choice, CompletionRequest, CompletionResponse, Logprobs, parse_request, to_json
from davy.protocol.errors import Malformed
from davy.protocol.ports import SignedRequest
from davy.protocol.words import ModelId
from davy.tasks.shape import LISTED, outgoing

SENT_HEADER: Final = "davy-sent"
PROOF_HEADER: Final = "davy-proof"
MINER_HEADER: Final = "davy-miner"


class Wish(NamedTuple):
    """What a user asks for; `proof`: the answer as it came."""

    asked: CompletionRequest
    proof: bool


def read_wish(r: SignedRequest) -> Wish:
    """Decode a user's request.

    Raises
    ------
    TooLarge, Malformed
    """
    asked = parse_request(r.body)
    if asked.logprobs is not None and asked.logprobs > LISTED:
        raise Malformed(f"a gateway gives at most {LISTED} log-probabilities a token; ask for fewer")
    return Wish(asked, (PROOF_HEADER, "1") in r.headers)


def request_for(w: Wish, model_id: ModelId, *, token_ids: bool) -> CompletionRequest:
    """What is sent to a miner of this model; see `outgoing` for `token_ids`."""
    return msgspec.structs.replace(outgoing(w.asked, token_ids=token_ids), model=model_id.hex())


def sent_header(sent: CompletionRequest) -> tuple[str, str]:
    """Base64 of the body that was sent, with an empty prompt."""
    return SENT_HEADER, base64.b64encode(to_json(msgspec.structs.replace(sent, prompt=""))).decode()


def shown(response: CompletionResponse, asked: CompletionRequest) -> CompletionResponse:
    """An answer, or one chunk, as a user sees it: no more log-probabilities than were asked for."""
    return msgspec.structs.replace(response, choices=[_choice(c, asked.logprobs) for c in response.choices])


def _choice(c: Choice, most: int | None) -> Choice:
    if c.logprobs is None:
        return c
    if most is None:
        return Choice(c.index, c.text, None, c.finish_reason)
    log = c.logprobs
    top = [_likeliest(listed, most) for listed in log.top_logprobs]
    return Choice(c.index, c.text, Logprobs(log.tokens, log.token_logprobs, top, log.text_offset), c.finish_reason)


def _likeliest(listed: dict[str, float], most: int) -> dict[str, float]:
    return dict(sorted(listed.items(), key=lambda item: -item[1])[:most])

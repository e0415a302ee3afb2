"""Reading a miner's answer strictly: what cannot be scored as a distribution is refused, with the reason.

A completion at temperature 0 is read by positions: the token that was chosen, and the listed tokens with their natural
log-probabilities. Tokens are written as ``token_id:<n>``, since a token's text does not always name it.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import numpy as np

from davy.network.openai import CompletionRequest, CompletionResponse, Logprobs
from davy.protocol.errors import BadAnswer
from davy.tasks.rule import IntArray
from davy.tasks.task import FloatArray
from davy.tasks.vocabulary import Vocabulary

EXCESS: Final = 1e-3
"""How far rounding may lift Σq above 1; what is above is scaled away, so it earns nothing."""
TIE: Final = 1e-3
"""Nats within which two tokens count as equally likely, and two writings of one log-probability as the same."""
_TOKEN = re.compile(r"token_id:(0|[1-9][0-9]{0,8})")


class Position(NamedTuple):
    """One generated token and the report it was taken from."""

    chosen: int
    listed: IntArray
    """Distinct token ids, the chosen one among them."""
    logprobs: FloatArray
    """Natural logarithms, one a listed token."""


class Answer(NamedTuple):
    """Everything a miner said, position by position; at least one."""

    positions: tuple[Position, ...]


def read_tokens(r: CompletionResponse, asked: CompletionRequest, vocabulary: Vocabulary) -> Answer:
    """Read an answer in the pinned vocabulary.

    Raises
    ------
    BadAnswer
        Not one choice; halted; more tokens than asked for, or none; lists of unequal length; a token id malformed,
        unknown or listed twice; a log-probability above 0 or not finite; Σq > 1; a chosen token that is not the
        reported most likely one; text that is not the tokens'.
    """
    text, finish, log = choice_of(r, asked)
    positions = tuple(
        _position(_id(token, vocabulary.size), chosen, _ids(top, vocabulary.size), (asked.logprobs or 0) + 1)
        for token, chosen, top in zip(log.tokens, log.token_logprobs, log.top_logprobs, strict=True)
    )
    _check_text(text, vocabulary.bytes_of([p.chosen for p in positions]), cut=finish == "stop" and bool(asked.stop))
    return Answer(positions)


def choice_of(r: CompletionResponse, asked: CompletionRequest) -> tuple[str, str | None, Logprobs]:
    """Text, finish reason and log-probabilities of an answer that is one finished choice of fitting length.

    Raises
    ------
    BadAnswer
    """
    if len(r.choices) != 1:
        raise BadAnswer(f"{len(r.choices)} choices where one is asked for")
    choice = r.choices[0]
    log = choice.logprobs
    if choice.finish_reason not in ("stop", "length"):
        raise BadAnswer(f"the answer did not come to its end: finish_reason is {choice.finish_reason!r}")
    if log is None:
        raise BadAnswer("no logprobs; every answer must report them")
    count = len(log.tokens)
    if not len(log.token_logprobs) == len(log.top_logprobs) == count:
        raise BadAnswer("tokens, token_logprobs and top_logprobs differ in length")
    if not 1 <= count <= asked.max_tokens:
        raise BadAnswer(f"{count} tokens where 1 to {asked.max_tokens} are asked for")
    if choice.finish_reason == "length" and count < asked.max_tokens:
        raise BadAnswer(f"finish_reason is 'length' after {count} of {asked.max_tokens} tokens")
    return choice.text, choice.finish_reason, log


def _position(token: int, logprob: float, top: dict[int, float], most: int) -> Position:
    if not 1 <= len(top) <= most:
        raise BadAnswer(f"{len(top)} listed tokens where 1 to {most} may stand")
    values = np.fromiter(top.values(), dtype=np.float64, count=len(top))
    check_probabilities(values)
    if token not in top or not abs(top[token] - logprob) <= TIE:
        raise BadAnswer(f"the chosen token {token} is not listed with its own log-probability")
    if logprob < float(values.max()) - TIE:
        raise BadAnswer(f"the chosen token {token} is not the reported most likely one")
    return Position(token, np.fromiter(top, dtype=np.int64, count=len(top)), values)


def check_probabilities(logprobs: FloatArray) -> None:
    """Check that natural log-probabilities are finite, not above 0, and sum to at most 1 + `EXCESS`.

    Raises
    ------
    BadAnswer
    """
    if not np.isfinite(logprobs).all() or float(logprobs.max()) > EXCESS:
        raise BadAnswer("a log-probability is above 0 or not finite")
    if float(np.exp(logprobs).sum()) > 1.0 + EXCESS:
        raise BadAnswer("the listed probabilities sum to more than 1")


def _ids(top: dict[str, float], size: int) -> dict[int, float]:
    found = {_id(key, size): value for key, value in top.items()}
    if len(found) != len(top):
        raise BadAnswer("a token is listed twice")
    return found


def _id(token: str, size: int) -> int:
    match = _TOKEN.fullmatch(token)
    if match is None or int(match[1]) >= size:
        raise BadAnswer(f"{token[:32]!r} is not a token of the pinned vocabulary; write token_id:<n>, n below {size}")
    return int(match[1])


def _check_text(text: str, raw: bytes, *, cut: bool) -> None:
    """The text is the tokens' bytes; a character cut at the end, and what a stop string cut, may be missing."""
    whole = raw.decode("utf-8", "replace")
    if text in (whole, whole.rstrip("\ufffd")) or (cut and whole.startswith(text)):
        return
    raise BadAnswer("the text is not that of the reported tokens")

"""The part of OpenAI's completion API that davy speaks, as types: what a request may hold, what an answer looks like.

One field is an extension known from other servers: with ``return_tokens_as_token_ids`` tokens are written as
``token_id:<n>``, since a token's text does not always name the token. Fields of OpenAI's that davy does not do are
refused by name, never silently ignored.
"""

from __future__ import annotations

import base64
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from davy.protocol.errors import Malformed, TooLarge
from davy.protocol.limits import MAX_COMPLETION_TOKENS, MAX_LOGPROBS, MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES
from davy.protocol.words import INT63

T = TypeVar("T")


class StreamOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """``include_usage``: a last chunk without choices that carries the token counts."""

    include_usage: bool = False


class CompletionRequest(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``POST /v1/completions``. `model` is a model id in hex, or the name in its manifest."""

    model: Annotated[str, Meta(min_length=1, max_length=128)]
    prompt: Annotated[str, Meta(min_length=1, max_length=MAX_REQUEST_BYTES)]
    max_tokens: Annotated[int, Meta(ge=1, le=MAX_COMPLETION_TOKENS)] = 16
    temperature: Annotated[float, Meta(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    logprobs: Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)] | None = None
    seed: Annotated[int, Meta(ge=0, le=INT63)] | None = None
    stop: (
        Annotated[str, Meta(max_length=64)]
        | Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=4)]
        | None
    ) = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    return_tokens_as_token_ids: bool = False
    user: Annotated[str, Meta(max_length=128)] | None = None
    n: Annotated[int, Meta(ge=1, le=1)] = 1
    best_of: Annotated[int, Meta(ge=1, le=1)] = 1
    echo: bool = False
    presence_penalty: Annotated[float, Meta(ge=0, le=0)] = 0.0
    frequency_penalty: Annotated[float, Meta(ge=0, le=0)] = 0.0


class Logprobs(Struct, frozen=True):
    """Per generated token: itself, its natural log-probability, the listed alternatives (the chosen one among them)."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class Choice(Struct, frozen=True):
    """`finish_reason` is None until the last chunk: ``stop``, ``length`` or ``halted``."""

    index: int
    text: str
    logprobs: Logprobs | None = None
    finish_reason: str | None = None


class Usage(Struct, frozen=True):
    """Token counts by the serving tokenizer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CompletionResponse(Struct, frozen=True):
    """A whole answer, or one chunk of a stream (then `usage` only in the last, if asked for)."""

    id: str
    created: int
    """Unix seconds."""
    model: str
    choices: list[Choice]
    object: str = "text_completion"
    usage: Usage | None = None


class ModelCard(Struct, frozen=True):
    """One entry of ``GET /v1/models``; `root` is the name in the manifest."""

    id: str
    created: int
    owned_by: str
    root: str
    object: str = "model"


class ModelList(Struct, frozen=True):
    """``GET /v1/models``."""

    data: list[ModelCard]
    object: str = "list"


class ErrorDetail(Struct, frozen=True):
    """What OpenAI's clients raise: they show `message` and expose `type`, `param` and `code`."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None
    order: str | msgspec.UnsetType = msgspec.UNSET
    """Beside `model_halted`: base64 of the signed order, which anyone can verify."""


class ErrorBody(Struct, frozen=True):
    """The body of every answer that is no success."""

    error: ErrorDetail


def parse_request(body: bytes) -> CompletionRequest:
    """Decode a completion request.

    Raises
    ------
    TooLarge, Malformed
        The message names the field.
    """
    if len(body) > MAX_REQUEST_BYTES:
        raise TooLarge(f"a request body holds at most {MAX_REQUEST_BYTES} bytes; shorten the prompt")
    request = _parse(body, CompletionRequest)
    if request.echo:
        raise Malformed("echo is not served: scores are never taken from a prompt's own tokens; leave it out")
    return request


def parse_response(body: bytes) -> CompletionResponse:
    """Decode a completion response, or one chunk.

    Raises
    ------
    TooLarge, Malformed
    """
    if len(body) > MAX_RESPONSE_BYTES:
        raise TooLarge(f"a response body holds at most {MAX_RESPONSE_BYTES} bytes")
    return _parse(body, CompletionResponse)


def to_json(value: Struct) -> bytes:
    """Encode any of these types."""
    return msgspec.json.encode(value)


def error_body(message: str, kind: str, code: str | None = None, param: str | None = None, order: bytes = b"") -> bytes:
    """Build the error body that OpenAI's clients read."""
    shown = base64.b64encode(order).decode() if order else msgspec.UNSET
    return to_json(ErrorBody(ErrorDetail(message=message, type=kind, param=param, code=code, order=shown)))


def _parse(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, UnicodeDecodeError) as e:
        raise Malformed(f"not a valid {kind.__name__}: {e}") from None

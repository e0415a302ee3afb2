"""Errors of davy as answers to a client, and back: one table for every transport.

The body is what OpenAI's clients read. They retry 408, 409, 429 and 5xx by themselves unless ``x-should-retry`` says
otherwise, so every answer here says it. An answer names nothing of this machine: what is wrong here goes to the log.
"""

from __future__ import annotations

import base64
import logging
from typing import Final, NamedTuple

import msgspec

from davy.network.failures import printable
from davy.network.freshness import RetryFresh
from davy.network.openai import ErrorBody, error_body
from davy.protocol.errors import (
    BadAnswer,
    BadSignature,
    Busy,
    DavyError,
    Expired,
    Malformed,
    Misconfigured,
    Misdirected,
    ModelHalted,
    NotEnabled,
    Refused,
    Replayed,
    TooLarge,
    TxFailed,
    Unauthorised,
    UnknownRoster,
    Unreachable,
)
from davy.protocol.limits import MAX_HEADER_BYTES
from davy.protocol.ports import Handler, Response, SendFrame, SignedRequest, StreamReply

ORDER_HEADER: Final = "davy-order"
"""Base64 of the signed order that halts the model, beside status 451; one too long for a header is in the body only."""
_MAX_WAIT_MS: Final = 60_000

_log = logging.getLogger(__name__)


class Row(NamedTuple):
    """How one error is told. `kind` is OpenAI's `type`."""

    error: type[DavyError]
    status: int
    kind: str
    code: str
    retry: bool


TABLE: Final = (
    Row(Malformed, 400, "invalid_request_error", "malformed", False),
    Row(BadSignature, 401, "authentication_error", "bad_signature", False),
    Row(Expired, 401, "authentication_error", "expired", False),
    Row(Unauthorised, 403, "permission_error", "unauthorised", False),
    Row(Replayed, 409, "conflict_error", "retry_fresh", True),
    Row(TooLarge, 413, "invalid_request_error", "too_large", False),
    Row(Misdirected, 421, "invalid_request_error", "misdirected", False),
    Row(TxFailed, 422, "invalid_request_error", "transaction_failed", False),
    Row(UnknownRoster, 422, "invalid_request_error", "unknown_roster", False),
    Row(Busy, 429, "rate_limit_error", "busy", True),
    Row(ModelHalted, 451, "model_halted", "model_halted", False),
    Row(NotEnabled, 501, "server_error", "not_enabled", False),
    Row(BadAnswer, 502, "server_error", "bad_answer", True),
    Row(Misconfigured, 503, "server_error", "unavailable", True),
    Row(Unreachable, 504, "server_error", "unreachable", True),
    # what has no row of its own
    Row(Refused, 400, "invalid_request_error", "refused", False),
    Row(DavyError, 500, "server_error", "internal", True),
)
"""The first row whose class an error belongs to tells it."""


async def answer(handler: Handler, request: SignedRequest) -> Response | StreamReply:
    """Ask a handler; whatever it raises becomes an answer."""
    try:
        return await handler.handle(request)
    except DavyError as e:
        return error_response(e)
    except Exception:
        _log.exception("a handler failed at %s %s", request.method, request.path)
        return internal_error()


async def pump_to_end(reply: StreamReply, send: SendFrame) -> bool:
    """Run a stream's pump; whether it came to its end. Where not, the transport must break the stream off.

    A handler tells its client of an error by an event of its own, inside the pump; what gets out of it is a failure.
    """
    try:
        await reply.pump(send)
    except Exception:
        _log.exception("a stream failed")
        return False
    return True


def error_response(e: DavyError) -> Response:
    """Return the answer that tells a client of an error, by the table above."""
    row, message = told(e)
    headers = [("content-type", "application/json"), ("x-should-retry", "true" if row.retry else "false")]
    if isinstance(e, RetryFresh):
        headers.append(("retry-after-ms", str(min(e.wait_ms, _MAX_WAIT_MS))))
    elif isinstance(e, Busy):
        headers.append(("retry-after", "1"))
    elif isinstance(e, ModelHalted) and e.order:
        order = base64.b64encode(e.order).decode()
        if len(order) <= MAX_HEADER_BYTES // 2:
            headers.append((ORDER_HEADER, order))
    body = error_body(message, row.kind, row.code, order=e.order if isinstance(e, ModelHalted) else b"")
    return Response(row.status, tuple(headers), body)


def told(e: DavyError) -> tuple[Row, str]:
    """Return the row of an error, and what others may be told of it; what is wrong on this machine goes to the log."""
    row = next(r for r in TABLE if isinstance(e, r.error))
    if row.error is not Misconfigured:
        return row, str(e)
    _log.error("cannot serve: %s", e)
    return row, "this node cannot serve now; ask another one"


def internal_error() -> Response:
    """Return the answer of a node that failed; the reason stays in its log."""
    headers = (("content-type", "application/json"), ("x-should-retry", "true"))
    return Response(500, headers, error_body("this node failed; ask another one", "server_error", "internal"))


def response_error(response: Response) -> DavyError:
    """Return the error that an answer of another node tells of; `raise` it.

    What cannot be read, or has no row, is BadAnswer.
    """
    try:
        detail = msgspec.json.decode(response.body, type=ErrorBody).error
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, UnicodeDecodeError):
        return BadAnswer(f"the node answered with status {response.status} and no error that can be read")
    headers = dict(response.headers)
    row = next((r for r in TABLE if (r.status, r.code) == (response.status, detail.code)), None)
    message = printable(detail.message)
    if row is None or row.error in (DavyError, Misconfigured, TxFailed):
        return BadAnswer(f"the node answered with status {response.status}: {message}")
    if row.error is ModelHalted:
        return ModelHalted(message, order_of(headers.get(ORDER_HEADER) or detail.order or ""))
    if row.error is Replayed:
        wait = headers.get("retry-after-ms", "0")
        return RetryFresh(message, min(int(wait), _MAX_WAIT_MS) if wait.isdecimal() and len(wait) < 10 else 0)
    return row.error(message)


def order_of(text: str) -> bytes:
    """Read the order that a refusal shows in base64; empty where it cannot be read."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # of base64, or a letter that is none of ASCII
        return b""

"""The table is whole, says what OpenAI's clients need, tells nothing of the machine, and can be read back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.network.error_responses import ORDER_HEADER, TABLE, error_response, internal_error, response_error
from davy.network.freshness import RetryFresh
from davy.protocol import errors
from davy.protocol.errors import (
    BadAnswer,
    Busy,
    DavyError,
    Expired,
    Misconfigured,
    ModelHalted,
    Refused,
    Replayed,
    StoreFailed,
    TxCode,
    TxFailed,
)
from davy.protocol.ports import Response

ERRORS: list[type[DavyError]] = [
    e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, DavyError) and e is not TxFailed
]


def made(kind: type[DavyError]) -> DavyError:
    return errors.Misbehaved("a sentence", ()) if kind is errors.Misbehaved else kind("a sentence")


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_is_told_as_openai_clients_read_it(kind: type[DavyError]) -> None:
    r = error_response(made(kind))
    detail = json.loads(r.body)["error"]
    assert set(detail) == {"message", "type", "param", "code"}
    assert dict(r.headers)["content-type"] == "application/json"
    assert dict(r.headers)["x-should-retry"] in ("true", "false")
    assert 400 <= r.status < 600


@pytest.mark.parametrize(
    ("error", "status", "code", "retry"),
    [
        (errors.Malformed("x"), 400, "malformed", False),
        (errors.BadSignature("x"), 401, "bad_signature", False),
        (Expired("x"), 401, "expired", False),
        (errors.Unauthorised("x"), 403, "unauthorised", False),
        (Replayed("x"), 409, "retry_fresh", True),
        (RetryFresh("x", 700), 409, "retry_fresh", True),
        (errors.TooLarge("x"), 413, "too_large", False),
        (errors.Misdirected("x"), 421, "misdirected", False),
        (TxFailed(TxCode.FULL, "x"), 422, "transaction_failed", False),
        (Busy("x"), 429, "busy", True),
        (ModelHalted("x"), 451, "model_halted", False),
        (errors.NotEnabled("x"), 501, "not_enabled", False),
        (BadAnswer("x"), 502, "bad_answer", True),
        (StoreFailed("x"), 503, "unavailable", True),
        (errors.Unreachable("x"), 504, "unreachable", True),
        (Refused("x"), 400, "refused", False),
        (DavyError("x"), 500, "internal", True),
    ],
)
def test_the_table(error: DavyError, status: int, code: str, retry: bool) -> None:
    r = error_response(error)
    assert (r.status, json.loads(r.body)["error"]["code"]) == (status, code)
    assert dict(r.headers)["x-should-retry"] == str(retry).lower()


def test_no_two_errors_look_the_same() -> None:
    told = [(row.status, row.code) for row in TABLE]
    assert len(set(told)) == len(told)


def test_waits_are_told_and_bounded() -> None:
    assert dict(error_response(RetryFresh("x", 700)).headers)["retry-after-ms"] == "700"
    assert dict(error_response(RetryFresh("x", 10**9)).headers)["retry-after-ms"] == "60000"
    assert dict(error_response(Busy("x")).headers)["retry-after"] == "1"


def test_what_is_wrong_here_stays_here(caplog: pytest.LogCaptureFixture) -> None:
    r = error_response(StoreFailed("cannot write /home/alice/.davy/store"))
    assert b"alice" not in r.body
    assert "alice" in caplog.text
    assert json.loads(internal_error().body)["error"]["code"] == "internal"


READ_BACK = [row.error for row in TABLE if row.error not in (DavyError, Misconfigured, TxFailed, ModelHalted, Replayed)]


@pytest.mark.parametrize("kind", READ_BACK)
def test_an_error_is_read_back(kind: type[DavyError]) -> None:
    e = response_error(error_response(kind("a sentence")))
    assert type(e) is kind
    assert str(e) == "a sentence"


def test_a_halt_brings_its_order() -> None:
    e = response_error(error_response(ModelHalted("order 7", b"\x00order")))
    assert isinstance(e, ModelHalted)
    assert e.order == b"\x00order"
    large = error_response(ModelHalted("order 7", bytes(10_000)))
    assert "davy-order" not in dict(large.headers)


def test_retry_fresh_brings_its_wait() -> None:
    e = response_error(error_response(RetryFresh("x", 700)))
    assert isinstance(e, RetryFresh)
    assert e.wait_ms == 700


@pytest.mark.parametrize("kind", [Misconfigured, DavyError])
def test_what_is_wrong_there_is_a_bad_answer(kind: type[DavyError]) -> None:
    assert type(response_error(error_response(kind("x")))) is BadAnswer


@given(
    st.integers(100, 599) | st.sampled_from([row.status for row in TABLE]),
    st.binary(max_size=50)
    | st.fixed_dictionaries(
        {"error": st.fixed_dictionaries({"message": st.text(), "type": st.text(), "code": st.text() | st.none()})}
    ).map(lambda d: json.dumps(d).encode())
    | st.sampled_from(TABLE).map(
        lambda row: error_response(made(Busy) if row.error is TxFailed else made(row.error)).body
    ),
    st.lists(st.tuples(st.sampled_from(["davy-order", "retry-after-ms"]), st.text(max_size=12)), max_size=2),
)
def test_any_answer_gives_an_error(status: int, body: bytes, headers: list[tuple[str, str]]) -> None:
    assert isinstance(response_error(Response(status, tuple(headers), body)), DavyError)


@pytest.mark.parametrize("order", ["é", "\udcff", "not base64", "AAA"])
@pytest.mark.parametrize("place", ["header", "body"])
def test_an_order_that_cannot_be_read_is_none(order: str, place: str) -> None:
    detail = {"message": "halted", "type": "model_halted", "param": None, "code": "model_halted"}
    if place == "body":
        detail["order"] = order.encode(errors="replace").decode()
    headers = ((ORDER_HEADER, order),) if place == "header" else ()
    told = response_error(Response(451, headers, json.dumps({"error": detail}).encode()))
    assert isinstance(told, ModelHalted)
    assert told.order == b""


def test_anothers_words_move_no_cursor() -> None:
    detail = {"message": "no\r\x1b[2Aledger: recorded in a block\n", "type": "t", "param": None, "code": "busy"}
    told = response_error(Response(429, (), json.dumps({"error": detail}).encode()))
    assert str(told) == "no  [2Aledger: recorded in a block "

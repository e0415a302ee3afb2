"""A receipt holds for one request, one answer, one miner; anything else that it is shown with is refused."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.network.events import data_frame
from davy.network.receipts import (
    Served,
    StreamDigest,
    check_receipt,
    make_receipt,
    receipt_frame,
    receipt_header,
    receipt_in,
    receipt_of,
    response_digest,
)
from davy.network.signed import RequestVerifier
from davy.protocol.encoding import encode
from davy.protocol.errors import BadSignature, Malformed, Misdirected, Refused, TooLarge
from davy.protocol.manifest import Identity
from davy.protocol.ports import Response, SignedRequest
from davy.protocol.receipt import EMPTY_BRAKE_HEAD, Outcome, Receipt, SignedReceipt, open_receipt
from davy.protocol.signing import Domain
from davy.protocol.words import KeyRole
from tests.network.conftest import ANCHOR, CHAIN, Sign
from tests.twins import MemoryStore, SeededKeys, SetClock

pytestmark = pytest.mark.anyio
HOTKEY = KeyRole.HOTKEY
ANSWER = b'{"choices":[]}'


def served(body: bytes = ANSWER) -> Served:
    return Served(
        response_body=response_digest(body),
        model_id=bytes([3]) * 32,
        identity=Identity.FILES,
        brake_head=EMPTY_BRAKE_HEAD,
        prompt_tokens=5,
        completion_tokens=7,
        outcome=Outcome.DONE,
        created=1_800_000_000_500,
    )


@pytest.fixture
async def exchange(miner: SeededKeys, clock: SetClock, sign: Sign) -> tuple[SignedRequest, bytes]:
    """A request as it was sent, and the receipt for its answer."""
    sent = sign()
    verifier = RequestVerifier(miner.public(HOTKEY), CHAIN, clock, MemoryStore())
    await verifier.open()
    return sent, make_receipt(miner, CHAIN, await verifier.verify(sent), sent.body, served())


async def test_a_receipt_says_what_was_served(
    exchange: tuple[SignedRequest, bytes], caller: SeededKeys, miner: SeededKeys
) -> None:
    sent, raw = exchange
    r = check_receipt(raw, sent=sent, miner=miner.public(HOTKEY), response_body=response_digest(ANSWER))
    assert (r.miner, r.caller, r.chain, r.anchor) == (miner.public(HOTKEY), caller.public(HOTKEY), CHAIN, ANCHOR)
    assert (r.prompt_tokens, r.completion_tokens, r.outcome, r.model_id) == (5, 7, Outcome.DONE, bytes([3]) * 32)


async def test_it_holds_for_one_exchange_only(
    exchange: tuple[SignedRequest, bytes], miner: SeededKeys, sign: Sign
) -> None:
    sent, raw = exchange
    ours, got = miner.public(HOTKEY), response_digest(ANSWER)
    with pytest.raises(BadSignature, match="another answer"):
        check_receipt(raw, sent=sent, miner=ours, response_body=response_digest(ANSWER + b" "))
    with pytest.raises(BadSignature, match="another request"):
        check_receipt(raw, sent=sign(), miner=ours, response_body=got)
    with pytest.raises(BadSignature, match="another miner"):
        check_receipt(raw, sent=sent, miner=SeededKeys(8).public(HOTKEY), response_body=got)
    with pytest.raises(Misdirected):
        check_receipt(raw, sent=sign(keys=SeededKeys(6)), miner=ours, response_body=got)


CHANGES: dict[str, Any] = {
    "chain": bytes(32),
    "caller": bytes(32),
    "miner": SeededKeys(8).public(HOTKEY),
    "request_id": bytes(32),
    "request_body": bytes(32),
    "response_body": bytes(32),
    "anchor": type(ANCHOR)(42, ANCHOR.hash),
}


@pytest.mark.parametrize("field", CHANGES)
async def test_a_rightly_signed_receipt_of_something_else_is_refused(
    exchange: tuple[SignedRequest, bytes], miner: SeededKeys, field: str
) -> None:
    """The miner itself signs what does not fit what was sent and got."""
    sent, raw = exchange
    fields: dict[str, Any] = {name: getattr(open_receipt(raw), name) for name in Receipt.__struct_fields__}
    body = encode(Receipt(**(fields | {field: CHANGES[field]})))
    forged = encode(SignedReceipt(1, body, miner.sign(HOTKEY, Domain.RECEIPT, body)))
    with pytest.raises((BadSignature, Misdirected)):
        check_receipt(forged, sent=sent, miner=miner.public(HOTKEY), response_body=response_digest(ANSWER))


async def test_any_changed_byte_is_refused(exchange: tuple[SignedRequest, bytes], miner: SeededKeys) -> None:
    sent, raw = exchange
    for i in range(len(raw)):
        with pytest.raises(Refused):
            check_receipt(
                raw[:i] + bytes([raw[i] ^ 1]) + raw[i + 1 :],
                sent=sent,
                miner=miner.public(HOTKEY),
                response_body=response_digest(ANSWER),
            )


async def test_another_domain_is_refused(exchange: tuple[SignedRequest, bytes], miner: SeededKeys) -> None:
    sent, raw = exchange
    body = encode(open_receipt(raw))
    forged = encode(SignedReceipt(1, body, miner.sign(HOTKEY, Domain.TX, body)))
    with pytest.raises(BadSignature):
        check_receipt(forged, sent=sent, miner=miner.public(HOTKEY), response_body=response_digest(ANSWER))


def test_a_stream_is_its_data_payloads() -> None:
    d = StreamDigest()
    for frame in [data_frame(b'{"a":1}'), b": a comment", b"data:no space", b": receipt AAAA", b"data: [DONE]"]:
        d.add(frame)
    assert d.value() == response_digest(b'{"a":1}\nno space\n')


def test_the_ways_a_receipt_travels() -> None:
    raw = bytes(range(200))
    assert receipt_in(receipt_frame(raw)) == raw
    assert receipt_of(Response(200, (("x", "y"), receipt_header(raw)), b"")) == raw
    assert receipt_in(b"data: x") is None
    assert receipt_of(Response(200, (), b"")) is None


@pytest.mark.parametrize("text", ["=", "AAA", "A A A A", "é", "-_-_"])
def test_what_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        receipt_in(b": receipt " + text.encode())
    with pytest.raises(Malformed):
        receipt_of(Response(200, (("davy-receipt", text),), b""))


def test_one_receipt_within_bounds() -> None:
    field = receipt_header(bytes(10))
    with pytest.raises(Malformed):
        receipt_of(Response(200, (field, field), b""))
    with pytest.raises(TooLarge):
        receipt_in(b": receipt " + base64.b64encode(bytes(2_000)))


@given(st.binary(max_size=300))
def test_any_frame_is_read_or_refused(data: bytes) -> None:
    try:
        receipt_in(b": receipt " + data)
    except Refused:
        return
    assert receipt_frame(base64.b64decode(data)) == b": receipt " + data or data.endswith(b"=")


@pytest.mark.parametrize("value", ["\udcff\udcfe", "é", "="])
def test_a_receipt_in_no_letters_of_base64_is_refused(value: str) -> None:
    with pytest.raises(Malformed):
        receipt_of(Response(200, (("davy-receipt", value),), b""))

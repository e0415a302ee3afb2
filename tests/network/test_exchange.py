"""An exchange shows what its miner signed, and nothing else; a store keeps the last ones for whoever reads."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from davy.network.exchange import BATCH, BATCHES, Exchange, Exchanges, open_exchange
from davy.network.openai import CompletionRequest, to_json
from davy.network.receipts import Served, StreamDigest, make_receipt, response_digest
from davy.network.signed import Caller
from davy.protocol.errors import BadSignature, Malformed, Misdirected, Refused
from davy.protocol.manifest import Identity
from davy.protocol.receipt import EMPTY_BRAKE_HEAD, Anchor, Outcome
from tests.twins import MemoryStore, SeededKeys

CHAIN = bytes(range(32))
MINER = SeededKeys(2)
CALLER = Caller(b"c" * 32, b"r" * 32, Anchor(5, bytes(32)), EMPTY_BRAKE_HEAD, 1)


def exchange(*answer: bytes, stream: bool = False, number: int = 0) -> Exchange:
    request = to_json(CompletionRequest("m", f"p{number}", stream=stream))
    said = StreamDigest()
    for payload in answer:
        said.add_payload(payload)
    body = said.value() if stream else response_digest(b"".join(answer))
    served = Served(body, b"m" * 32, Identity.FILES, EMPTY_BRAKE_HEAD, 1, 1, Outcome.DONE, 1)
    return Exchange(1, request, stream, answer, make_receipt(MINER, CHAIN, CALLER, request, served))


def test_what_was_signed_is_shown() -> None:
    for e in (exchange(b"{}"), exchange(b"{}", b"[]", stream=True)):
        opened = open_exchange(e, CHAIN)
        assert (opened.asked.prompt, opened.receipt.model_id) == ("p0", b"m" * 32)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        (replace(exchange(b"{}"), request=to_json(CompletionRequest("m", "other"))), BadSignature),
        (replace(exchange(b"{}"), answer=(b"{ }",)), BadSignature),
        (replace(exchange(b"{}", b"[]", stream=True), answer=(b"[]", b"{}")), BadSignature),
        (replace(exchange(b"{}"), receipt=b"\x90"), Refused),
        # bytes whose digest is the same, read in another way: nobody may be accused by them
        (replace(exchange(b"{}", b"[]", stream=True), answer=(b"{}\n[]",)), Malformed),
        (replace(exchange(b"{}", b"[]", stream=True), streamed=False, answer=(b"{}\n[]\n",)), Malformed),
        (replace(exchange(b"{}\n"), streamed=True, answer=(b"{}",)), Malformed),
        (exchange(), Malformed),
        (exchange(b"{}", b" "), Malformed),
    ],
)
def test_what_was_not_signed_is_refused(changed: Exchange, error: type[Refused]) -> None:
    with pytest.raises(error):
        open_exchange(changed, CHAIN)


def test_another_chains_receipt_shows_nothing_here() -> None:
    with pytest.raises(Misdirected):
        open_exchange(exchange(b"{}"), bytes(32))


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@pytest.mark.anyio
async def test_a_reader_gets_what_is_new_and_the_oldest_goes() -> None:
    store = MemoryStore()
    writer, reader = Exchanges(store), Exchanges(store.copy())
    assert await reader.after(0) == (0, [])
    first = tuple(exchange(b"{}", number=n) for n in range(BATCH))
    await writer.add(first)
    assert await Exchanges(store).after(0) == (1, list(first))
    for n in range(BATCHES):
        await writer.add((exchange(b"{}", number=n),))
    newest, found = await Exchanges(store).after(0)
    assert (newest, len(found)) == (BATCHES + 1, BATCHES)
    assert await Exchanges(store).after(newest) == (newest, [])
    assert len((await Exchanges(store).after(newest - 1))[1]) == 1
    assert await Exchanges(MemoryStore()).after(newest) == (0, [])

"""What a ledger says about a transaction moves nobody to sign it again: what became of it is proved, or not known."""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from davy.ledger.client import RpcLedger
from davy.ledger.rules.machine import Verdict
from davy.ledger.submit import hand_in, send
from davy.protocol.chain import Account
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Expired, Refused, TxCode, TxFailed, Unreachable
from davy.protocol.order import Drill, Global, open_order, order_id
from davy.protocol.transaction import Transfer, open_tx, tx_hash
from davy.protocol.words import KeyRole
from tests.ledger.driver.conftest import Ledger

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def making_blocks(served: Ledger) -> AsyncIterator[None]:
    async def make() -> None:
        while True:
            await served.producer.make_block()
            await anyio.sleep(0.005)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(make)
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()


async def included(served: Ledger) -> list[bytes]:
    heights = range(1, served.producer.head.height + 1)
    return [tx.raw for height in heights for tx in served.producer.store.txs(height)]


class Liar:
    """Takes every transaction, says that its nonce was another's, counts the nonce up, and knows no transaction."""

    def __init__(self, *methods: str) -> None:
        self.taken = 0
        self.about = methods

    def __call__(self, call: Any, answer: Any) -> Any:
        method = call["method"]
        if method not in self.about:
            return answer
        if method == "broadcast_tx_sync" and answer["result"]["code"] == 0:
            self.taken += 1
            answer["result"] |= {"code": int(TxCode.WRONG_NONCE), "log": "sign again"}
        if method == "tx":
            return {"jsonrpc": "2.0", "id": call["id"], "error": {"code": -1, "message": "", "data": "not found"}}
        if method == "abci_query" and call["params"]["path"] == "/nonce":
            said = decode(base64.b64decode(answer["result"]["response"]["value"]), Account, limit=10**4)
            told = encode(Account(max(said.nonce, self.taken), *[getattr(said, f) for f in said.__struct_fields__[1:]]))
            answer["result"]["response"]["value"] = base64.b64encode(told).decode()
        if method == "blockchain":
            answer["result"]["block_metas"] = answer["result"]["block_metas"][1:]
        if method == "block":
            answer["result"]["block"]["data"]["txs"] = []
        return answer


@pytest.mark.parametrize("more", [(), ("block",), ("blockchain",)])
async def test_a_liar_has_one_transfer_signed_once(client: RpcLedger, served: Ledger, more: tuple[str, ...]) -> None:
    alice, bob = served.chain.people[:2]
    async with making_blocks(served):
        served.bend = liar = Liar("broadcast_tx_sync", "abci_query", "tx", *more)
        with pytest.raises(
            Unreachable, match=r"transaction with nonce 0 cannot be known .*look whether it was included"
        ):
            await send(client, alice, KeyRole.COLDKEY, Transfer(bob.public(), 10))
        assert liar.taken == 1
        served.bend = lambda call, answer: answer
        assert (await client.account(bob.public())).free == 10**12 + 10


async def test_it_is_found_in_its_block_though_the_ledger_denied_it_at_the_door(
    client: RpcLedger, served: Ledger
) -> None:
    alice, bob = served.chain.people[:2]
    async with making_blocks(served):
        served.bend = Liar("broadcast_tx_sync", "abci_query")
        result = await send(client, alice, KeyRole.COLDKEY, Transfer(bob.public(), 10))
    assert (result.code, len(await included(served))) == (0, 1)


async def test_who_was_overtaken_signs_again_when_that_is_proved(client: RpcLedger, served: Ledger) -> None:
    alice, bob = served.chain.people[:2]
    count: Callable[[bytes], Any] = client.nonce
    first = True

    async def overtaken(key: bytes) -> int:
        nonlocal first
        nonce = await count(key)
        if first:
            first = False
            served.producer.submit(served.chain.tx(0, nonce))
        return nonce

    client.nonce = overtaken  # type: ignore[method-assign]
    async with making_blocks(served):
        assert (await send(client, alice, KeyRole.COLDKEY, Transfer(bob.public(), 10))).code == 0
    assert [open_tx(raw)[1].nonce for raw in await included(served)] == [0, 1]
    assert served.calls.count("block") == 1, "blocks that are empty by their header are not read"


async def test_many_senders_of_one_key_are_each_included_once(served: Ledger) -> None:
    alice, bob = served.chain.people[:2]

    async def pay(amount: int) -> None:
        async with RpcLedger(served.url, served.chain.id) as one:
            assert (await send(one, alice, KeyRole.COLDKEY, Transfer(bob.public(), amount))).code == 0

    async with making_blocks(served), anyio.create_task_group() as tasks:
        for amount in (1, 10, 100, 1_000, 10_000):
            tasks.start_soon(pay, amount)
    assert len(await included(served)) == 5


async def test_a_fate_is_proved_over_pages_and_not_while_the_nonce_is_free(client: RpcLedger, served: Ledger) -> None:
    mine, other = served.chain.tx(0, 0), served.chain.tx(0, 0, Transfer(bytes(32), 1))
    for _ in range(45):
        await served.producer.make_block()
    async with making_blocks(served):
        with pytest.raises(Expired, match="nonce 0 is not used up"):
            await client.fate(mine, after=0)
        served.producer.submit(mine)
        found = await client.outcome(tx_hash(mine), until=10**6)
        assert await client.fate(mine, after=0) == found
        assert await client.fate(other, after=0) is None
        assert await client.fate(mine, after=found.height) is None, "it is looked for after it was signed"


async def test_too_long_a_range_is_not_read(client: RpcLedger, served: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("davy.ledger.client.fates._MOST_BLOCKS", 1)
    await served.producer.make_block()
    async with making_blocks(served):
        served.producer.submit(served.chain.tx(0, 0))
        await client.outcome(tx_hash(served.chain.tx(0, 0)), until=10**6)
        with pytest.raises(Refused, match="too many to read"):
            await client.fate(served.chain.tx(0, 0), after=0)


async def test_an_order_or_a_drill_is_recorded_by_proof(client: RpcLedger, served: Ledger) -> None:
    halt, drill = served.chain.order(), served.chain.order(Drill(Global()))
    async with making_blocks(served):
        for order in (halt, drill):
            assert not await client.is_recorded(order_id(open_order(order)[0].order))
            await hand_in(client, order)
            assert await client.is_recorded(order_id(open_order(order)[0].order))


async def test_a_ledger_that_calls_every_order_recorded_is_not_believed(
    client: RpcLedger, served: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def takes_nothing(raw: bytes) -> Verdict:
        return Verdict(TxCode.EXISTS, "this order is recorded", b"", 0, tx_hash(raw))

    monkeypatch.setattr(served.producer, "hand_in", takes_nothing)
    async with making_blocks(served):
        with pytest.raises(TxFailed, match="its state holds no such order"):
            await hand_in(client, served.chain.order())

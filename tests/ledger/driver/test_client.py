"""A client believes what is proved: every head once and in order through restarts, and no other history."""

import base64
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web

from davy.ledger.client import RpcLedger
from davy.ledger.driver.embedded import Subscriber
from davy.ledger.driver.methods import Methods
from davy.ledger.driver.server import listening
from davy.ledger.rules.records import ACCOUNTS
from davy.ledger.submit import deliver
from davy.protocol.chain import Head
from davy.protocol.errors import (
    Busy,
    Expired,
    Malformed,
    Misconfigured,
    Misdirected,
    NotEnabled,
    Refused,
    TooLarge,
    TxCode,
    TxFailed,
    Unreachable,
)
from davy.protocol.ports import LedgerClient
from davy.protocol.transaction import tx_hash
from tests.ledger.driver.conftest import Ledger

pytestmark = pytest.mark.anyio


async def test_it_is_a_ledger_client(client: RpcLedger, served: Ledger) -> None:
    as_port: LedgerClient = client
    assert as_port.chain == served.chain.id


async def test_head_before_and_after_the_first_block(client: RpcLedger, served: Ledger) -> None:
    assert (await client.head()).height == 0
    made = await served.producer.make_block()
    assert await client.head() == made == await client.head()
    assert not client.has_engine


async def test_a_first_block_made_between_two_calls_is_the_head(
    client: RpcLedger, served: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = client._rpc.call

    async def late(method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "status":
            await served.producer.make_block()
        return await call(method, *args, **kwargs)

    monkeypatch.setattr(client._rpc, "call", late)
    assert (await client.head()).height == 1


async def test_a_transaction_is_acknowledged_by_its_block(client: RpcLedger, served: Ledger) -> None:
    raw = served.chain.tx(0, 0)
    assert await client.submit(raw) == tx_hash(raw)
    assert await client.submit(raw) == tx_hash(raw)  # waits already: the same thing
    await served.producer.make_block()
    result = await client.outcome(tx_hash(raw), until=1)
    assert (result.height, result.index, result.code) == (1, 0, 0)
    assert await client.nonce(served.chain.people[0].public()) == 1
    with pytest.raises(TxFailed, match="next nonce is 1") as refused:
        await client.submit(raw)
    assert refused.value.code is TxCode.WRONG_NONCE


async def test_what_is_in_a_block_not_announced_yet_is_waited_for(client: RpcLedger, served: Ledger) -> None:
    """The state may be ahead of the headers: a used-up nonce, and no transaction, would have it signed once more."""
    raw, before, seen = served.chain.tx(0, 0), served.producer.head, list[str]()
    served.producer.submit(raw)
    announced = await served.producer.make_block()
    served.producer.head = before
    call = client._rpc.call

    async def announce_later(method: str, *args: Any, **kwargs: Any) -> Any:
        seen.append(method)
        if seen.count("tx") == 2:
            served.producer.head = announced
        return await call(method, *args, **kwargs)

    client._rpc.call = announce_later  # type: ignore[method-assign]
    assert (await deliver(client, raw)).height == 1
    assert seen.count("broadcast_tx_sync") == 1


async def test_outcome_waits_and_ends_at_its_height(client: RpcLedger, served: Ledger) -> None:
    with pytest.raises(Expired, match="block 0 was made without"):
        await client.outcome(bytes(32), until=0)
    raw, seen = served.chain.tx(0, 0), list[int]()

    async def wait() -> None:
        seen.append((await client.outcome(tx_hash(raw), until=9)).height)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await served.producer.make_block()
        await served.producer.make_block()
        served.producer.submit(raw)
        await served.producer.make_block()
    assert seen == [3]


async def test_views(client: RpcLedger, served: Ledger) -> None:
    await served.producer.make_block()
    assert (await client.account(served.chain.people[1].public())).free == 10**12
    assert await client.subnets() == ()
    assert (await client.issuance()).issued == 3 * 10**12
    assert await client.genesis() == served.chain.genesis
    assert await client.epoch(1, 0) is None
    with pytest.raises(TxFailed) as refused:
        await client.metagraph(9)
    assert refused.value.code is TxCode.NOT_FOUND


async def test_only_the_newest_metagraph_is_kept(client: RpcLedger, served: Ledger, monkeypatch: Any) -> None:
    class Shown:
        height = 7

    async def view(*_: object) -> Any:
        return Shown()

    monkeypatch.setattr(client, "_view", view)
    assert (await client.metagraph(0, at=7)).height == 7
    with pytest.raises(NotEnabled, match="block 7 only"):
        await client.metagraph(0, at=6)


async def test_proved_waits_for_the_header_that_names_the_state(client: RpcLedger, served: Ledger) -> None:
    await served.producer.make_block()
    key, found = ACCOUNTS.tag + served.chain.people[0].public(), list[bytes | None]()

    async def ask() -> None:
        found.append(await client.proved(key))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await eventually(lambda: served.calls.count("header") > 2)
        assert found == []
        await served.producer.make_block()
    assert found == [(await served.producer.prove(key)).value]
    assert found[0]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(next_block, served)
        assert await client.proved(ACCOUNTS.tag + bytes(32)) is None


async def test_another_chain_is_refused_at_first_sight(served: Ledger) -> None:
    async with RpcLedger(served.url, bytes(32)) as client:
        for call in (client.head, client.genesis):
            with pytest.raises(Misdirected, match="runs another chain"):
                await call()


async def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(Misconfigured, match="write http://host:port"):
        RpcLedger("localhost:26657", bytes(32))


async def test_nobody_there_is_one_sentence(served: Ledger) -> None:
    await served.stop()
    async with RpcLedger(served.url, served.chain.id) as client:
        for call in (client.head(), client.submit(b"x"), client.nonce(bytes(32))):
            with pytest.raises(Unreachable, match=r"does not answer .* check that it runs, and its address"):
                await call


def answers(method: str, change: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """Bend what one method answers."""

    def bend(call: Any, answer: Any) -> Any:
        if call["method"] == method:
            change(answer["result"])
        return answer

    return bend


def forged(text: str) -> str:
    raw = base64.b64decode(text)
    return base64.b64encode(raw[:-1] + bytes([raw[-1] ^ 1])).decode()


async def test_a_forged_header_is_refused(client: RpcLedger, served: Ledger) -> None:
    await served.producer.make_block()
    served.bend = answers("header", lambda r: r.update(signed_header=forged(r["signed_header"])))
    with pytest.raises(Refused):
        await client.head()
    served.bend = answers("header", lambda r: r.update(signed_header="@@"))
    with pytest.raises(Malformed):
        await client.head()


async def test_a_ledger_that_goes_back_is_refused(client: RpcLedger, served: Ledger) -> None:
    await served.producer.make_block()
    old = await served.producer.make_block()
    assert await client.head() == old
    earlier = base64.b64encode(served.producer.store.header(1) or b"").decode()
    served.bend = answers("header", lambda r: r.update(signed_header=earlier))
    with pytest.raises(Refused, match="went back from block 2"):
        await client.head()


async def test_a_transaction_that_its_header_does_not_name_is_refused(client: RpcLedger, served: Ledger) -> None:
    txs = [served.chain.tx(0, 0), served.chain.tx(1, 0)]
    for raw in txs:
        served.producer.submit(raw)
    await served.producer.make_block()
    h = tx_hash(txs[0])
    assert (await client.outcome(h, until=1)).index == 0
    bends: list[Callable[[Any], Any]] = [
        lambda r: r.update(index=1),
        lambda r: r.update(index=5),
        lambda r: r.update(index=-1),
        lambda r: r["proof"].update(hashes=""),
        lambda r: r["proof"].update(hashes=base64.b64encode(h).decode()),
        lambda r: r["proof"].update(hashes=base64.b64encode(h + h).decode()),
    ]
    for bend in bends:
        served.bend = answers("tx", bend)
        with pytest.raises(Refused, match="does not name transaction"):
            await client.outcome(h, until=1)


async def test_a_wrong_proof_is_refused(client: RpcLedger, served: Ledger) -> None:
    await served.producer.make_block()
    await served.producer.make_block()
    key = ACCOUNTS.tag + served.chain.people[0].public()
    bends: list[Callable[[Any], Any]] = [
        lambda r: r["response"].update(value=base64.b64encode(b"lie").decode()),
        lambda r: r["response"].update(code=6, value=""),
        lambda r: r["response"].update(proofOps=None),
        lambda r: r["response"].update(proofOps={"ops": []}),
        lambda r: r["response"]["proofOps"]["ops"][0].update(data=forged(r["response"]["proofOps"]["ops"][0]["data"])),
    ]
    for bend in bends:
        served.bend = answers("abci_query", bend)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(next_block, served)
            with pytest.raises(Refused):
                await client.proved(key)


async def next_block(served: Ledger) -> None:
    """Make the block after the next query."""
    asked = served.calls.count("abci_query")
    await eventually(lambda: served.calls.count("abci_query") > asked)
    await served.producer.make_block()


async def eventually(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - what is waited for happens behind a socket
        await anyio.sleep(0.002)


async def test_answers_that_are_none_are_refused(client: RpcLedger, served: Ledger) -> None:
    await served.producer.make_block()
    await client.genesis()
    bent: list[tuple[Any, type[Exception]]] = [
        ({}, Refused),
        ([], Malformed),
        ({"result": {}}, Malformed),
        ({"result": {"signed_header": 5}}, Malformed),
        ({"error": {"code": -1, "message": "no"}}, Refused),
        ({"result": {"signed_header": "A" * 8_000_000}}, TooLarge),
        ({"id": -1, "result": {}}, Unreachable),
    ]
    for answer, error in bent:
        served.bend = lambda call, _, answer=answer: answer
        with pytest.raises(error):
            await client.head()
    served.bend = answers("broadcast_tx_sync", lambda r: r.update(code=12345, log="new"))
    with pytest.raises(TxFailed, match="new") as refused:
        await client.submit(served.chain.tx(0, 0))
    assert refused.value.code is TxCode.INTERNAL
    served.bend = lambda call, _: {"error": {"code": -32603, "message": "", "data": "mempool is full: 5"}}
    with pytest.raises(Busy, match="mempool is full"):
        await client.submit(served.chain.tx(0, 0))


async def test_an_answer_without_an_end_is_bounded() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1_000):
            await response.write(bytes(2**16))
        return response

    app = web.Application()
    app.router.add_post("/", endless)
    async with listening(app, "127.0.0.1", 0) as url, RpcLedger(url, bytes(32)) as client:
        with pytest.raises(TooLarge, match="ask another one"):
            await client.head()


async def collect(client: RpcLedger, after: int, until: int, seen: list[int]) -> None:
    async with client.blocks(after) as heads:
        async for head in heads:
            seen.append(head.height)
            if head.height >= until:
                return


@pytest.mark.parametrize("after", [0, 1, 30, 45])
async def test_every_head_comes_once_and_in_order(client: RpcLedger, served: Ledger, after: int) -> None:
    """Old ones in pages, new ones as they are made, also when they are made faster than they are read."""
    for _ in range(45):
        await served.producer.make_block()
    seen: list[int] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(collect, client, after, 120, seen)
        for n in range(75):
            await served.producer.make_block()
            if n % 10 == 0:
                await anyio.sleep(0.01)
    assert seen == list(range(after + 1, 121))


async def test_who_wants_the_newest_passes_those_that_wait(client: RpcLedger, served: Ledger) -> None:
    """In pages and in news; each is verified all the same."""
    for _ in range(45):
        await served.producer.make_block()
    async with client.blocks(0, newest=True) as heads, client.blocks(0) as every:
        assert (await anext(heads)).height == 45
        for _ in range(4):
            made = await served.producer.make_block()
            assert await anext(heads) == made
        for _ in range(20):
            await served.producer.make_block()
        while (await anext(every)).height < 69:
            pass  # the server has told everybody
        given = [head.height async for head in up_to(heads, 69)]
        assert given[-1] == 69
        assert len(given) < 20
        served.bend = answers("blockchain", lambda r: r.update(block_metas=[]))
        with pytest.raises(Refused, match="dropped block 1"):
            async with client.blocks(0, newest=True) as misled:
                await anext(misled)


async def up_to(heads: AsyncIterator[Head], height: int) -> AsyncIterator[Head]:
    async for head in heads:
        yield head
        if head.height >= height:
            return


async def test_news_alone_carries_the_heads_once_caught_up(client: RpcLedger, served: Ledger) -> None:
    seen: list[int] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(collect, client, 0, 30, seen)
        for height in range(1, 31):
            await served.producer.make_block()
            await eventually(lambda height=height: len(seen) >= height)
    assert seen == list(range(1, 31))
    assert served.calls.count("blockchain") < 6


async def test_news_with_gaps_is_made_whole(client: RpcLedger, served: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    tell = Subscriber.tell
    monkeypatch.setattr(Subscriber, "tell", lambda self, height: height % 3 == 0 and tell(self, height))
    seen: list[int] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(collect, client, 0, 30, seen)
        for height in range(1, 31):
            await served.producer.make_block()
            if height % 3 == 0:
                await eventually(lambda height=height: len(seen) >= height)
    assert seen == list(range(1, 31))


async def test_a_ledger_that_has_dropped_the_next_block_is_no_silence(client: RpcLedger, served: Ledger) -> None:
    for _ in range(3):
        await served.producer.make_block()
    served.bend = answers("blockchain", lambda r: r.update(block_metas=[], last_height="900"))
    with anyio.fail_after(30), pytest.raises(Refused, match="dropped block 1"):
        async with client.blocks(0) as heads:
            await heads.__anext__()


async def test_heads_outlive_restarts_of_the_ledger(client: RpcLedger, served: Ledger) -> None:
    seen: list[int] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(collect, client, 0, 12, seen)
        for _ in range(4):
            for _ in range(3):
                await served.producer.make_block()
            if served.producer.head.height < 12:
                await served.stop()
                await served.start()
    assert seen == list(range(1, 13))


async def test_heads_of_another_history_are_refused(client: RpcLedger, served: Ledger, tmp_path: Path) -> None:
    """The same chain begun again, by the same producer, at another time."""
    await served.producer.make_block()
    async with client.blocks(0) as heads:
        assert (await anext(heads)).height == 1
        await served.stop()
        served.database, served.clock.time = tmp_path / "second.db", 5_000_000
        await served.start()
        for _ in range(3):
            await served.producer.make_block()
        with pytest.raises(Refused, match="tells two histories"):
            await anext(heads)


async def test_a_forged_event_is_refused(client: RpcLedger, served: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    async with client.blocks(0) as heads:
        await served.producer.make_block()
        assert (await anext(heads)).height == 1
        header = Methods.header

        def forge(self: Methods, height: int) -> Any:
            shown = header(self, height)
            return shown | {"signed_header": forged(shown["signed_header"])}

        monkeypatch.setattr(Methods, "header", forge)
        served.bend = answers("blockchain", lambda r: r.update(block_metas=[]))
        await served.producer.make_block()
        with pytest.raises(Refused):
            await anext(heads)


async def test_a_ledger_s_words_do_not_move_the_cursor(client: RpcLedger, served: Ledger) -> None:
    """One wrote "to cold_x, amount 10, height 4711" over the line that said what had failed."""
    raw = served.chain.tx(0, 0)
    said, shown = "\x1b[2K\rto\ncold_x\u202e" + "!" * 2_000, " [2K to cold_x " + "!" * 485
    served.producer.submit(raw)
    await served.producer.make_block()
    served.bend = answers("tx", lambda r: r["tx_result"].update(log=said))
    assert (await client.outcome(tx_hash(raw), until=1)).log == shown
    served.bend = answers("broadcast_tx_sync", lambda r: r.update(code=5, log=said))
    with pytest.raises(TxFailed) as turned_down:
        await client.submit(raw)
    served.bend = answers("abci_query", lambda r: r["response"].update(code=5, log=said))
    with pytest.raises(TxFailed) as unanswered:
        await client.nonce(bytes(32))
    served.bend = lambda call, answer: {"id": call["id"], "error": {"code": -1, "message": "", "data": said}}
    with pytest.raises(Refused) as refused:
        await client.submit(raw)
    assert [str(turned_down.value), str(unanswered.value), str(refused.value)] == [shown] * 3

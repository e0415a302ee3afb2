"""Followers need not ask after each block: the brake is pushed with its proof, and what changed is named.

That `changed` leaves out no subnet where a node has something to look up is checked after every block of every test of
the rules (`tests.ledger.rules.world.World.apply`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from aiohttp import web

from davy.ledger.client import RpcLedger
from davy.ledger.client.answers import NewsAnswer
from davy.ledger.client.following import Heads
from davy.ledger.client.news import Heard, ToldRecord
from davy.ledger.driver.server import RpcServer, listening
from davy.ledger.rules.records import ISSUANCE
from davy.network.graphs import Graphs
from davy.protocol.chain import Head
from davy.protocol.encoding import encode
from davy.protocol.errors import Malformed, Refused
from davy.protocol.manifest import ModelClass
from davy.protocol.recorded import BRAKE_KEY
from davy.protocol.transaction import BrakeOrder, CommitWeights, RegisterModel, tx_hash
from tests.ledger.driver.conftest import Ledger
from tests.ledger.rules.world import World, manifest, market

pytestmark = pytest.mark.anyio
NOTHING = NewsAnswer([], "", "")


def changed(w: World) -> tuple[int, ...] | None:
    """Apply what is queued; what the news say of it."""
    told: list[tuple[int, ...] | None] = []
    note = w.news.note

    def noted(machine: Any, changes: Any) -> Any:
        news = note(machine, changes)
        told.append(news.changed)
        return news

    w.news.note = noted  # type: ignore[method-assign]
    w.block()
    w.news.note = note  # type: ignore[method-assign]
    return told[0]


def test_what_a_block_changed_is_named() -> None:
    w = market()
    while w.subnet().next_epoch_at <= w.machine.height + 2:
        w.block()
    assert changed(w) == ()
    w.send("ann", w.registration("ann", "another"))
    assert changed(w) == (1,)
    w.send("eve", RegisterModel(manifest("new"), (), ModelClass.ORDINARY))
    assert changed(w) is None  # a sibling of all that eve registered
    w.send("ann-hot", CommitWeights(1, w.subnet().epoch, bytes(32)))
    assert changed(w) == ()  # what is hidden is nothing that others go by


def test_a_run_of_news_tells_what_stands() -> None:
    heard = Heard()
    assert not heard.unchanged(1, 10)
    heard.note(11, NOTHING)
    assert heard.unchanged(1, 10)
    assert heard.unchanged(1, 99)  # read from a ledger that is ahead of the headers
    assert not heard.unchanged(1, 9)  # of block 10 nothing was heard
    heard.note(12, NewsAnswer([1], "", ""))
    assert not heard.unchanged(1, 11)
    assert heard.unchanged(2, 11)
    heard.note(13, NewsAnswer(None, "", ""))
    assert not heard.unchanged(2, 12)
    assert heard.unchanged(1, 13)
    heard.note(15, NOTHING)  # 14 was missed
    assert not heard.unchanged(1, 13)
    assert heard.unchanged(1, 14)
    heard.note(16, None)
    assert not heard.unchanged(1, 16)
    heard.note(17, NOTHING)
    heard.lose()
    assert not heard.unchanged(1, 17)
    with pytest.raises(Malformed):
        heard.note(18, NewsAnswer([], "@", ""))


async def test_followers_of_a_quiet_chain_ask_nothing(client: RpcLedger, served: Ledger) -> None:
    first = await served.producer.make_block()
    async with client.blocks(first.height) as heads:
        known, enough = None, anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(blocks_until, served, enough)  # a proof waits for the block after the newest known
            async for head in heads:
                before = len(served.calls)
                told = await client.told_brake(known)
                known = await client.brake(told)
                assert known.height >= head.height
                if head.height > 4:  # the first ones were read in a page
                    assert served.calls[before:] == []
                    assert (await client.told_brake(known)).brake == known.brake
                    assert served.calls[before:] == []
                    assert client.unchanged(1, head.height - 1)
                if head.height == 8:
                    assert len(served.calls) == before
                    break
            enough.set()
        order = served.chain.order()
        assert served.producer.submit(encode(BrakeOrder(order))).code == 0
        made = await served.producer.make_block()
        while (await heads.__anext__()).height < made.height:
            pass
        assert not client.unchanged(1, made.height - 1)
        assert [r.order for r in (await client.told_brake(known)).orders] == [order]


async def blocks_until(ledger: Ledger, enough: anyio.Event) -> None:
    while not enough.is_set():
        await anyio.sleep(0.02)
        await ledger.producer.make_block()


async def blocks_to(ledger: Ledger, height: int) -> None:
    for _ in range(height - 1):
        await anyio.sleep(0.01)
        await ledger.producer.make_block()


async def test_who_follows_asks_for_a_transaction_once_a_block(client: RpcLedger, served: Ledger) -> None:
    first = await served.producer.make_block()
    async with client.blocks(first.height) as heads, anyio.create_task_group() as tasks:
        await served.producer.make_block()
        assert (await heads.__anext__()).height == 2
        served.calls.clear()
        raw = served.chain.tx(0, 0)

        async def makes_blocks() -> None:
            for height in (3, 4, 5):
                await anyio.wait_all_tasks_blocked()
                await anyio.sleep(0.3)  # long enough for whoever polls
                if height == 5:
                    assert served.producer.submit(raw).code == 0
                await served.producer.make_block()

        tasks.start_soon(makes_blocks)
        assert (await client.outcome(tx_hash(raw), until=9)).height == 5
        assert served.calls.count("tx") <= 4
        assert served.calls.count("header") <= 1


async def test_a_pushed_brake_is_held_against_the_next_header(served: Ledger) -> None:
    made = await served.producer.make_block()
    news = served.producer.news(made.height)
    assert news is not None
    app_hash = (await served.producer.make_block()).app_hash
    told = ToldRecord(made.height, news.brake, news.proof)
    told.check(app_hash)
    assert told.record.orders == 0
    issuance = await served.producer.prove(ISSUANCE.tag)
    for lie in (
        told._replace(raw=told.raw[:-1] + bytes([told.raw[-1] ^ 1])),
        told._replace(proof=told.proof[:-1] + bytes([told.proof[-1] ^ 1])),
        told._replace(raw=issuance.value or b"", proof=encode(issuance.proof)),
        told._replace(proof=b""),
        told._replace(raw=b""),
    ):
        with pytest.raises(Refused):
            lie.check(app_hash)
    with pytest.raises(Refused):
        told.check(made.app_hash)
    assert (await served.producer.prove(BRAKE_KEY)).value == told.raw


async def test_a_ledger_that_pushes_a_false_brake_is_refused(
    client: RpcLedger,
    served: Ledger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = served.producer.news

    def lying(height: int) -> Any:
        news = shown(height)
        return news and news._replace(brake=news.brake[:-1] + bytes([news.brake[-1] ^ 1]))

    monkeypatch.setattr(served.producer, "news", lying)
    first = await served.producer.make_block()
    async with client.blocks(first.height) as heads, anyio.create_task_group() as tasks:
        tasks.start_soon(blocks_to, served, 9)
        async for head in heads:
            if head.height == 5:
                break
        with pytest.raises(Refused):
            await client.brake(await client.told_brake())


async def test_a_subscription_that_tells_no_json_is_opened_again(served: Ledger) -> None:
    await served.producer.make_block()
    for noise in ("x", '{"a":' * 100_000, '{"result": 1}'):
        async with RpcLedger(served.url, served.chain.id) as client, client.blocks(0) as heads:
            assert (await heads.__anext__()).height == 1
            assert isinstance(heads, Heads)
            await heads._look()
            assert heads._socket is not None

            async def noisy(noise: str = noise) -> str:
                return noise

            heads._socket.text = noisy  # type: ignore[method-assign]
            made = await served.producer.make_block()
            with anyio.fail_after(30):
                while (await heads.__anext__()).height < made.height:
                    pass


async def test_who_follows_slowly_makes_nobody_deaf(client: RpcLedger, served: Ledger) -> None:
    first = await served.producer.make_block()
    async with client.blocks(first.height) as slow, client.blocks(first.height) as quick:
        with anyio.move_on_after(0.5):
            await slow.__anext__()
        made = first
        for _ in range(4):
            made = await served.producer.make_block()
            with anyio.fail_after(30):
                while (await quick.__anext__()).height < made.height:
                    pass
        assert await client._height() == made.height
        assert (await client.told_brake()).height >= made.height


async def test_metagraphs_are_read_again_when_something_changed() -> None:
    read: list[int] = []
    stands = True

    class Told:
        async def metagraph(self, netuid: int, at: int | None = None) -> Any:
            read.append(netuid)
            return type("M", (), {"height": told})

        def unchanged(self, netuid: int, since: int) -> bool:
            asked.append(since)
            return stands

    asked: list[int] = []
    told = 5
    graphs, block = Graphs(Told(), [1, 2]), Head(4, 0, bytes(32), bytes(32))  # type: ignore[arg-type]
    assert list(await graphs.look(block)) == [1, 2]
    assert graphs.anew
    await graphs.look(block)
    assert (read, graphs.anew) == ([1, 2], False)
    stands, told = False, 3
    await graphs.look(block)
    assert (read, graphs.anew) == ([1, 2, 1, 2], True)
    told = 1 << 62  # a ledger may say anything: it stands up to the block that was followed, and no further
    await graphs.look(block)
    await graphs.look(block)
    assert asked == [4, 4, 4, 4, 3, 3, 4, 4]


class Unsubscribed:
    """A ledger's methods without its WebSockets, as behind a proxy that takes POSTs only."""

    def __init__(self, served: Ledger) -> None:
        self.app = web.Application()
        self.asked = 0
        self.is_up = True
        self._server = RpcServer(served.producer)
        self.app.router.add_post("/", self._post)
        self.app.router.add_get("/websocket", self._refuse)

    async def _post(self, request: web.Request) -> web.Response:
        if not self.is_up and request.transport is not None:
            request.transport.abort()
        return web.json_response(await self._server.answer(await request.read()))

    async def _refuse(self, request: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(status=503)


async def test_who_may_not_subscribe_reads_pages(served: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """256 idle WebSockets made every node deaf that came after them, and nobody said so."""
    monkeypatch.setattr("davy.ledger.client.following._POLL_S", 0.01)
    there = Unsubscribed(served)
    async with (
        listening(there.app, "127.0.0.1", 0) as url,
        RpcLedger(url, served.chain.id) as client,
        client.blocks(0) as heads,
    ):
        for height in range(1, 30):
            await served.producer.make_block()
            assert (await anext(heads)).height == height
        assert there.asked == 1, "and does not ask each time"
        assert not client.unchanged(1, 0)


async def test_it_is_said_when_a_ledger_can_be_followed_in_no_way(
    served: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("_POLL_S", "_LONGEST_PAUSE_S"):
        monkeypatch.setattr(f"davy.ledger.client.following.{name}", 0.001)
    there = Unsubscribed(served)
    await served.producer.make_block()
    async with (
        listening(there.app, "127.0.0.1", 0) as url,
        RpcLedger(url, served.chain.id) as client,
        client.blocks(0) as heads,
    ):
        assert (await anext(heads)).height == 1
        there.is_up = False

        async def one_more() -> None:
            assert (await anext(heads)).height == 2

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one_more)
            await eventually(lambda: there.asked > 10)
            there.is_up = True
            await served.producer.make_block()
    assert [r for r in caplog.messages if "the ledger cannot be followed" in r] != []
    assert len(caplog.messages) == 1


async def eventually(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - what is waited for happens behind a socket
        await anyio.sleep(0.002)

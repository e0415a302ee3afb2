"""A halt and a miner's life beside the answering: what the ledger records, lacks or hides; in virtual time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from trio.testing import MockClock

from davy.miners.backend import Backend
from davy.miners.node import MinerNode
from davy.miners.running import MinerOptions, _Loader
from davy.miners.withheld import Withheld
from davy.network.node_brake import NodeBrake
from davy.protocol.attestation import open_attestation
from davy.protocol.errors import ModelHalted, TxCode, TxFailed, Unreachable
from davy.protocol.manifest import model_id
from davy.protocol.order import Models
from davy.protocol.receipt import Anchor
from davy.protocol.recorded import BrakeRecord, Facts, OrderRecord, RecordedBrake, SubjectFacts
from davy.protocol.transaction import is_brake_order, open_brake_order, tx_hash
from davy.protocol.words import KeyRole
from tests.killswitch.story import START, Story, order_of
from tests.miners.stage import MINER, VALIDATOR, Letters, Miner, ask, head, neuron, ports, start
from tests.miners.test_halted import LETTERS, Endless, halt
from tests.miners.test_node import ENDPOINT, Ledger, Other
from tests.miners.test_server import Stream, error_of
from tests.twins import LoopClock
from tests.twins.brake import REGISTRANT, KnowsModels, brake_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@pytest.fixture
def story() -> Story:
    return Story()


class BrakedLedger(KnowsModels, Ledger):
    """Records orders, each with the next block; `silent` keeps its brake to itself."""

    def __init__(self, *neurons: Any) -> None:
        super().__init__(*neurons)
        self.orders: list[OrderRecord] = []
        self.silent = False
        self.unknown = self.systemic = False
        self.siblings: tuple[Facts, ...] = ()
        self.handed: list[bytes] = []

    async def submit(self, raw: bytes) -> bytes:
        if not is_brake_order(raw):
            return await super().submit(raw)
        self.handed.append(open_brake_order(raw))  # and forgets it: `record` records
        return tx_hash(raw)

    def record(self, raw: bytes) -> None:
        self.orders.append(OrderRecord(raw, self.height + 1, LoopClock().now(), len(self.orders)))

    async def brake(self, known: RecordedBrake | None = None) -> RecordedBrake:
        if self.silent:
            raise Unreachable("nobody answers at ledger:1")
        record = BrakeRecord(bytes(32), bytes(32), len(self.orders), len(self.orders))
        return RecordedBrake(self.height, record, tuple(self.orders), ())

    told_brake = brake

    async def subject(self, netuid: int, hotkey: bytes, model: bytes | None = None) -> SubjectFacts:
        if self.unknown:
            raise TxFailed(TxCode.NOT_FOUND, "no such model")
        facts = await super().subject(netuid, hotkey, model)
        return msgspec.structs.replace(facts, systemic=self.systemic, siblings=self.siblings)


@asynccontextmanager
async def living(
    story: Story, ledger: BrakedLedger, backend: Backend | None = None
) -> AsyncIterator[tuple[Miner, MinerNode, NodeBrake]]:
    brake = brake_of(MINER, LoopClock(), ledger, story.chain, story.keyholders.roster)
    miner = await start(backend or Letters(), None, brake.guard)
    miner.handler.serving.subjects = ()
    node = MinerNode(
        ports(miner, ledger), (1,), endpoint=ENDPOINT, handler=miner.handler, view=miner.view,
        admission=miner.admission, brake=brake,
    )  # fmt: skip
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ledger.produce)
        tasks.start_soon(node.run)
        await anyio.sleep(2.5)
        yield miner, node, brake
        tasks.cancel_scope.cancel()


def a_ledger() -> BrakedLedger:
    return BrakedLedger(
        neuron(0, MINER.public(KeyRole.HOTKEY)), neuron(1, VALIDATOR.public(KeyRole.HOTKEY), 5_000_000_000)
    )


async def answers(miner: Miner, ledger: Ledger, ahead: int = 0) -> tuple[int, str]:
    height = ledger.height + ahead
    response = await miner.call(ask({"prompt": "a"}, anchor=Anchor(height, head(height).hash)))
    return (200, "") if response.status == 200 else error_of(response)


async def test_an_order_in_a_block_halts_and_the_model_is_known_by_what_the_ledger_says(story: Story) -> None:
    ledger = a_ledger()
    async with living(story, ledger) as (miner, _, brake):
        assert await answers(miner, ledger) == (200, "")
        assert brake.guard.serving == miner.handler.serving.subjects
        ledger.record(halt(story, Models((), (), (REGISTRANT,))))
        await anyio.sleep(1.5)
        assert await answers(miner, ledger) == (451, "model_halted")


async def test_a_block_whose_orders_are_not_known_is_not_seen(story: Story) -> None:
    """So no receipt is signed on an anchor behind a halt that the miner had no chance to know."""
    ledger = a_ledger()
    async with living(story, ledger) as (miner, _, _):
        seen = miner.view.head
        assert seen is not None
        ledger.silent = True
        await anyio.sleep(5)
        assert miner.view.head is not None
        assert miner.view.head.height <= seen.height + 1
        assert await answers(miner, ledger) == (429, "busy")
        ledger.silent = False
        await anyio.sleep(3)
        assert await answers(miner, ledger) == (200, "")


async def test_the_ledger_is_handed_what_it_lacks(story: Story) -> None:
    ledger = a_ledger()
    async with living(story, ledger) as (_, _, brake):
        raw = halt(story)
        await brake.guard.receive_all([raw])
        await anyio.sleep(3)
        assert ledger.handed == [raw]
        await anyio.sleep(12)
        assert len(ledger.handed) == 2  # it still lacks it
        ledger.record(raw)
        await anyio.sleep(25)
        assert len(ledger.handed) == 2


async def test_an_unknown_model_takes_no_requests(story: Story) -> None:
    ledger = a_ledger()
    ledger.unknown = True
    async with living(story, ledger) as (miner, _, _):
        assert await answers(miner, ledger) == (429, "busy")


async def test_a_halted_model_is_not_changed_to(story: Story) -> None:
    ledger = a_ledger()
    closed: list[str] = []

    class Watched(Other):
        async def aclose(self) -> None:
            closed.append("new")

    async with living(story, ledger) as (miner, node, brake):
        await brake.guard.receive(halt(story, Models((model_id(Watched().manifest()),), (), ())))
        with pytest.raises(ModelHalted):
            await node.swap(Watched(), 1)
        assert closed == ["new"]
        assert miner.handler.serving.model_id == LETTERS
        assert len(ledger.served) == 1
        assert await answers(miner, ledger) == (200, "")


@asynccontextmanager
async def streaming(miner: Miner, ledger: Ledger) -> AsyncIterator[Stream]:
    """A stream that has begun; at the end it has ended, or is left."""
    got = Stream()
    question = ask(
        {"prompt": "a", "max_tokens": 1000, "stream": True}, anchor=Anchor(ledger.height, head(ledger.height).hash)
    )
    begun = anyio.Event()

    async def read() -> None:
        async with miner.stream(question) as incoming:
            async for frame in incoming.frames:
                got.frames.append(frame)
                begun.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await begun.wait()
        yield got
        tasks.cancel_scope.cancel()


def is_halted(got: Stream) -> bool:
    return got.frames[-1] == b"data: [DONE]" and json.loads(got.payloads[-1])["error"]["code"] == "model_halted"


@pytest.mark.parametrize("change", ["nothing", "made systemic", "a sibling is halted"])
async def test_a_stream_is_stopped_by_what_its_model_became_meanwhile(story: Story, change: str) -> None:
    ledger = a_ledger()
    async with living(story, ledger, Endless()) as (miner, _, brake), streaming(miner, ledger) as got:
        if change == "made systemic":
            ledger.systemic = True
        elif change == "a sibling is halted":
            ledger.siblings = (Facts(b"\x77" * 32, (), REGISTRANT),)
        await anyio.sleep(3)
        if change == "a sibling is halted":
            assert not is_halted(got)
            await brake.guard.receive(halt(story, Models((b"\x77" * 32,), (), ())))
        await anyio.sleep(1)
        assert is_halted(got) == (change != "nothing")


@pytest.mark.parametrize("which", ["old", "new", "the old one's sibling"])
async def test_after_a_change_of_models_a_stream_is_of_the_one_it_began_with(story: Story, which: str) -> None:
    ledger = a_ledger()
    async with (
        living(story, ledger, Endless()) as (miner, node, brake),
        streaming(miner, ledger) as got,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(node.swap, Other(), 60)
        await anyio.sleep(3)
        assert miner.handler.serving.model_id != LETTERS
        ledger.siblings = (Facts(b"\x77" * 32, (), REGISTRANT),)
        await anyio.sleep(3)
        halted = {"old": LETTERS, "new": miner.handler.serving.model_id, "the old one's sibling": b"\x77" * 32}[which]
        a = open_attestation(await brake.guard.receive(halt(story, Models((halted,), (), ()))))
        await anyio.sleep(1)
        assert is_halted(got) == (which != "new")
        assert a.streams == (which != "new")
        assert (halted in a.models) == (which != "the old one's sibling")
        tasks.cancel_scope.cancel()


async def test_a_halted_model_is_not_loaded_before_it_may_run(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = a_ledger()
    loaded: list[str] = []

    def load(spec: str, options: object) -> Backend:
        loaded.append(spec)
        return Letters()

    async def here(function: Any, *args: Any) -> Any:
        return function(*args)

    monkeypatch.setattr("davy.miners.running.load_backend", load)
    monkeypatch.setattr("davy.miners.running.load_manifest", lambda *_: Letters().manifest())
    monkeypatch.setattr("anyio.to_thread.run_sync", here)
    async with living(story, ledger) as (miner, node, brake):
        raw = halt(story)
        await brake.guard.receive(raw)
        loader = _Loader(MinerOptions("huggingface", {"folder": str(Path())}), ports(miner, ledger), brake)
        backend = await loader.first()
        assert isinstance(backend, Withheld)
        assert loaded == []
        miner.handler.serving.backend = backend
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(loader.later, miner.handler, node)
            await anyio.sleep(5)
            assert loaded == []
            assert await answers(miner, ledger) == (451, "model_halted")
            days = (LoopClock().now() - START) / 86_400_000
            ledger.record(raw)
            ledger.record(story.given[story.lift(days, order_of(raw).id)])
            await anyio.sleep(5)
        assert loaded == ["huggingface"]
        assert await answers(miner, ledger) == (200, "")

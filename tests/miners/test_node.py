"""A miner and a ledger that is sometimes not there: following, recording, changing the model, stopping."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import pytest

from davy.miners.node import RETRY_MS, MinerNode
from davy.protocol.chain import Head, Metagraph, Neuron, RowsInForce, ServedModel, TxResult
from davy.protocol.errors import Expired, TxCode, TxFailed, Unreachable
from davy.protocol.manifest import Access, Identity, model_id
from davy.protocol.receipt import Anchor
from davy.protocol.recorded import AccessRecord, RecordedBrake, SubjectFacts
from davy.protocol.transaction import AttestStop, Endpoint, Serve, open_tx, tx_hash, verify_tx
from davy.protocol.words import TOKEN, KeyRole
from tests.miners.stage import (
    CHAIN,
    MINER,
    NETUID,
    STRANGER,
    VALIDATOR,
    Letters,
    Miner,
    ask,
    head,
    metagraph,
    neuron,
    ports,
    start,
)
from tests.miners.test_server import Slow, error_of, read, receipt_of
from tests.twins import LoopClock
from tests.twins.brake import ANYBODY, brake_of

pytestmark = pytest.mark.anyio

ENDPOINT = Endpoint("miner", 9000, b"\x0f" * 32, b"")


@pytest.fixture
def anyio_backend() -> object:
    from trio.testing import MockClock

    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Ledger:
    """A block every so many seconds; what was submitted stands in the next one."""

    chain = CHAIN

    def __init__(self, *neurons: Neuron, block_s: float = 1) -> None:
        self.block_s = block_s
        self.netuids = {NETUID}
        self.elsewhere: list[Neuron] = []
        self.neurons = {n.hotkey: n for n in neurons}
        self.height = 10
        self.down = False
        self.refuses: TxCode | None = None
        self.said = ANYBODY
        self.tries = 0
        self.served: list[Serve] = []
        self._pending: list[bytes] = []
        self._included: dict[bytes, TxResult] = {}
        self._nonces: dict[bytes, int] = {}
        self._new = anyio.Event()

    async def produce(self) -> None:
        while True:
            await anyio.sleep(self.block_s)
            if not self.down:
                self._block()

    def _block(self) -> None:
        self.height += 1
        for raw in self._pending:
            signed, body = open_tx(raw)
            verify_tx(signed, body)
            self._nonces[body.sender] = body.nonce + 1
            if isinstance(body.action, AttestStop):
                self._included[tx_hash(raw)] = TxResult(self.height, 0, TxCode.OK, "")
                continue
            assert isinstance(body.action, Serve)
            code = self.refuses or TxCode.OK
            self.tries += 1
            if code is TxCode.OK:
                self.served.append(body.action)
                models = tuple(ServedModel(m.model_id, m.identity, self.height) for m in body.action.models)
                old = self.neurons[body.sender]
                self.neurons[body.sender] = neuron(
                    old.uid, old.hotkey, old.stake, endpoint=(body.action.endpoint,), model=models
                )
            self._included[tx_hash(raw)] = TxResult(self.height, 0, code, "register the model first" if code else "")
        self._pending = []
        new, self._new = self._new, anyio.Event()
        new.set()

    def _up(self) -> None:
        if self.down:
            raise Unreachable("nobody answers at ledger:1")

    async def head(self) -> Head:
        self._up()
        return head(self.height)

    async def brake(self, known: RecordedBrake | None = None) -> RecordedBrake:
        raise AssertionError("nobody can halt this chain")

    async def told_brake(self, known: RecordedBrake | None = None) -> RecordedBrake:
        raise AssertionError("nobody can halt this chain")

    async def subject(self, netuid: int, hotkey: bytes, model: bytes | None = None) -> SubjectFacts:
        raise AssertionError("nobody can halt this chain")

    async def accesses(self, models: Sequence[bytes]) -> tuple[AccessRecord, ...]:
        self._up()
        return (self.said,) * len(models)

    async def nonce(self, key: bytes) -> int:
        self._up()
        return self._nonces.get(key, 0)

    async def fate(self, raw: bytes, *, after: int) -> TxResult | None:
        raise AssertionError("nobody shares this key")

    async def is_recorded(self, order: bytes) -> bool:
        raise AssertionError("nobody can halt this chain")

    def unchanged(self, netuid: int, since: int) -> bool:
        return False  # it says nothing

    async def metagraph(self, netuid: int, at: int | None = None) -> Metagraph:
        self._up()
        assert netuid in self.netuids
        mine = self.neurons.values() if netuid == NETUID else self.elsewhere
        return metagraph(self.height, *mine)

    async def epoch(self, netuid: int, epoch: int) -> None:
        raise AssertionError("a miner asks for no epoch")

    async def rows(self, netuid: int) -> RowsInForce:
        raise AssertionError("a miner asks for no weights")

    async def submit(self, raw: bytes) -> bytes:
        self._up()
        self._pending.append(raw)
        return tx_hash(raw)

    async def outcome(self, h: bytes, *, until: int) -> TxResult:
        while h not in self._included:
            self._up()
            if self.height >= until:
                raise Expired("not included")
            await self._new.wait()
        return self._included[h]

    @asynccontextmanager
    async def blocks(self, after: int, *, newest: bool = False) -> AsyncGenerator[AsyncIterator[Head]]:
        async def heads() -> AsyncGenerator[Head]:
            height = after
            while True:
                while height >= self.height:
                    await self._new.wait()
                height += 1
                yield head(height)

        async with aclosing(heads()) as following:
            yield following


MINER_KEY, VALIDATOR_KEY = MINER.public(KeyRole.HOTKEY), VALIDATOR.public(KeyRole.HOTKEY)


@asynccontextmanager
async def living(
    ledger: Ledger, backend: Letters | None = None, netuids: tuple[int, ...] = (NETUID,)
) -> AsyncGenerator[tuple[Miner, MinerNode]]:
    miner = await start(backend or Letters())
    node = MinerNode(
        ports(miner, ledger), netuids, endpoint=ENDPOINT, handler=miner.handler, view=miner.view,
        admission=miner.admission, brake=brake_of(MINER, LoopClock(), ledger, CHAIN),
    )  # fmt: skip
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ledger.produce)
        tasks.start_soon(node.run)
        yield miner, node
        tasks.cancel_scope.cancel()


def ours() -> Neuron:
    return neuron(0, MINER_KEY)


async def test_the_record_is_written_once_and_again_when_it_differs() -> None:
    ledger = Ledger(ours())
    async with living(ledger) as (miner, _):
        await anyio.sleep(5)
        assert [(s.endpoint, s.models[0].model_id) for s in ledger.served] == [
            (ENDPOINT, miner.handler.serving.model_id)
        ]
        assert ledger.served[0].models[0].identity is Identity.CLAIMED
        ledger.neurons[MINER_KEY] = ours()  # a registration that was lost and bought again knows no endpoint
        await anyio.sleep(5)
        assert len(ledger.served) == 2


async def test_stakes_and_heads_are_followed() -> None:
    ledger = Ledger(ours(), neuron(1, VALIDATOR_KEY, 0))
    async with living(ledger) as (miner, _):
        await anyio.sleep(2.5)
        assert error_of(await miner.call(ask({"prompt": "a"}))) == (403, "unauthorised")
        ledger.neurons[VALIDATOR_KEY] = neuron(1, VALIDATOR_KEY, 5 * TOKEN)
        await anyio.sleep(2)
        anchor = Anchor(ledger.height, head(ledger.height).hash)
        assert receipt_of(await miner.call(ask({"prompt": "a"}, anchor=anchor))).anchor == anchor
        beyond = Anchor(ledger.height + 2, head(ledger.height + 2).hash)
        assert error_of(await miner.call(ask({"prompt": "a"}, anchor=beyond))) == (429, "busy")


def named(*hotkeys: bytes) -> AccessRecord:
    return AccessRecord(Access.NAMED, (), hotkeys, 1)


async def asked(miner: Miner, ledger: Ledger) -> int:
    anchor = Anchor(ledger.height, head(ledger.height).hash)
    return (await miner.call(ask({"prompt": "a"}, anchor=anchor))).status


async def test_whom_a_registrant_lets_ask_is_followed_and_outlives_an_outage() -> None:
    ledger = Ledger(ours(), neuron(1, VALIDATOR_KEY, 5 * TOKEN, permit=False))
    async with living(ledger) as (miner, _):
        await anyio.sleep(2.5)
        assert await asked(miner, ledger) == 200
        ledger.said = named()
        await anyio.sleep(2)
        assert error_of(await miner.call(ask({"prompt": "a"}))) == (403, "unauthorised")
        ledger.down = True
        await anyio.sleep(20)
        assert await asked(miner, ledger) == 403
        ledger.said, ledger.down = named(VALIDATOR_KEY), False
        await anyio.sleep(3)
        assert await asked(miner, ledger) == 200
        ledger.said = named()
        ledger.neurons[VALIDATOR_KEY] = neuron(1, VALIDATOR_KEY, 5 * TOKEN, permit=True)
        await anyio.sleep(2)
        assert await asked(miner, ledger) == 200, "it has a permit now"


async def test_a_model_that_the_ledger_does_not_know_is_answered_from_when_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def unknown(self: Ledger, models: Sequence[bytes]) -> tuple[AccessRecord, ...]:
        raise TxFailed(TxCode.NOT_FOUND, "no model of this id is registered")

    ledger = Ledger(ours(), neuron(1, VALIDATOR_KEY, 5 * TOKEN))
    async with living(ledger) as (miner, _):
        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "accesses", unknown)
            await anyio.sleep(2.5)
            assert await asked(miner, ledger) == 429
        await anyio.sleep(2)
        assert await asked(miner, ledger) == 200


async def test_a_model_that_is_changed_to_is_answered_to_whom_its_own_registrant_lets_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Other(Letters):
        name = "other"

    other = model_id(Other().manifest())
    ledger = Ledger(ours(), neuron(1, VALIDATOR_KEY, 5 * TOKEN, permit=False))

    async def accesses(self: Ledger, models: Sequence[bytes]) -> tuple[AccessRecord, ...]:
        return tuple(named() if model == other else self.said for model in models)

    monkeypatch.setattr(Ledger, "accesses", accesses)
    async with living(ledger) as (miner, node):
        await anyio.sleep(2.5)
        assert await asked(miner, ledger) == 200
        await node.swap(Other(), 1)
        assert miner.handler.serving.model_id == other
        assert await asked(miner, ledger) == 403, "at once, not from the next block on"
        await anyio.sleep(3)
        assert await asked(miner, ledger) == 403


async def test_a_ledger_outage_is_survived_for_a_bounded_time() -> None:
    ledger = Ledger(ours(), neuron(1, VALIDATOR_KEY, 5 * TOKEN))
    async with living(ledger) as (miner, _):
        await anyio.sleep(3)
        ledger.down = True
        await anyio.sleep(30)
        assert (await miner.call(ask({"prompt": "a"}))).status == 200
        await anyio.sleep(31)
        assert error_of(await miner.call(ask({"prompt": "a"}))) == (429, "busy")
        ledger.down = False
        await anyio.sleep(3 + RETRY_MS / 1000)
        assert (await miner.call(ask({"prompt": "a"}))).status == 200


async def test_a_model_under_review_is_tried_ever_more_seldom_and_served_when_it_is_over() -> None:
    """Each try is a transaction; after a review of any length the miner waits no longer than it did before."""
    ledger = Ledger(ours(), block_s=10)
    ledger.refuses = TxCode.WRONG_TIME
    async with living(ledger):
        await anyio.sleep(3_600)
        assert ledger.tries < 70
        ledger.refuses = None
        await anyio.sleep(70)
        assert len(ledger.served) == 1
        ledger.neurons[MINER_KEY] = ours()
        ledger.refuses = TxCode.NOT_FOUND
        before = ledger.tries
        await anyio.sleep(120)
        assert ledger.tries > before + 5, "what may be mended any moment is tried each second or two, as it was"


async def test_a_record_that_the_ledger_refuses_is_tried_again() -> None:
    ledger = Ledger(ours())
    ledger.refuses = TxCode.NOT_FOUND
    async with living(ledger):
        await anyio.sleep(6)
        assert ledger.served == []
        ledger.refuses = None
        await anyio.sleep(6)
        assert len(ledger.served) == 1


async def test_an_unregistered_miner_writes_nothing_until_it_is_registered() -> None:
    ledger = Ledger(neuron(0, STRANGER.public(KeyRole.HOTKEY)))
    async with living(ledger):
        await anyio.sleep(5)
        assert ledger.served == []
        ledger.neurons[MINER_KEY] = neuron(1, MINER_KEY)
        await anyio.sleep(5)
        assert len(ledger.served) == 1


async def test_several_subnets_are_served_where_the_miner_is_registered() -> None:
    ledger = Ledger(ours())
    ledger.netuids |= {2, 3}
    ledger.elsewhere = [neuron(0, VALIDATOR_KEY, 5 * TOKEN)]
    async with living(ledger, netuids=(NETUID, 2, 3)) as (miner, _):
        await anyio.sleep(3)
        assert [m.netuid for m in ledger.served[0].models] == [NETUID]
        assert (await miner.call(ask({"prompt": "a"}))).status == 200, "stake on any of its subnets lets a caller in"
        ledger.elsewhere.append(neuron(1, MINER_KEY))
        await anyio.sleep(3)
        assert [m.netuid for m in ledger.served[1].models] == [NETUID, 2, 3]


class Other(Letters):
    name = "other"


async def test_a_new_model_is_on_the_ledger_before_any_answer_comes_from_it() -> None:
    ledger = Ledger(ours(), neuron(1, VALIDATOR_KEY, 5 * TOKEN))
    async with living(ledger) as (miner, node):
        await anyio.sleep(3)
        named: list[tuple[bytes, bytes]] = []
        done = anyio.Event()

        async def swap() -> None:
            await node.swap(Other(), 1)
            done.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(swap)
            while not done.is_set():
                anchor = Anchor(ledger.height, head(ledger.height).hash)
                model = miner.handler.serving.model_id.hex()
                answered = receipt_of(await miner.call(ask({"prompt": "a", "model": model}, anchor=anchor))).model_id
                named.append((ledger.served[-1].models[0].model_id, answered))
                await anyio.sleep(0.2)
        old, new = model_id(Letters().manifest()), model_id(Other().manifest())
        assert named[0] == (old, old)
        assert (old, new) not in named, "an answer came from a model that the ledger did not name"
        assert miner.handler.serving.model_id == new
        await anyio.sleep(5)
        assert len(ledger.served) == 2, "the old model is not written again"


async def test_a_swap_that_the_ledger_refuses_leaves_the_old_model() -> None:
    ledger = Ledger(ours())
    closed: list[str] = []

    class Watched(Other):
        async def aclose(self) -> None:
            closed.append("new")

    async with living(ledger) as (miner, node):
        await anyio.sleep(3)
        ledger.refuses = TxCode.NOT_FOUND
        with pytest.raises(TxFailed, match="register the model first"):
            await node.swap(Watched(), 1)
        assert miner.handler.serving.manifest.name == "letters"
        assert closed == ["new"]
        ledger.refuses = None
        await anyio.sleep(5)
        assert len(ledger.served) == 1


@pytest.mark.parametrize(("grace_s", "ends"), [(60.0, "done"), (1.0, "cancelled")])
async def test_stopping_lets_answers_end_for_a_while(grace_s: float, ends: str) -> None:
    ledger = Ledger(ours(), neuron(1, VALIDATOR_KEY, 5 * TOKEN))
    closed: list[float] = []

    class Watched(Slow):
        async def aclose(self) -> None:
            closed.append(anyio.current_time())

    got: list[Any] = []
    async with living(ledger, Watched()) as (miner, node):
        await anyio.sleep(3)

        async def stream() -> None:
            got.append(await read(miner, ask({"prompt": "a", "max_tokens": 50, "stream": True})))

        began = anyio.current_time() + 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stream)
            await anyio.sleep(1)
            await node.stop(grace_s)
        assert error_of(await miner.call(ask({"prompt": "a"}))) == (429, "busy")
    assert got[0].receipt.outcome == ends
    assert got[0].matches()
    assert len(closed) == 1
    assert closed[0] - began < (5 if ends == "done" else 1.5)

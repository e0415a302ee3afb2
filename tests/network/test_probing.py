"""A stream held open at a miner from outside: only an order of the keyholders ends it for good."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from trio.testing import MockClock

from davy.killswitch.brake import first_state
from davy.killswitch.scope import ModelFacts, Subject
from davy.miners.backend import Backend
from davy.network.error_responses import error_response
from davy.network.events import data_frame
from davy.network.probing import Orders, Probed, Stops, Watch, keyholders_known
from davy.network.signed_client import SignedClient
from davy.protocol.errors import Busy, ModelHalted
from davy.protocol.order import Drill, Global, GroupKey, Halt
from davy.protocol.ports import Handler, Response, SendFrame, SignedRequest, StreamReply
from davy.protocol.receipt import Anchor
from davy.protocol.recorded import BrakeRecord, OrderRecord, RecordedBrake
from davy.protocol.words import KeyRole
from tests.killswitch.story import START, TARGETS, Story, facts, models, ms, subject, systemic
from tests.miners.stage import CHAIN, MINER, VALIDATOR, Letters, Miner, head
from tests.miners.test_halted import LETTERS, Endless, halt, keyheld
from tests.network.conftest import Answering
from tests.twins import LoopClock, SeededEntropy
from tests.twins.keyholders import Keyholders

pytestmark = pytest.mark.anyio
PATIENCE_S = 120.0


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)}) if request.param == "trio" else "asyncio"


@pytest.fixture
def story() -> Story:
    return Story()


async def until(so: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE_S):
        while not so():  # noqa: ASYNC110 - a watch tells nobody
            await anyio.sleep(0.01)


@asynccontextmanager
async def watched(
    story: Story, backend: Backend, change: Callable[[Handler], Handler] = lambda door: door
) -> AsyncGenerator[tuple[Watch, Miner]]:
    """A miner that the story's keyholders can halt, a stranger's door in front of it, and a watch that runs."""
    miner = await keyheld(backend, story)
    miner.network.serve(miner.endpoint, change(miner.network.reach("client", miner.endpoint)))
    client = SignedClient(VALIDATOR, CHAIN, miner.network.transport(), LoopClock(), SeededEntropy(5))
    probed = Probed(miner.endpoint, MINER.public(KeyRole.HOTKEY), LETTERS)
    served = Subject(1, probed.miner, ModelFacts(LETTERS, frozenset(), bytes(32)))
    stops = Stops(Orders(first_state(story.genesis)), (served,))
    watch = Watch(probed, client, LoopClock(), Anchor(10, head(10).hash), stops)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch.keep)
        yield watch, miner
        tasks.cancel_scope.cancel()


async def test_a_stream_is_held_until_the_keyholders_order_ends_it(story: Story) -> None:
    asked: list[SignedRequest] = []

    def counting(door: Handler) -> Handler:
        async def handle(request: SignedRequest) -> Response | StreamReply:
            asked.append(request)
            return await door.handle(request)

        return Answering(handle)

    async with watched(story, Endless(), counting) as (watch, miner):
        await until(lambda: watch.tokens > 2)
        assert (watch.flows, watch.ended, watch.fault) == (True, None, "")
        raw, before = halt(story), LoopClock().now()
        await miner.guard.receive(raw)
        await until(lambda: watch.ended is not None)
        assert watch.order == raw
        assert watch.ended is not None
        assert watch.token is not None
        assert before <= watch.ended <= LoopClock().now()
        assert watch.token <= watch.ended
        assert not watch.flows
        tokens, ended = watch.tokens, watch.ended
        await until(lambda: len(asked) > 3)
        assert (watch.ended, watch.order, watch.relapsed) == (ended, raw, False), "refusals are no relapse"
        assert watch.tokens == tokens


async def test_an_answer_that_ends_by_itself_is_asked_for_again_and_again_in_a_context_that_is_small(
    story: Story,
) -> None:
    async with watched(story, Letters()) as (watch, miner):
        await until(lambda: watch.tokens > 2 * len("abcdefghijklmnopqrstuvwxyz"))
        assert watch.ended is None
        await miner.guard.receive(halt(story))
        await until(lambda: watch.ended is not None)


async def test_who_ends_its_stream_with_the_order_and_serves_whoever_asks_anew_has_not_stopped(story: Story) -> None:
    asked: list[bool] = []
    """Whether the watch said that it had stopped."""
    days = (LoopClock().now() - START) / 86_400_000
    raw = story.given[story.halt(days, days + 2, Global())]
    refusal = error_response(ModelHalted("halted", raw))

    def rogue(_: Handler) -> Handler:
        async def pump(send: SendFrame) -> None:
            await send(data_frame(b'{"choices":[]}'))
            await send(data_frame(refusal.body))

        async def handle(_: SignedRequest) -> Response | StreamReply:
            asked.append(watch.ended is not None)
            return refusal if len(asked) in (2, 3) else StreamReply(200, (), pump)

        return Answering(handle)

    async with watched(story, Endless(), rogue) as (watch, _):
        await until(lambda: watch.relapsed)
        assert asked == [False, True, True, True]
        assert (watch.ended, watch.order) == (None, b"")
        assert watch.tokens == 2
        await until(lambda: not watch.flows)
        assert "served again" in watch.fault


@pytest.mark.parametrize("shown", ["another's", "none", "no order", "a drill"])
async def test_what_no_keyholder_signed_or_what_stops_nothing_ends_nothing(shown: str, story: Story) -> None:
    stranger = Keyholders(name="a stranger")
    forged = stranger.sign(stranger.order(story.chain, Halt(Global(), GroupKey.HALT), START, START + 1_000))
    drill = story.keyholders.sign(story.keyholders.order(story.chain, Drill(Global()), START, START + 3_600_000))
    lie = {"another's": forged, "none": b"", "no order": b"x" * 100, "a drill": drill}[shown]
    says = [True]

    def lying(door: Handler) -> Handler:
        async def handle(request: SignedRequest) -> Response | StreamReply:
            return error_response(ModelHalted("believe me", lie)) if says[0] else await door.handle(request)

        return Answering(handle)

    async with watched(story, Endless(), lying) as (watch, _):
        await until(lambda: watch.refuses)
        assert (watch.ended, watch.order, watch.flows) == (None, b"", False)
        assert "no order of these keyholders that stops it now: believe me" in watch.fault
        says[0] = False
        await until(lambda: watch.flows)
        assert (watch.refuses, watch.fault) == (False, "")


@pytest.mark.parametrize("how", ["an error", "a cut"])
async def test_a_stream_that_breaks_off_is_no_stop(how: str, story: Story) -> None:
    broken: list[int] = []

    def breaking(door: Handler) -> Handler:
        async def pump(send: SendFrame) -> None:
            await send(data_frame(b'{"choices":[]}'))
            broken.append(1)
            if how == "a cut":
                raise RuntimeError("the node falls over")
            await send(data_frame(error_response(Busy("later")).body))

        async def handle(request: SignedRequest) -> Response | StreamReply:
            return StreamReply(200, (), pump) if len(broken) < 3 else await door.handle(request)

        return Answering(handle)

    async with watched(story, Endless(), breaking) as (watch, miner):
        await until(lambda: bool(watch.fault))
        assert watch.ended is None
        await until(lambda: watch.flows and len(broken) == 3)
        await miner.guard.receive(halt(story))
        await until(lambda: watch.ended is not None)


async def test_who_does_not_answer_has_a_fault_until_it_does(story: Story) -> None:
    async with watched(story, Endless()) as (watch, miner):
        await until(lambda: watch.flows)
        miner.network.cut("client", "miner")
        await until(lambda: bool(watch.fault))
        assert (watch.flows, watch.ended, watch.refuses) == (False, None, False)
        miner.network.heal()
        await until(lambda: watch.flows)
        assert watch.fault == ""


def stops(story: Story, i: bytes, day: float = 1, served: Subject | None = None, only: str = "") -> bool:
    """Whether an order counts as a stop for who knows all of the story."""
    return Stops(Orders(story.state), (served or subject(),), only).by(story.given[i], ms(day))


@pytest.mark.parametrize("target", TARGETS)
def test_a_halt_that_covers_a_miner_stops_it_until_it_ends(target: str, story: Story) -> None:
    halt = story.halt(0, 2, TARGETS[target], quietly=True)
    assert stops(story, halt)
    assert not stops(story, halt, 2)
    assert not stops(story, halt, served=Subject(2, bytes(32), facts("another"))) or target == "global"
    assert Stops(Orders(story.state), (Subject(2), subject())).by(story.given[halt], ms(1))
    assert stops(story, halt, only=halt.hex()[:16])
    assert not stops(story, halt, only=bytes(32).hex()[:16])


def test_an_extend_stops_who_its_halt_does_and_so_long_does_its_halt(story: Story) -> None:
    halt = story.halt(0, 2)
    longer = story.extend(1, halt, 2, 4)
    for order in (halt, longer):
        assert stops(story, order, 3)
        assert not stops(story, order, 4)
    other = story.halt(0, 2, models("another"))
    assert not stops(story, story.extend(1, other, 2, 4))
    assert not stops(story, story.extend(1, bytes(32), 2, 4))


def test_a_raise_stops_its_models_until_it_is_lowered(story: Story) -> None:
    raised = story.raise_class(0)
    assert stops(story, raised)
    assert not stops(story, story.raise_class(0, "another"))
    story.lower(0, ("model",), (raised,))
    assert not stops(story, raised)


def test_what_is_systemic_is_stopped_until_the_lift(story: Story) -> None:
    halt = story.halt(0, 2)
    assert stops(story, halt, 9, systemic())
    story.lift(3, halt)
    assert not stops(story, halt, 9, systemic())


def test_what_keyholders_sign_besides_stops_nothing(story: Story) -> None:
    halt = story.halt(0, 3)
    lift = story.lift(1, halt)
    orders = (lift, halt, story.drill(0, 3), story.lease(0, 3), story.lower(0, ("model",)), story.heartbeat(0))
    assert [stops(story, i) for i in orders] == [False] * 6


def test_what_the_ledger_knew_as_lifted_is_no_stop(story: Story) -> None:
    halt = story.halt(0, 3)
    lift = story.lift(1, halt)

    def known(*ids: bytes) -> Stops:
        rows = tuple(OrderRecord(story.given[i], 1 + n, ms(1), n) for n, i in enumerate(ids))
        recorded = RecordedBrake(9, BrakeRecord(bytes(32), bytes(32), len(rows), len(rows)), rows, ())
        return Stops(Orders(keyholders_known(story.genesis, recorded)), (subject(),))

    assert known(halt).by(story.given[halt], ms(2))
    assert known(lift).by(story.given[halt], ms(2)) is known(halt, lift).by(story.given[halt], ms(2)) is False

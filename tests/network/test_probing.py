"""A stream held open at a miner from outside: only an order of the keyholders ends it for good."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from trio.testing import MockClock

from davy.killswitch.brake import first_state
from davy.miners.backend import Backend
from davy.network.error_responses import error_response
from davy.network.events import data_frame
from davy.network.probing import Probed, Watch
from davy.network.signed_client import SignedClient
from davy.protocol.errors import Busy, ModelHalted
from davy.protocol.order import Global, GroupKey, Halt
from davy.protocol.ports import Handler, Response, SendFrame, SignedRequest, StreamReply
from davy.protocol.receipt import Anchor
from davy.protocol.words import KeyRole
from tests.killswitch.story import START, Story
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
    anchor, state = Anchor(10, head(10).hash), first_state(story.genesis)
    watch = Watch(probed, client, LoopClock(), anchor, state)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch.run)
        yield watch, miner
        tasks.cancel_scope.cancel()


async def test_a_stream_is_held_until_the_keyholders_order_ends_it(story: Story) -> None:
    async with watched(story, Endless()) as (watch, miner):
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
        tokens = watch.tokens
        await anyio.sleep(1)
        assert watch.tokens == tokens, "it is not asked again"


async def test_an_answer_that_ends_by_itself_is_asked_for_again_and_again_in_a_context_that_is_small(
    story: Story,
) -> None:
    async with watched(story, Letters()) as (watch, miner):
        await until(lambda: watch.tokens > 2 * len("abcdefghijklmnopqrstuvwxyz"))
        assert watch.ended is None
        await miner.guard.receive(halt(story))
        await until(lambda: watch.ended is not None)


@pytest.mark.parametrize("shown", ["another's", "none", "no order"])
async def test_what_no_keyholder_signed_ends_nothing(shown: str, story: Story) -> None:
    stranger = Keyholders(name="a stranger")
    forged = stranger.sign(stranger.order(story.chain, Halt(Global(), GroupKey.HALT), START, START + 1_000))
    lie = {"another's": forged, "none": b"", "no order": b"x" * 100}[shown]
    says = [True]

    def lying(door: Handler) -> Handler:
        async def handle(request: SignedRequest) -> Response | StreamReply:
            return error_response(ModelHalted("believe me", lie)) if says[0] else await door.handle(request)

        return Answering(handle)

    async with watched(story, Endless(), lying) as (watch, _):
        await until(lambda: watch.refuses)
        assert (watch.ended, watch.order, watch.flows) == (None, b"", False)
        assert "no order of these keyholders: believe me" in watch.fault
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

"""A halt at a validator's edges: who is halted is neither asked nor scored, and a word of 451 alone excuses nobody."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any, cast

import anyio
import msgspec
import numpy as np
import pytest
from trio.testing import MockClock

from davy.killswitch.brake import first_state
from davy.killswitch.guard import Guard
from davy.miners.backend import identity_of
from davy.network.attesting import Attesting
from davy.network.brake_peers import BrakePeers
from davy.network.error_responses import error_response
from davy.network.node_brake import NodeBrake
from davy.network.openai import CompletionRequest
from davy.network.signed_client import SignedClient
from davy.protocol.chain import Head, Metagraph, Neuron, ServedModel
from davy.protocol.errors import Malformed, ModelHalted
from davy.protocol.manifest import model_id
from davy.protocol.order import Global, Models, Subnet
from davy.protocol.order import Miner as MinerTarget
from davy.protocol.ports import Ports, Response, SignedRequest
from davy.protocol.recorded import BrakeRecord, Facts, RecordedBrake, SubjectFacts
from davy.protocol.words import KeyRole
from davy.validators.challenger import Answered, Challenger
from davy.validators.examiner import Examiner, Means, Pace, Round
from davy.validators.node import Timing, ValidatorNode
from davy.validators.standing import Seat
from tests.killswitch.story import START, Story, order_of
from tests.miners.stage import CHAIN, MINER, VALIDATOR, Letters, Miner, head, metagraph, neuron, start
from tests.miners.test_halted import Endless, halt
from tests.twins import LoopClock, MemoryStore, SeededEntropy
from tests.twins.brake import KnowsModels

pytestmark = pytest.mark.anyio
ASKED = CompletionRequest("any", "ab", max_tokens=3, temperature=0.0)


@pytest.fixture
def anyio_backend() -> object:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Graph(KnowsModels):
    def __init__(self, *neurons: Neuron) -> None:
        self._neurons = neurons

    def unchanged(self, netuid: int, since: int) -> bool:
        return False  # it says nothing

    async def metagraph(self, netuid: int, at: int | None = None) -> Metagraph:
        return metagraph(10, *self._neurons)


class Stage:
    """A validator that can ask one miner, both under the story's keyholders."""

    def __init__(self, miner: Miner) -> None:
        self.story, self.clock, self.miner = Story(), LoopClock(), miner
        served = ServedModel(miner.handler.serving.model_id, identity_of(miner.handler.serving.manifest), 1)
        self.neuron = neuron(1, MINER.public(KeyRole.HOTKEY), endpoint=(miner.endpoint,), model=(served,))
        self.guard = Guard(first_state(self.story.genesis), keys=VALIDATOR, clock=self.clock, store=MemoryStore())
        self.transport = miner.network.transport("validator")
        self.peers = BrakePeers(self.guard, self.transport, self.clock, SeededEntropy(), MemoryStore())
        ledger = cast("Any", Graph(self.neuron))
        self.attesting = Attesting(self.guard, VALIDATOR, ledger, MemoryStore())
        self.brake = NodeBrake(self.guard, self.peers, self.attesting, ledger)
        client = SignedClient(VALIDATOR, CHAIN, self.transport, self.clock, SeededEntropy(5))
        self.challenger = Challenger(client, self.clock, head(10), self.brake)
        nothing = cast("Any", None)
        self.means = means = Means(
            cast("Any", Asking()), nothing, self.challenger, (), self.brake, cast("Any", Graph(self.neuron)),
            MemoryStore(), SeededEntropy(), self.clock, nothing,
        )  # fmt: skip
        self.examiner = Examiner([1], VALIDATOR.public(KeyRole.HOTKEY), means, Pace())

    async def open(self) -> Stage:
        await self.guard.at_block(Head(10, self.clock.now(), bytes(32), bytes(32)), [])
        return self

    async def ask(self) -> Answered:
        """As a round would."""
        graph = metagraph(10, self.neuron)
        r = Round([ASKED], [self.neuron], [graph], [(0, self.neuron)], [0])
        return (await self.examiner._ask_all(r, self.clock.now()))[0, self.neuron.hotkey]  # pyright: ignore[reportPrivateUsage]

    async def planned(self) -> list[bytes]:
        r = await self.examiner._plan(np.random.default_rng(1), [ASKED])  # pyright: ignore[reportPrivateUsage]
        return [n.hotkey for n in r.miners]


class Asking:
    def request(self, c: CompletionRequest) -> CompletionRequest:
        return c

    def score(self, c: CompletionRequest, answers: Sequence[object]) -> list[float]:
        return [0.0 for _ in answers]

    def baseline(self, c: CompletionRequest) -> float:
        return 0.0


async def stage(backend: Letters | None = None) -> Stage:
    miner = await start(backend or Letters())
    return await Stage(miner).open()


async def test_who_is_not_halted_is_asked() -> None:
    s = await stage()
    assert await s.planned() == [s.neuron.hotkey]
    answer = await s.ask()
    assert (answer.reason, answer.halted) == ("", False)
    assert answer.response is not None


async def test_who_is_halted_is_not_asked() -> None:
    s = await stage()
    await s.guard.receive(halt(s.story, MinerTarget(s.neuron.hotkey)))
    assert await s.planned() == []
    seen: list[SignedRequest] = []

    class Counting:
        async def handle(self, request: SignedRequest) -> Response:
            seen.append(request)
            return Response(500, (), b"")

    s.miner.network.serve(s.miner.endpoint, Counting())
    answer = await s.ask()
    assert answer.halted
    assert seen == []


async def test_a_halt_ends_what_is_asked() -> None:
    s = await stage(Endless())
    answers: list[Answered] = []

    async def ask() -> None:
        answers.append(await s.ask())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await anyio.sleep(0.15)
        await s.guard.receive(halt(s.story, Models((model_id(Letters().manifest()),), (), ())))
    assert [a.halted for a in answers] == [True]


async def test_before_the_pull_nobody_is_asked() -> None:
    s = Stage(await start(Letters()))
    assert await s.planned() == []
    assert (await s.ask()).halted


async def test_a_miner_tells_of_a_halt_that_nobody_knew() -> None:
    s = await stage()
    raw = halt(s.story)

    class Knows:
        async def handle(self, request: SignedRequest) -> Response:
            return error_response(ModelHalted("halted", raw))

    s.miner.network.serve(s.miner.endpoint, Knows())
    answer = await s.ask()
    assert answer.halted
    assert raw in [v.raw for v in s.guard.state.orders.values()]


@pytest.mark.parametrize("order", [b"", b"junk", base64.b64encode(b"junk" * 20)])
async def test_a_word_of_451_alone_excuses_nobody(order: bytes) -> None:
    s = await stage()

    class Pretends:
        async def handle(self, request: SignedRequest) -> Response:
            return error_response(ModelHalted("halted", order))

    s.miner.network.serve(s.miner.endpoint, Pretends())
    answer = await s.ask()
    assert answer.response is None
    assert not answer.halted


async def test_another_halt_excuses_nobody_either() -> None:
    s = await stage()
    raw = halt(s.story, Models((b"\x33" * 32,), (), ()))

    class Pretends:
        async def handle(self, request: SignedRequest) -> Response:
            return error_response(ModelHalted("halted", raw))

    s.miner.network.serve(s.miner.endpoint, Pretends())
    assert not (await s.ask()).halted


async def test_a_receipt_with_another_head_is_noted() -> None:
    s = await stage()
    noted: list[bytes] = []
    s.peers.note = lambda head, endpoint, node: noted.append(head)  # type: ignore[method-assign]
    await s.ask()
    assert noted == [s.miner.guard.head]


async def test_who_is_registered_where_it_does_not_serve_yet_is_scored_there_too() -> None:
    """Metagraphs are read one after the other, and a miner says on which subnets it serves only after it registered."""
    s = await stage()
    idle = neuron(4, s.neuron.hotkey)
    here, there = metagraph(10, s.neuron), metagraph(10, idle)
    there = msgspec.structs.replace(there, subnet=msgspec.structs.replace(there.subnet, netuid=2))

    async def at_once(work: Callable[[], Any]) -> Any:
        return work()

    means = s.means._replace(ledger=cast("Any", Graph(s.neuron)), offload=at_once)
    examiner = Examiner([1, 2], VALIDATOR.public(KeyRole.HOTKEY), means, Pace())
    for standings in examiner.standings.values():
        await standings.open()
    round_ = Round([ASKED], [s.neuron], [here, there], [(0, s.neuron)], [0])
    await examiner._take_in(round_, {(0, s.neuron.hotkey): Answered(None, "late")})  # pyright: ignore[reportPrivateUsage]
    held = [examiner.standings[m].of(Seat(n.hotkey, n.registered_at)) for m, n in ((1, s.neuron), (2, idle))]
    assert [standing.count for standing in held] == [1, 1]


@pytest.mark.parametrize(
    "facts",
    [
        lambda n, m: SubjectFacts(0, 1, n.hotkey, (), (), (), False),
        lambda n, m: SubjectFacts(0, 1, n.hotkey, (Facts(b"z" * 32, (), b"y" * 32),), (), (), False),
        lambda n, m: SubjectFacts(0, 9, b"q" * 32, (Facts(m, (), b"y" * 32),), (), (), False),
    ],
)
async def test_a_ledger_that_tells_of_something_else_frees_nothing(
    facts: Callable[[Neuron, bytes], SubjectFacts], monkeypatch: pytest.MonkeyPatch
) -> None:
    s = await stage()
    model = model_id(Letters().manifest())
    await s.guard.receive(halt(s.story, Models((model,), (), ())))

    async def subject(netuid: int, hotkey: bytes, model: bytes | None = None) -> SubjectFacts:
        return facts(s.neuron, model or b"")

    monkeypatch.setattr(s.brake._ledger, "subject", subject)  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(Malformed):
        await s.brake.permit(1, s.neuron.hotkey, model)
    assert await s.planned() == []


async def test_no_answer_of_a_ledger_ends_a_validator() -> None:
    s = await stage()

    async def metagraph(netuid: int, at: int | None = None) -> Metagraph:
        raise Malformed("what answers there is no ledger of this version")

    async def at_once(work: Callable[[], Any]) -> Any:
        return work()

    class Drawing(Asking):
        def challenge(self, *_: object) -> CompletionRequest:
            return ASKED

    ledger = cast("Any", Graph(s.neuron))
    ledger.metagraph = metagraph
    means = s.means._replace(task=cast("Any", Drawing()), ledger=ledger, offload=at_once)
    with anyio.move_on_after(100) as waiting:
        await Examiner([1], VALIDATOR.public(KeyRole.HOTKEY), means, Pace()).run()
    assert waiting.cancelled_caught


class Weighing:
    """A source of weights that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def run(self) -> None:
        await anyio.sleep_forever()

    def see(self, head: Head) -> None:
        self.head = head

    async def weights(self, m: Metagraph) -> tuple[()]:
        self.asked += 1
        return ()


async def test_nothing_is_committed_for_a_halted_subnet() -> None:
    s = await stage()
    own = neuron(0, VALIDATOR.public(KeyRole.HOTKEY), 5)
    source = Weighing()

    class Braked(Graph):
        chain = CHAIN

        def __init__(self) -> None:
            super().__init__(own)

        async def told_brake(self, known: object = None) -> RecordedBrake:
            return RecordedBrake(20, BrakeRecord(bytes(32), bytes(32), 0, 0), (), ())

        brake = told_brake

        async def submit(self, raw: bytes) -> bytes:
            return bytes(32)

    ledger = cast("Any", Braked())
    ports = Ports(VALIDATOR, ledger, s.clock, SeededEntropy(), MemoryStore(), s.transport)
    brake = NodeBrake(s.guard, s.peers, s.attesting, ledger)
    node = ValidatorNode([1], ports, source, brake, Timing(commit_at=0.0))
    await node.at_block(head(19))
    assert source.asked == 1
    recorded: list[bytes] = []
    for target in (Subnet(1), Global()):
        raw = halt(s.story, target)
        await s.guard.receive(raw)
        await node.at_block(head(20))
        assert source.asked == 1
        days = (s.clock.now() - START) / 86_400_000
        recorded += [raw, s.story.given[s.story.lift(days, order_of(raw).id)]]
        await s.guard.at_block(head(20), [(one, s.clock.now()) for one in recorded])
    await s.guard.receive(halt(s.story, Subnet(2)))
    await node.at_block(head(20))
    assert source.asked == 2

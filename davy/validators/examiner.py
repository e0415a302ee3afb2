"""The honest source of weights: examines every miner with the same private challenges, round after round.

A round: draw challenges, ask every miner each of them at its own random moment, score what came in time, add the
evidence on identity and originality, persist. Weights follow from standing and evidence alone:

    weight ∝ max(0, skill − 2 standard errors) · Π factors of the evidence

Rounds follow each other without a pause, and how many challenges one holds is drawn (Poisson): so to a miner they are
a Poisson stream, as users' requests are, and neither a silence nor a round's count tells them apart.

Subnets of one task share their challenges: a hotkey registered on several of them is asked once. A validator that
spares (`Pace.spares`) gives only half of the challenges, drawn by a coin, to miners that have no hope of being paid.
Miners that are paid, and those that may yet be, get them all: otherwise a standing would be built faster than it is
used up.

A halted miner is neither asked nor scored. Its standing stays as it was, and so does its weight: a halt is no
judgement, and the ledger, which mints nothing for the halted, pays nothing of it to their rivals. Nor is one asked
whose model's registrant keeps this validator out, for as long as it has no permit there.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, Final, NamedTuple

import anyio

from davy.killswitch.scope import Subject
from davy.network.access import Accesses, Applicant, admits, applicant
from davy.network.node_brake import NodeBrake, Place
from davy.protocol.chain import Head, Metagraph, Neuron
from davy.protocol.errors import BadAnswer, DavyError, StoreFailed, Unauthorised
from davy.protocol.manifest import Access
from davy.protocol.ports import Clock, Entropy, LedgerClient, Store
from davy.protocol.transaction import Weight
from davy.protocol.words import Hotkey, UnixMillis
from davy.tasks.corpus import private_rng
from davy.tasks.skill import MINIMUM, UNIT, Standing, hopeless, weight, weights_u16
from davy.tasks.task import Corpus, Generator, Task, differences
from davy.validators.challenger import Answered, Asker, arrivals
from davy.validators.evidence import Evidence, Exchange, Finding
from davy.validators.grounds import Ground, Grounds, ground
from davy.validators.source import bound
from davy.validators.standing import Seat, Standings, Verdict

_log = logging.getLogger(__name__)

SERVED_LONG: Final = 2
"""Tempos a model must have been served before a round is forgiven for its replacement."""
_SHARE: Final = 0.5
"""Of the challenges that those get who are spared."""
_JUDGED: Final = 2
"""Rounds that may wait to be judged. A validator too slow for its pace pauses until one is: a silence that tells."""


class Pace(NamedTuple):
    """How a validator spreads its challenges.

    Parameters
    ----------
    challenges
        A round's, on average; every miner gets each of them.
    span_ms
        Over which a round's requests leave; the next round's follow at once.
    deadline_ms
        After which an answer is no answer. Generous: speed is not scored.
    parallel
        Requests under way at once, over all rounds; the others wait unsent. So a validator on a machine that is too
        slow for its pace asks later, and no miner is charged with answers that were slow because of it.
    minimum
        Challenges before a miner is paid.
    spares
        Whether who is hopeless (`davy.tasks.skill.hopeless`) gets half the challenges: half the work for both, and
        twice the time until a change for the better shows.
    """

    challenges: int = 16
    span_ms: int = 30_000
    deadline_ms: int = 20_000
    parallel: int = 256
    minimum: int = MINIMUM
    spares: bool = False


class Round(NamedTuple):
    """What is asked in one round: challenges by number and miner, and when each leaves, in ms after the round began."""

    challenges: Sequence[Any]
    miners: Sequence[Neuron]
    graphs: Sequence[Metagraph]
    asked: Sequence[tuple[int, Neuron]]
    leave_ms: Sequence[int]


class Means(NamedTuple):
    """What an examiner works with; all of it is handed in, so that a test can switch one thing off.

    Parameters
    ----------
    offload
        Runs a long computation: in a worker thread in production, at once in virtual time.
    """

    task: Task[Any, Any]
    corpus: Corpus
    challenger: Asker
    evidence: Sequence[Evidence]
    brake: NodeBrake
    ledger: LedgerClient
    store: Store
    entropy: Entropy
    clock: Clock
    offload: Callable[[Callable[[], Any]], Awaitable[Any]]


class Examiner:
    """See the head of this file; `run` examines, `weights` answers from what is persisted."""

    def __init__(self, netuids: Sequence[int], own: Hotkey, means: Means, pace: Pace) -> None:
        self._netuids, self._own, self._pace = tuple(netuids), own, pace
        self._task, self._corpus, self._challenger = means.task, means.corpus, means.challenger
        self._evidence, self._ledger, self._entropy = tuple(means.evidence), means.ledger, means.entropy
        self._clock, self._offload, self._brake = means.clock, means.offload, means.brake
        self._accesses = Accesses(means.ledger)
        self._looked: tuple[tuple[Metagraph, ...], Applicant] = (), Applicant(own)
        self._judging = anyio.Lock()
        self._slots = anyio.Semaphore(pace.parallel, fast_acquire=True)
        # A miner that hangs holds its round up to the deadline; the next ones begin nevertheless.
        self._under_way = anyio.Semaphore(_JUDGED + -(-pace.deadline_ms // pace.span_ms))
        self.standings = {n: Standings(n, means.store) for n in netuids}
        self.grounds = {n: Grounds(n, means.store) for n in netuids}

    async def run(self) -> None:
        """Examine until cancelled; a ledger that does not answer is waited for."""
        # A new one each start: a round that a crash cut off must not be asked again, its challenges are known.
        secret = self._entropy.bytes(32)
        for standings in self.standings.values():
            await standings.open()
        for grounds in self.grounds.values():
            await grounds.open()
        begins = self._clock.now()
        async with anyio.create_task_group() as tasks:
            for number in count():
                rng = private_rng(secret, netuid=self._netuids[0], epoch=number)
                drawn = await self._draw(rng)
                await self._under_way.acquire()
                begins = max(begins, self._clock.now())
                await self._clock.sleep_until(begins)
                try:
                    tasks.start_soon(self._hold, await self._plan(rng, drawn), begins)
                except StoreFailed:
                    raise
                except DavyError as e:
                    self._under_way.release()
                    _log.warning("no round: %s", e)
                begins += self._pace.span_ms

    async def _draw(self, rng: Generator) -> Sequence[Any]:
        wanted = int(rng.poisson(self._pace.challenges))
        return await self._offload(lambda: [self._task.challenge(rng, self._corpus) for _ in range(wanted)])

    async def _plan(self, rng: Generator, drawn: Sequence[Any]) -> Round:
        """Who is asked what when.

        Raises
        ------
        Unreachable, TxFailed
            The metagraph cannot be read.
        """
        graphs = [await self._ledger.metagraph(n) for n in self._netuids]
        miners = list({n.hotkey: n for m in graphs for n in m.neurons if self._asked(n)}.values())
        places = [place for miner in miners for place in _served(miner, graphs)]
        await self._brake.learn(places)
        models = {model for _, _, model in places}
        await self._accesses.follow(self._netuids, models, self._challenger.head.height)
        miners = [n for n in miners if await self._permitted(n, graphs)]
        spared = self._hopeless(graphs) if self._pace.spares else frozenset[Hotkey]()
        all_ = rng.random(len(drawn)) < _SHARE if spared else [True] * len(drawn)
        asked = [(i, n) for i in range(len(drawn)) for n in miners if all_[i] or n.hotkey not in spared]
        return Round(drawn, miners, graphs, asked, arrivals(rng, len(asked), self._pace.span_ms))

    def _hopeless(self, graphs: Sequence[Metagraph]) -> frozenset[Hotkey]:
        """Whom no further challenge is likely to pay on any of its subnets, unless it serves a new model."""
        seen = [(m, n) for m in graphs for n in m.neurons if self._asked(n)]
        hoping = {
            n.hotkey
            for m, n in seen
            if not (_served_long(m, n) and hopeless(self._standing(m, n), minimum=self._pace.minimum))
        }
        return frozenset(n.hotkey for _, n in seen) - hoping

    def _standing(self, m: Metagraph, n: Neuron) -> Standing:
        return self.standings[m.subnet.netuid].of(Seat(n.hotkey, n.registered_at))

    async def _hold(self, r: Round, began: UnixMillis) -> None:
        """Ask, and take in what was answered; the next round is asked meanwhile.

        Raises
        ------
        StoreFailed
            What was found cannot be kept.
        """
        answered = await self._ask_all(r, began)
        async with self._judging:
            try:
                if answered:
                    await self._take_in(r, answered)
            except StoreFailed:
                raise
            except DavyError as e:
                _log.warning("a round was not counted: %s", e)
        self._under_way.release()

    async def _take_in(self, r: Round, answered: Mapping[tuple[int, Hotkey], Answered]) -> None:
        for claim in self._evidence:
            await claim.prepare(r.miners)
        found = await self._offload(lambda: self._judge(r.challenges, r.miners, answered, self._clock.now()))
        halted = {hotkey for (_, hotkey), answer in answered.items() if answer.halted}
        changed = set(await self._changed(r))
        # Was asked for a model it no longer serves, or that was halted meanwhile: only what it answered counts.
        forgiven = {hotkey for hotkey in changed | halted if any(v.reason for v in found[hotkey])}
        for hotkey in forgiven:
            found[hotkey] = [v for v in found[hotkey] if not v.reason]
        for m in r.graphs:
            seats = {Seat(n.hotkey, n.registered_at): n for n in m.neurons}
            judged = {seat: n for seat, n in seats.items() if n.hotkey in found and await self._permitted(n, [m])}
            verdicts = {seat: found[n.hotkey] for seat, n in judged.items()}
            await self.standings[m.subnet.netuid].add_round(verdicts, list(seats))
            grounds = await self._offload(partial(self._grounds, m))
            await self.grounds[m.subnet.netuid].add_round(
                grounds, list(seats), swapped=forgiven & changed, halted=forgiven - changed
            )

    async def _changed(self, r: Round) -> list[Hotkey]:
        """Who serves another model than when the round was planned, and had served that one for `SERVED_LONG` tempos.

        To say `serve` again, or to go to another model and back, must not make failures undone: a miner would then
        answer easy prompts only. Once in `SERVED_LONG` tempos is for honest swaps.
        """
        now = {n.hotkey: n for netuid in self._netuids for n in (await self._ledger.metagraph(netuid)).neurons}
        served_long = {n.hotkey for m in r.graphs for n in m.neurons if n.model and _served_long(m, n)}
        return [
            n.hotkey for n in r.miners if n.hotkey in served_long and _model_ids(now.get(n.hotkey, n)) != _model_ids(n)
        ]

    def see(self, head: Head) -> None:
        """Anchor the next requests to this block."""
        self._challenger.head = head

    async def weights(self, m: Metagraph) -> tuple[Weight, ...]:
        """Weights by standing and evidence, scaled so that the best is 65535."""
        miners = [n for n in m.neurons if self._asked(n)]
        worth = self._worth(m, miners)
        for claim in self._evidence:
            worth = _lowered(worth, claim.findings(miners, worth))
        return bound(m, weights_u16({n.uid: worth[n.hotkey] for n in miners}))

    def _worth(self, m: Metagraph, miners: Sequence[Neuron]) -> dict[Hotkey, float]:
        """Weights by standing alone."""
        return {n.hotkey: weight(self._standing(m, n), minimum=self._pace.minimum) for n in miners}

    def _grounds(self, m: Metagraph) -> dict[Seat, list[Ground]]:
        """What each claim says now of whoever is asked, in the order in which weights are lowered."""
        miners = [n for n in m.neurons if self._asked(n)]
        worth = self._worth(m, miners)
        said: dict[Seat, list[Ground]] = {Seat(n.hotkey, n.registered_at): [] for n in miners}
        for claim in self._evidence:
            found = claim.findings(miners, worth)
            for seat, grounds in said.items():
                if seat.hotkey in found:
                    grounds.append(ground(claim.name, found[seat.hotkey]))
            worth = _lowered(worth, found)
        return said

    def _asked(self, n: Neuron) -> bool:
        return n.hotkey != self._own and bool(n.endpoint) and bool(n.model)

    async def _subjects(self, miner: Neuron, graphs: Sequence[Metagraph]) -> list[Subject]:
        """What the guard permits: all that a miner serves on these subnets, as far as its registrant lets us ask.

        Raises
        ------
        ModelHalted, Busy
            Something of it is not permitted.
        Unauthorised
            A registrant keeps this validator out: without a permit it scores nothing of it. What a miner says of that
            counts for nothing, or it would answer only what it likes.
        TxFailed, Unreachable
            The ledger does not say.
        """
        places = _served(miner, graphs)
        subjects = [await self._brake.subject(*place) for place in places]
        for subject in subjects:
            self._brake.guard.permit(subject)
        for _, _, model in places:
            said = await self._accesses.of(model, self._challenger.head.height)
            if said.access is not Access.ANY and not admits(said, self._applicant(graphs)):
                raise Unauthorised("the registrant of this model keeps this validator out, which has no permit there")
        return subjects

    def _applicant(self, graphs: Sequence[Metagraph]) -> Applicant:
        """This validator, looked for once in the same metagraphs: a plan asks so of every miner."""
        before, known = self._looked
        if len(before) != len(graphs) or any(a is not b for a, b in zip(before, graphs, strict=True)):
            known = applicant(self._own, graphs)
            self._looked = tuple(graphs), known
        return known

    async def _permitted(self, miner: Neuron, graphs: Sequence[Metagraph]) -> bool:
        try:
            await self._subjects(miner, graphs)
        except DavyError as e:
            _log.debug("%s is not asked: %s", miner.hotkey.hex()[:16], e)
            return False
        return True

    async def _ask_all(self, r: Round, began: UnixMillis) -> dict[tuple[int, Hotkey], Answered]:
        answers: dict[tuple[int, Hotkey], Answered] = {}

        async def ask(number: int, miner: Neuron, at: int) -> None:
            await self._clock.sleep_until(began + at)
            async with self._slots:
                answers[number, miner.hotkey] = await self._ask(r, number, miner)

        async with anyio.create_task_group() as tasks:
            for (number, miner), at in zip(r.asked, r.leave_ms, strict=True):
                tasks.start_soon(ask, number, miner, at)
        return answers

    async def _ask(self, r: Round, number: int, miner: Neuron) -> Answered:
        request = self._task.request(r.challenges[number])
        try:
            async with self._brake.guard.running(*await self._subjects(miner, r.graphs)):
                answer = await self._challenger.ask(miner, request, deadline_ms=self._pace.deadline_ms)
        except DavyError as e:
            return Answered(None, str(e)[:200], halted=True)
        # The miner may have told of a halt that nobody here knew, with the order that proves it.
        return answer._replace(halted=answer.response is None and not await self._permitted(miner, r.graphs))

    def _judge(
        self,
        drawn: Sequence[Any],
        miners: Sequence[Neuron],
        answered: Mapping[tuple[int, Hotkey], Answered],
        now: UnixMillis,
    ) -> dict[Hotkey, list[Verdict]]:
        verdicts: dict[Hotkey, list[Verdict]] = {n.hotkey: [] for n in miners}
        exchanges: list[Exchange] = []
        for number, challenge in enumerate(drawn):
            asked = [n for n in miners if (number, n.hotkey) in answered]
            parsed: dict[Hotkey, Any] = {}
            reasons: dict[Hotkey, str] = {}
            for n in asked:
                parsed[n.hotkey], reasons[n.hotkey] = self._parse(challenge, answered[number, n.hotkey])
            scores = differences(self._task, challenge, [parsed[n.hotkey] for n in asked])
            name = f"{now}-{number}"
            for n, d in zip(asked, scores, strict=True):
                verdicts[n.hotkey].append(Verdict(name, now, round(float(d) * UNIT), reasons[n.hotkey]))
            exchanges.append(Exchange(challenge, parsed))
        for claim in self._evidence:
            claim.observe(miners, exchanges)
        return verdicts

    def _parse(self, challenge: Any, answer: Answered) -> tuple[Any, str]:
        if answer.response is None:
            return None, answer.reason or "no answer"
        try:
            return self._task.parse(challenge, answer.response), ""
        except BadAnswer as e:
            return None, str(e)[:200]
        except Exception as e:  # a task may be anybody's, and its answers come from anybody: neither ends a validator
            _log.exception("the task could not read an answer")
            return None, f"the task could not read it: {type(e).__name__}"


def _lowered(worth: Mapping[Hotkey, float], found: Mapping[Hotkey, Finding]) -> dict[Hotkey, float]:
    return {hotkey: w * (found[hotkey].factor if hotkey in found else 1.0) for hotkey, w in worth.items()}


def _served(miner: Neuron, graphs: Sequence[Metagraph]) -> list[Place]:
    """All that a miner serves on these subnets."""
    return [
        (m.subnet.netuid, n.hotkey, n.model[0].model_id)
        for m in graphs
        for n in m.neurons
        if n.hotkey == miner.hotkey and n.model
    ]


def _served_long(m: Metagraph, n: Neuron) -> bool:
    return n.model[0].since + SERVED_LONG * m.subnet.hyperparameters.tempo <= m.height


def _model_ids(n: Neuron) -> tuple[bytes, ...]:
    return tuple(served.model_id for served in n.model)

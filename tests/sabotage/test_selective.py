"""A miner good to validators and weak to users earns nothing where users' answers are looked at, in virtual time.

Without that look it earns as a good one: so the look is what carries the claim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias, cast

import pytest

from davy.miners.backend import Backend
from davy.network.exchange import Exchanges
from davy.protocol.chain import EpochRecord, ModelRecord
from davy.sims.adversaries import sabotage
from davy.sims.adversaries.selective import TwoFaced
from davy.tasks.shape import Shapes
from davy.validators.examiner import Means
from davy.validators.identity import IdentityEvidence, Known
from davy.validators.organic import OrganicEvidence
from tests.simulated.guess import Guesser
from tests.simulated.ledger import SimulatedClient
from tests.simulated.play import play
from tests.simulated.use import gateway, library, read, registered, use
from tests.simulated.world import Setting, World

Change: TypeAlias = Callable[[Means], Means]
Cheat: TypeAlias = Callable[[Backend, Backend, bytes], Backend]
SELECTIVE = "miner-0"
GOOD = ("miner-1", "miner-2")
KNOWLEDGE = (1.0, 1.0, 1.0, 0.0)
# Nothing is lost: with a few answers less than another a good miner earns less, and here good ones are to be equal.
SETTING = Setting(seed=11, miners=4, gateways=1, epochs=14, loss=0.0, challenges=16, knowledge=KNOWLEDGE)
LAST = slice(-3, None)


class Told(NamedTuple):
    """What an epoch paid each miner, and how users fared."""

    paid: list[dict[str, int]]
    answered: list[bool]


def unchanged(means: Means) -> Means:
    return means


class TwoFacedTo(TwoFaced):
    """Knows whose hotkey the users' requests come under, even where that one votes."""

    def __init__(self, shown: Backend, given: Backend, users: bytes) -> None:
        super().__init__(shown, given)
        self._users = users

    def may_score(self, caller: bytes) -> bool:
        return caller != self._users


def selective_market(change: Change, cheat: Cheat | None, *, under: str = "gateway-0", shared: bool = True) -> Told:
    """Play the history.

    Parameters
    ----------
    cheat
        Makes the selective miner of its model, a weak one, and the hotkey that users' requests come under.
    under
        Whose hotkey the gateway asks under.
    shared
        Whether validators see its exchanges that are not its own.
    """

    async def story(world: World) -> Told:
        asks = next(n for n in (*world.validators, *world.gateways) if n.name == under)

        def two_faced(shown: Backend) -> Backend:
            return shown if cheat is None else cheat(shown, Guesser(0.0), asks.hotkey)

        world.cheats[SELECTIVE] = two_faced

        async def at_hand(record: ModelRecord) -> Known:
            return library(world, record)

        def looked(means: Means) -> Means:
            client = cast("SimulatedClient", means.ledger)
            identity = IdentityEvidence(lambda m: registered(client, m), at_hand)
            sources = [Exchanges(asks.store)] if shared or means.store is asks.store else []
            organic = OrganicEvidence(identity, sources, read, world.ledger.chain, means.store, Shapes())
            return change(means._replace(evidence=[organic]))

        world.changed = looked
        answered: list[bool] = []

        async def users() -> None:
            async with gateway(world, asks) as door:
                await use(door, world, answered)

        records = await world.run(users)
        names = {n.uid: n.hotkey for n in (await world.metagraph()).neurons}
        miners = {m.hotkey: m.name for m in world.miners}
        return Told([_paid(r, names, miners) for r in records], answered)

    return play(SETTING, story)


def to_voters_only(shown: Backend, weak: Backend, users: bytes) -> Backend:
    return TwoFaced(shown, weak)


def _paid(r: EpochRecord, names: dict[int, bytes], miners: dict[bytes, str]) -> dict[str, int]:
    return {miners[h]: r.miners[uid] for uid, h in names.items() if h in miners and uid < len(r.miners)}


def of_a_good_one(told: Told, epochs: slice = slice(None)) -> float:
    """What the selective miner was paid ÷ what the good one who got less was."""
    total = {name: sum(e.get(name, 0) for e in told.paid[epochs]) for name in (SELECTIVE, *GOOD)}
    assert min(total[g] for g in GOOD) > 0
    return total[SELECTIVE] / min(total[g] for g in GOOD)


@pytest.mark.parametrize("cheat", [to_voters_only, TwoFacedTo])
def test_who_is_weak_to_users_earns_little_and_then_nothing(cheat: Cheat) -> None:
    told = selective_market(unchanged, cheat)
    assert sum(told.answered) > 0.9 * len(told.answered) > 90
    assert of_a_good_one(told) <= 0.5
    assert of_a_good_one(told, LAST) == 0.0


def test_without_a_look_at_what_users_got_it_earns_as_a_good_one() -> None:
    assert of_a_good_one(selective_market(sabotage.no_organic, to_voters_only)) > 0.8


def test_a_miner_with_one_face_loses_nothing_by_the_look() -> None:
    assert of_a_good_one(selective_market(unchanged, None)) > 0.8


@pytest.mark.parametrize(("shared", "caught"), [(True, True), (False, False)])
def test_the_receipts_of_one_validators_gateway_convince_the_others(shared: bool, caught: bool) -> None:
    told = selective_market(unchanged, TwoFacedTo, under="validator-0", shared=shared)
    assert (of_a_good_one(told, LAST) == 0.0) == caught

"""Any schedule of coordinators, restarts and replays: no nonces sign twice, nothing is signed that nobody agreed to."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from davy.keyholders.messages import Ask, Commit, Committed, Released, Sign
from davy.killswitch.frost import SigningCommitments, SigningPackage, signing_package, verify_share
from davy.killswitch.group import identifier
from davy.protocol.encoding import encode
from davy.protocol.errors import DavyError, Refused
from davy.protocol.order import GroupKey, Order, order_id
from davy.protocol.signing import Domain, prefix
from tests.keyholders.stage import Stage, propose

ATTEMPTS = st.sampled_from([b"\1" * 16, b"\2" * 16])


class Propose(NamedTuple):
    sender: int
    order: int


class Decide(NamedTuple):
    order: int
    yes: bool


class Begin(NamedTuple):
    sender: int
    order: int
    attempt: bytes


class Finish(NamedTuple):
    sender: int
    order: int
    attempt: bytes
    message: int
    """Which order's bytes the package holds."""
    commitments: int
    """Which of bob's commitments, the newest last."""


class Restart(NamedTuple):
    pass


Step: TypeAlias = Propose | Decide | Begin | Finish | Restart
SENDERS, ORDERS = st.sampled_from([0, 2, 3]), st.integers(0, 2)
STEPS = st.lists(
    st.one_of(
        st.builds(Propose, SENDERS, ORDERS),
        st.builds(Decide, ORDERS, st.sampled_from([True, True, False])),
        st.builds(Begin, SENDERS, ORDERS, ATTEMPTS),
        st.builds(Finish, SENDERS, ORDERS, ATTEMPTS, ORDERS, st.integers(-2, -1)),
        st.builds(Finish, SENDERS, ORDERS, ATTEMPTS, st.just(0), st.just(-1)),
        st.just(Restart()),
    ),
    max_size=40,
)


class Play:
    """Bob answers; the others hold shares and try everything."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.bob = stage, stage.people[1]
        self.orders: list[Order] = []
        self.offered: list[SigningCommitments] = []
        self.signed: list[SigningCommitments] = []
        self.agreed: set[bytes] = set()

    async def ask(self, sender: int, ask: Ask) -> object:
        try:
            return await self.bob.attendant.answer(self.stage.people[sender].key, ask)
        except DavyError as e:
            return e

    async def step(self, step: Step) -> None:
        match step:
            case Propose(sender, order):
                await self.ask(sender, propose(self.orders[order]))
            case Decide(order, yes):
                i = order_id(encode(self.orders[order]))
                try:
                    self.bob.desk.decide(i.hex(), yes)
                except Refused:
                    return
                self.agreed |= {i} if yes else set()
            case Begin(sender, order, attempt):
                said = await self.ask(
                    sender, Commit(order_id(encode(self.orders[order])), attempt, self.bob.stage.generation)
                )
                if isinstance(said, Committed):
                    assert said.commitments not in self.offered
                    self.offered.append(said.commitments)
            case Finish():
                await self.finish(step)
            case Restart():
                await self.bob.start()
                self.agreed.clear()

    async def finish(self, step: Finish) -> None:
        if len(self.offered) < -step.commitments:
            return
        own = self.offered[step.commitments]
        package = await self.package(own, encode(self.orders[step.message]))
        i = order_id(encode(self.orders[step.order]))
        said = await self.ask(step.sender, Sign(i, step.attempt, package))
        if isinstance(said, Released):
            _, public = (await self.bob.office()).keys.of(GroupKey.HALT)
            verify_share(public, package, said.share)
            assert own not in self.signed, "nonces signed twice"
            assert step.message == step.order
            assert i in self.agreed, "nobody agreed"
            assert i in self.bob.journal.kept, "not written down"
            self.signed.append(own)

    async def package(self, own: SigningCommitments, body: bytes) -> SigningPackage:
        """Bob's commitments among those of alice and carol, which are right points at least."""
        _, public = (await self.bob.office()).keys.of(GroupKey.HALT)
        others = [
            SigningCommitments(1, identifier(n), public.shares()[identifier(n)], public.group_key) for n in (1, 3)
        ]
        return signing_package(public, prefix(Domain.ORDER) + body, [*others, own])


def history(steps: list[Step]) -> int:
    """Play one; how many shares were released."""
    released = 0

    async def main() -> None:
        nonlocal released
        stage = Stage()
        stage.people[1].yes_to = ()
        stage.people[1].hold_ms = 0  # so that a long history does not outlast its orders
        await stage.start()
        play = Play(stage)
        play.orders = [stage.people[0].order() for _ in range(3)]
        for step in steps:
            await play.step(step)
        released = len(play.signed)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    return released


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_no_schedule_makes_a_signer_sign_twice_or_unasked(steps: list[Step]) -> None:
    history(steps)


def test_a_straight_schedule_signs() -> None:
    a = b"\1" * 16
    straight = [Propose(0, 0), Decide(0, True), Begin(0, 0, a), Finish(0, 0, a, 0, -1)]
    assert history(straight) == 1
    assert history([*straight, *straight[3:]]) == 1
    assert history([*straight[:3], Restart(), straight[3]]) == 0
    assert history([*straight, Begin(0, 0, a), Finish(0, 0, a, 0, -1)]) == 2

"""Seven of ten: a roster made by all with the echo, in their own doors' sessions; and each way in which one spoils it.

Nobody keeps a share of a ceremony that one of them spoilt, and whoever it was is named, by whoever coordinates.
"""

from __future__ import annotations

import pytest

from davy.keyholders.keys import open_holdings
from davy.keyholders.messages import Answer, Ask, Begin, Boxed, Boxes, Deal, Dealt, Echoes, Invite, Packages
from davy.keyholders.voice import Voice
from davy.killswitch import dkg, echo
from davy.killswitch.echo import SignedRound1
from davy.killswitch.group import identifier
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import DavyError, Refused, Unreachable
from davy.protocol.order import GroupKey, Halt, Lift, order_id, verify_order
from davy.protocol.roster import Roster, check_roster, roster_digest
from davy.protocol.signing import Domain
from davy.protocol.words import KeyRole, PublicKey
from tests.keyholders.stage import CHAIN, Bent, Stage
from tests.keyholders.test_coordinators import SOME
from tests.keyholders.test_founding import bent, changed
from tests.twins import SeededEntropy

pytestmark = pytest.mark.anyio

TEN, SEVEN = 10, 7
SPOILER = 4
"""Place of who spoils it: erin, the fifth keyholder."""


async def ten() -> Stage:
    return await Stage(people=TEN, halt=SEVEN, lift=SEVEN).start(dealt=False)


async def found(stage: Stage, voices: dict[PublicKey, Voice] | None = None) -> Roster:
    """Coordinated by judy, who is last."""
    return await stage.found(TEN - 1, voices, halt_threshold=SEVEN, lift_threshold=SEVEN)


def nobody_keeps_a_share(stage: Stage) -> bool:
    return not any(p.vault.bodies for p in stage.people)


async def test_ten_make_both_keys_and_any_seven_sign_with_them() -> None:
    stage = await ten()
    stage.roster = roster = await found(stage)
    check_roster(roster)
    assert (roster.halt_threshold, roster.lift_threshold, roster.members) == (SEVEN, SEVEN, stage.circle.keys)
    keys = [open_holdings(await p.vault.open(roster_digest(roster)), p.key) for p in stage.people]
    assert all(k.roster == roster for k in keys)
    shares = {k.office.halt.signing_share for k in keys} | {k.office.lift.signing_share for k in keys}
    assert len(shares) == 2 * TEN
    stage.away(0, 3, 8)
    first = await stage.people[1].complete(stage.people[1].order(Halt(SOME, GroupKey.HALT)))
    assert len(first.signers) == SEVEN
    assert verify_order(first.order.raw, roster, CHAIN).id == first.order.id
    lift = await stage.people[2].complete(stage.people[2].order(Lift((order_id(encode(first.order.order)),))))
    assert len(lift.signers) == SEVEN
    stage.away(5)
    with pytest.raises(DavyError, match="6 of the 7"):
        await stage.people[1].complete(stage.people[1].order())


def second_package(stage: Stage, answer: Dealt, t: int = SEVEN) -> bytes:
    """Another package of the spoiler for the same session, signed by it as the first was; of threshold `t`."""
    spoiler = stage.people[SPOILER]
    first = decode(decode(answer.halt, SignedRound1, limit=65_536).package, dkg.Round1Package, limit=65_536)
    terms = dkg.Terms(t, tuple(identifier(n) for n in range(1, TEN + 1)), first.context)
    _, other = dkg.part1(terms, identifier(SPOILER + 1), SeededEntropy(77))
    signature = spoiler.keys.sign(KeyRole.KEYHOLDER, Domain.DKG_ROUND1, echo.statement(other))
    return encode(SignedRound1(1, encode(other), signature))


@pytest.mark.parametrize("deceived", [(0,), (0, 1, 2, 3, 5), (0, 1, 2, 3, 5, 6, 7, 8, 9)], ids=["one", "half", "all"])
async def test_who_tells_some_another_story_is_named(deceived: tuple[int, ...]) -> None:
    stage = await ten()
    second: list[bytes] = []

    def note(ask: Ask, answer: Answer) -> Answer:
        if isinstance(answer, Dealt):
            second.append(second_package(stage, answer))
        return answer

    def deceive(ask: Ask) -> Ask:
        if not isinstance(ask, Packages):
            return ask
        return changed(ask, halt=(*ask.halt[:SPOILER], second[0], *ask.halt[SPOILER + 1 :]))

    voices = bent(stage, SPOILER, after=note)
    for n in deceived:
        key = stage.people[n].key
        voices[key] = Bent(voices[key], deceive)
    with pytest.raises(DavyError, match=f"keyholder {SPOILER + 1} sent two packages"):
        await found(stage, voices)
    assert nobody_keeps_a_share(stage)


@pytest.mark.parametrize("t", [SEVEN - 1, SEVEN + 1, 2, TEN])
async def test_who_commits_to_another_threshold_is_named(t: int) -> None:
    """A longer commitment would raise the threshold for all, and leave nobody a key."""
    stage = await ten()

    def lengthen(ask: Ask, answer: Answer) -> Answer:
        return changed(answer, halt=second_package(stage, answer, t)) if isinstance(answer, Dealt) else answer

    told = f"keyholder {SPOILER + 1} sent a commitment of {t} coefficients for {SEVEN}"
    with pytest.raises(DavyError, match=told):
        await found(stage, bent(stage, SPOILER, after=lengthen))
    assert nobody_keeps_a_share(stage)


@pytest.mark.parametrize("step", [Invite, Begin, Packages, Echoes, Deal, Boxes], ids=lambda s: s.__name__)
async def test_who_falls_silent_is_named_at_whichever_step(step: type[Ask]) -> None:
    """From that step on; what was asked before was answered."""
    stage = await ten()
    silent = False

    def fall_silent(ask: Ask) -> Ask:
        nonlocal silent
        silent = silent or isinstance(ask, step)
        if silent:
            raise Unreachable("no answer")
        return ask

    with pytest.raises(Unreachable, match=r"^erin: "):
        await found(stage, bent(stage, SPOILER, fall_silent))
    if step is not Boxes:
        assert nobody_keeps_a_share(stage)


async def test_who_deals_a_wrong_share_is_named_by_its_victim() -> None:
    stage = await ten()

    def swap(ask: Ask, answer: Answer) -> Answer:
        if not isinstance(answer, Boxed):
            return answer
        first, second, *rest = answer.lift
        return changed(answer, lift=(changed(first, box=second.box), changed(second, box=first.box), *rest))

    with pytest.raises(Refused, match="the share of erin cannot be read"):
        await found(stage, bent(stage, SPOILER, after=swap))
    assert not stage.people[0].vault.bodies

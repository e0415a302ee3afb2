"""Shares dealt anew over the network: every crash leaves the old or the new ones usable, and never a mix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from davy.keyholders.coordinator import Completed
from davy.keyholders.keys import Holdings, Proof, generation_id, open_holdings, open_proof
from davy.keyholders.messages import (
    Adopt,
    Answer,
    Ask,
    Begin,
    Boxed,
    Boxes,
    Commit,
    Dealt,
    Declined,
    Holds,
    Joined,
    Noted,
    Packages,
    Recalled,
    Renew,
    Waiting,
)
from davy.keyholders.renewal import Renewed, bring_together, renew, standings
from davy.keyholders.voice import Voice
from davy.killswitch.frost import aggregate, commit, sign, signing_package
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import (
    BadSignature,
    DavyError,
    Expired,
    Malformed,
    Misbehaved,
    Misdirected,
    Refused,
    Unauthorised,
    Unreachable,
)
from davy.protocol.order import GroupKey, order_id, verify_order
from davy.protocol.roster import roster_digest
from davy.protocol.words import PublicKey
from tests.keyholders.stage import CHAIN, Bent, Person, Stage, propose

pytestmark = pytest.mark.anyio


async def refreshed(
    stage: Stage, coordinator: int = 0, voices: dict[PublicKey, Voice] | None = None, **changes: Any
) -> Renewed:
    person = stage.people[coordinator]
    assert stage.roster is not None
    asked = voices or {v.key: v for v in person.voices().values()}
    given: dict[str, Any] = {"patience_ms": 60_000} | changes
    return await renew(
        stage.circle, stage.roster, asked, clock=stage.clock, entropy=person.entropy, told=stage.told, **given
    )


def held(person: Person) -> Holdings:
    assert person.stage.roster is not None
    return open_holdings(person.vault.bodies[roster_digest(person.stage.roster)], person.key)


def in_office(stage: Stage) -> list[int]:
    return [held(p).office.generation.number for p in stage.people]


async def signs(stage: Stage, coordinator: int = 0) -> Completed:
    person = stage.people[coordinator]
    done = await person.complete(person.order())
    assert stage.roster is not None
    verify_order(done.order.raw, stage.roster, CHAIN)
    return done


def bent(stage: Stage, who: int, **ways: Any) -> dict[PublicKey, Voice]:
    voices: dict[PublicKey, Voice] = {v.key: v for v in stage.people[0].voices().values()}
    key = stage.people[who].key
    voices[key] = Bent(voices[key], **ways)
    return voices


@pytest.mark.parametrize("coordinator", [0, 3])
async def test_a_refresh_changes_every_share_and_no_key(coordinator: int) -> None:
    stage = await Stage().start()
    before = [held(p) for p in stage.people]
    done = await refreshed(stage, coordinator)
    assert (done.generation.number, done.behind) == (1, ())
    assert in_office(stage) == [1] * 5
    for old, person in zip(before, stage.people, strict=True):
        new = held(person)
        assert len(new.held) == 1, "the old share is gone"
        for key in GroupKey:
            assert new.office.of(key)[0].signing_share != old.office.of(key)[0].signing_share
            assert new.office.of(key)[1].group_key == old.office.of(key)[1].group_key
    await signs(stage)
    await refreshed(stage, 1)
    assert in_office(stage) == [2] * 5
    await signs(stage, 4)


async def test_people_are_asked_once_and_see_who_is_removed() -> None:
    stage = Stage()
    for person in stage.people:
        person.yes_to, person.decide = (), lambda _: True
    await stage.start()
    await refreshed(stage, without=[stage.people[4].key])
    screens = [p.seen[0].screen for p in stage.people[:4]]
    assert len(set(screens)) == 1
    assert "WITHOUT        erin" in screens[0]
    assert "3 of 4 halt, 4 of 4 lift" in screens[0]
    assert [len(p.seen) for p in stage.people] == [1, 1, 1, 1, 0]


async def test_old_and_new_shares_do_not_sign_together() -> None:
    stage = await Stage().start()
    old = held(stage.people[2]).office
    await refreshed(stage)
    key, public = old.of(GroupKey.HALT)
    message = b"an order"
    new = [held(p).office.of(GroupKey.HALT) for p in stage.people[:2]]
    made = [commit(k, stage.people[0].entropy) for k in (new[0][0], new[1][0], key)]
    package = signing_package(new[0][1], message, [c for _, c in made])
    shares = [sign(new[n][0], new[n][1], made[n][0], package, message) for n in range(2)]
    shares.append(sign(key, public, made[2][0], package, message))
    with pytest.raises(Misbehaved, match="keyholder 3"):
        aggregate(new[0][1], package, shares)
    alice, bob = stage.people[:2]
    order = alice.order()
    await bob.attendant.answer(alice.key, propose(order))
    with pytest.raises(Misdirected, match="no share of that generation"):
        await bob.attendant.answer(alice.key, Commit(order_id(encode(order)), b"\1" * 16, stage.generation))


async def test_who_was_removed_cannot_sign_nor_ask_and_the_others_can() -> None:
    stage = await Stage().start()
    await refreshed(stage, without=[stage.people[4].key])
    erin = stage.people[4]
    with pytest.raises(DavyError, match="removed by a refresh"):
        await erin.complete(erin.order())
    stage.away(3)
    done = await signs(stage)
    assert set(done.signers) == {"alice", "bob", "carol"}
    assert held(erin).office.generation.number == 0
    with pytest.raises(Unauthorised):
        await stage.people[0].attendant.answer(erin.key, Commit(bytes(32), bytes(16), stage.generation))


STEPS = (Renew, Begin, Packages, Boxes, Adopt)


@pytest.mark.parametrize("step", STEPS, ids=lambda s: s.__name__.lower())
@pytest.mark.parametrize("lost", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("victim", [0, 2], ids=["coordinator", "member"])
async def test_a_crash_at_any_step_leaves_all_able_to_sign_and_to_refresh(
    step: type[Ask], lost: bool, victim: int
) -> None:
    """The victim crashes when it is asked this, or just after it did it; then all restart, and another goes on."""
    stage = await Stage(people=4, halt=2, lift=3).start()
    crashed = False

    def before(ask: Ask) -> Ask:
        nonlocal crashed
        if isinstance(ask, step) and not lost:
            crashed = True
        if crashed:
            raise Unreachable("crashed")
        return ask

    def after(ask: Ask, answer: Answer) -> Answer:
        nonlocal crashed
        if isinstance(ask, step) and not isinstance(answer, Waiting):
            crashed = True
            raise Unreachable("crashed")
        return answer

    voices = bent(stage, victim, before=before, after=after)
    try:
        done = await refreshed(stage, voices=voices)
    except DavyError:
        assert step is not Adopt
        assert in_office(stage) == [0] * 4, "without all words nothing changes"
    else:
        assert step is Adopt
        assert len(done.behind) == 1
    for person in stage.people:
        await person.start()
    for coordinator in range(4):
        await signs(stage, coordinator)
    await refreshed(stage, 3)
    assert len(set(in_office(stage))) == 1
    assert all(len(held(p).held) == 1 for p in stage.people)
    await signs(stage)


async def test_who_has_not_heard_of_the_switch_signs_and_coordinates_with_those_who_have() -> None:
    """Dave and erin staged their shares and were cut off before the proof came: two generations are in office."""
    stage = await Stage().start()

    def cut(ask: Ask) -> Ask:
        if isinstance(ask, Adopt):
            raise Unreachable("cut off")
        return ask

    voices: dict[PublicKey, Voice] = {v.key: v for v in stage.people[0].voices().values()}
    for n in (3, 4):
        voices[stage.people[n].key] = Bent(voices[stage.people[n].key], before=cut)
    done = await refreshed(stage, voices=voices)
    assert done.behind == ("dave", "erin")
    assert in_office(stage) == [1, 1, 1, 0, 0]
    stage.away(1, 2)
    assert set((await signs(stage, 0)).signers) == {"alice", "dave", "erin"}
    assert set((await signs(stage, 4)).signers) == {"alice", "dave", "erin"}
    own = {v.key: v for v in stage.people[4].voices().values()}
    assert stage.roster is not None
    proof, failed = await bring_together(own, await standings(own, stage.roster))
    assert proof is not None
    assert (proof.generation.number, failed) == (1, {})
    assert in_office(stage) == [1] * 5


async def test_a_proof_kept_back_does_no_harm_when_it_comes() -> None:
    """A coordinator keeps the first refresh's words, lets a second one happen, and then shows them."""
    stage = await Stage().start()
    words: list[Proof] = []

    def keep(ask: Ask, answer: Answer) -> Answer:
        if isinstance(answer, Holds):
            words.append(decode(answer.proof, Proof, limit=65_536))
        return answer

    def never(ask: Ask) -> Ask:
        if isinstance(ask, Adopt):
            raise Unreachable("kept back")
        return ask

    people = stage.people
    voices: dict[PublicKey, Voice] = {k: Bent(v, never, keep) for k, v in voices_of(stage).items()}
    await refreshed(stage, voices=voices)
    assert in_office(stage) == [0] * 5
    stale = Proof(1, words[0].generation, tuple(w for p in sorted(words, key=_who) for w in p.words))
    half = {k: Bent(v, never) if n > 1 else v for n, (k, v) in enumerate(voices_of(stage).items())}
    await refreshed(stage, voices=half)
    assert in_office(stage) == [2, 2, 0, 0, 0]
    for n in (2, 3, 0):
        assert await people[n].attendant.answer(people[4].key, Adopt(encode(stale))) == Noted()
    assert in_office(stage) == [2, 2, 1, 1, 0]
    for n in range(5):
        await signs(stage, n)
    await refreshed(stage, 4)
    assert in_office(stage) == [3] * 5


def voices_of(stage: Stage) -> dict[PublicKey, Voice]:
    return {v.key: v for v in stage.people[0].voices().values()}


def _who(p: Proof) -> PublicKey:
    return p.words[0].member


async def test_a_proof_needs_every_member_s_word() -> None:
    stage = await Stage().start()
    await refreshed(stage)
    assert stage.roster is not None
    proof = held(stage.people[0]).proof
    assert open_proof(encode(proof), stage.roster) == proof
    first, second = proof.words[:2]
    wrong = [
        msgspec.structs.replace(proof, words=proof.words[1:]),
        msgspec.structs.replace(proof, words=(first, *proof.words)),
        msgspec.structs.replace(proof, words=(second, first, *proof.words[2:])),
        msgspec.structs.replace(proof, words=(msgspec.structs.replace(first, signature=bytes(64)), *proof.words[1:])),
        msgspec.structs.replace(proof, words=()),
        msgspec.structs.replace(proof, generation=msgspec.structs.replace(proof.generation, number=2)),
        msgspec.structs.replace(proof, generation=msgspec.structs.replace(proof.generation, base=bytes(32))),
        msgspec.structs.replace(proof, generation=msgspec.structs.replace(proof.generation, roster=bytes(32))),
        msgspec.structs.replace(
            proof, generation=msgspec.structs.replace(proof.generation, lift=proof.generation.halt)
        ),
        msgspec.structs.replace(proof, generation=msgspec.structs.replace(proof.generation, number=0)),
    ]
    for each in wrong:
        with pytest.raises((Malformed, BadSignature)):
            open_proof(encode(each), stage.roster)
        with pytest.raises((Malformed, BadSignature)):
            await stage.people[1].attendant.answer(stage.people[0].key, Adopt(encode(each)))
    assert in_office(stage) == [1] * 5


def _deal_wrong(ask: Ask, answer: Answer) -> Answer:
    if isinstance(answer, Boxed):
        a, b, *rest = answer.halt
        swapped = (msgspec.structs.replace(a, box=b.box), msgspec.structs.replace(b, box=a.box), *rest)
        return msgspec.structs.replace(answer, halt=swapped)
    return answer


def _other_package(ask: Ask, answer: Answer) -> Answer:
    if isinstance(answer, Dealt):
        return msgspec.structs.replace(answer, halt=answer.lift)
    return answer


def _no(ask: Ask, answer: Answer) -> Answer:
    return Declined("no", ()) if isinstance(ask, Renew) else answer


def _other_word(ask: Ask, answer: Answer) -> Answer:
    if isinstance(answer, Holds):
        proof = decode(answer.proof, Proof, limit=65_536)
        word = msgspec.structs.replace(proof.words[0], signature=bytes(64))
        return Holds(encode(msgspec.structs.replace(proof, words=(word,))))
    return answer


def _huge(ask: Ask, answer: Answer) -> Answer:
    return msgspec.structs.replace(answer, newest=2**32 - 1) if isinstance(answer, Recalled) else answer


def _old_hello(ask: Ask, answer: Answer) -> Answer:
    return Joined(answer.hello[:-40] + bytes(8) + answer.hello[-32:]) if isinstance(answer, Joined) else answer


@pytest.mark.parametrize(
    ("way", "told"),
    [
        (_deal_wrong, "bob"), (_other_package, "bob"), (_no, "bob: no"),
        (_other_word, "bob"), (_huge, "bob has shares of a number"), (_old_hello, "bob"),
    ],
)  # fmt: skip
async def test_one_hostile_member_ends_a_refresh_and_the_old_shares_sign_on(
    way: Callable[[Ask, Answer], Answer], told: str
) -> None:
    """Then it is left out, and the refresh comes to its end."""
    stage = await Stage().start()
    with pytest.raises(DavyError, match=told):
        await refreshed(stage, voices=bent(stage, 1, after=way))
    assert in_office(stage) == [0] * 5
    await signs(stage, 2)
    await refreshed(stage, voices=bent(stage, 1, after=way), without=[stage.people[1].key])
    alice, bob, *others = in_office(stage)
    assert bob == 0
    assert {alice} == set(others)
    assert alice > 0
    await signs(stage, 2)


async def test_who_is_away_is_named_and_can_be_left_out() -> None:
    stage = await Stage().start()
    stage.away(4)
    with pytest.raises(Unreachable, match="erin: cannot be reached"):
        await refreshed(stage)
    await refreshed(stage, without=[stage.people[4].key])
    assert in_office(stage) == [1, 1, 1, 1, 0]
    with pytest.raises(Refused, match="4 or more keyholders must stay"):
        await refreshed(stage, without=[stage.people[4].key, stage.people[3].key])


async def test_who_does_not_decide_is_not_waited_for_for_ever() -> None:
    stage = Stage()
    stage.people[2].yes_to = ()
    await stage.start()
    with pytest.raises(Expired, match="carol"):
        await refreshed(stage)
    assert in_office(stage) == [0] * 5


async def test_a_full_disk_stages_nothing_and_changes_nothing() -> None:
    stage = await Stage().start()
    stage.people[3].vault.full = True
    with pytest.raises(DavyError, match="dave"):
        await refreshed(stage)
    assert in_office(stage) == [0] * 5
    stage.people[3].vault.full = False
    await refreshed(stage)
    assert in_office(stage) == [max(in_office(stage))] * 5
    assert in_office(stage)[0] > 0


async def test_a_disk_that_is_full_at_the_switch_leaves_one_behind_who_still_signs() -> None:
    stage = await Stage().start()

    def fill(ask: Ask) -> Ask:
        if isinstance(ask, Adopt):
            stage.people[3].vault.full = True
        return ask

    done = await refreshed(stage, voices=bent(stage, 3, before=fill))
    assert done.behind == ("dave",)
    assert in_office(stage) == [1, 1, 1, 0, 1]
    stage.away(1, 2)
    assert "dave" in (await signs(stage)).signers


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"number": 0}, "number above"), ({"number": 2_000}, "number above"), ({"base": bytes(32)}, "in office here"),
        ({"roster": bytes(32)}, "another roster"), ({"members": "few"}, "4 or"), ({"members": "twice"}, "named once"),
        ({"members": "others"}, "among keyholders who have a share"), ({"members": "stranger"}, "among keyholders"),
        ({"members": "order"}, "each named once"),
    ],
)  # fmt: skip
async def test_a_coordinator_that_proposes_what_is_no_refresh(change: dict[str, Any], told: str) -> None:
    stage = await Stage().start()
    keys = stage.circle.keys
    named = {
        "few": keys[:3], "twice": (keys[0], *keys), "others": (keys[0], *keys[2:]),
        "stranger": (*keys[:4], b"\xff" * 32), "order": keys[::-1],
    }  # fmt: skip
    if isinstance(chosen := change.get("members"), str):
        change = {"members": named[chosen]}
    assert stage.roster is not None
    right = Renew(b"\1" * 16, roster_digest(stage.roster), stage.generation, 1, keys)
    bob = stage.people[1]
    said = await bob.attendant.answer(keys[0], msgspec.structs.replace(right, **change))
    assert isinstance(said, Declined)
    assert told in said.why
    assert isinstance(await bob.attendant.answer(keys[0], right), Joined)


async def test_steps_out_of_turn_and_of_others_are_refused() -> None:
    stage = await Stage().start()
    asked: list[Ask] = []

    def note(ask: Ask) -> Ask:
        asked.append(ask)
        return ask

    await refreshed(stage, voices=bent(stage, 2, before=note))
    carol, alice = stage.people[2], stage.people[0]
    steps = [a for a in asked if isinstance(a, Begin | Packages | Boxes)]
    *others, boxes = steps
    for step in others:
        with pytest.raises(Refused):
            await carol.attendant.answer(alice.key, step)
    assert isinstance(await carol.attendant.answer(alice.key, boxes), Holds), "an answer that was lost is given again"
    for step in steps:
        with pytest.raises(Refused):
            await carol.attendant.answer(stage.people[3].key, step)
    await carol.start()
    for step in steps:
        with pytest.raises(Expired):
            await carol.attendant.answer(alice.key, step)
    assert in_office(stage) == [1] * 5


async def test_unfinished_refreshes_add_up_and_the_bound_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("davy.keyholders.keys.MAX_HELD", 3)
    stage = await Stage().start()

    def never(ask: Ask) -> Ask:
        if isinstance(ask, Adopt):
            raise Unreachable("kept back")
        return ask

    kept_back: dict[PublicKey, Voice] = {k: Bent(v, never) for k, v in voices_of(stage).items()}
    for _ in range(2):
        await refreshed(stage, voices=kept_back)
    assert [g.generation.number for g in held(stage.people[0]).held] == [0, 1, 2]
    with pytest.raises(DavyError, match="make new keys"):
        await refreshed(stage, voices=kept_back)
    await signs(stage)


async def test_what_does_not_fit_is_no_share() -> None:
    stage = await Stage().start()
    await refreshed(stage)
    mine, bobs = held(stage.people[0]), held(stage.people[1])
    wrong = [
        Holdings(1, mine.roster, bobs.held, mine.words),
        Holdings(1, mine.roster, mine.held, mine.words[1:]),
        Holdings(1, mine.roster, (*mine.held, *mine.held), mine.words),
    ]
    for each in wrong:
        with pytest.raises(DavyError, match="cannot be used"):
            open_holdings(encode(each), stage.people[0].key)
    assert generation_id(mine.office.generation) == generation_id(bobs.office.generation)

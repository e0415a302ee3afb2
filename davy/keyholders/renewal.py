"""Bringing keyholders together to deal their shares anew, or to give one of them its share back.

Whoever coordinates passes on what others signed or encrypted, and chooses nothing but who takes part, which the persons
see. A refresh needs all of its members: whoever stays away is left out by name, and thereby removed. A repair needs t
of the others: all are asked, the first t who say yes help, and whoever spoils an attempt is passed over in the next.
Either can be rehearsed: the same steps, except for the one that changes something.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations, islice
from typing import Final, NamedTuple

import anyio

from davy.keyholders.assembly import Table
from davy.keyholders.authors import check_hello
from davy.keyholders.circle import Circle
from davy.keyholders.coordinator import Told
from davy.keyholders.desk import HOLD_MS
from davy.keyholders.keys import (
    Generation,
    Proof,
    check_generation,
    check_proof,
    generation_id,
    members_of,
    open_proof,
    staging,
)
from davy.keyholders.mending import MAX_STEP
from davy.keyholders.messages import (
    Adopt,
    Answer,
    Begin,
    Boxed,
    Boxes,
    Deal,
    Declined,
    Echoes,
    Holds,
    Joined,
    Mend,
    MendingHello,
    Noted,
    Packages,
    Parted,
    Parts,
    Recall,
    Recalled,
    RehearseMending,
    Renew,
    Sealed,
    Waiting,
)
from davy.keyholders.voice import Voice
from davy.killswitch.dkg import Round1Package
from davy.killswitch.repair import RepairPackage
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import DavyError, Expired, Malformed, Misbehaved, Refused, Unreachable
from davy.protocol.limits import MAX_CEREMONY_BYTES
from davy.protocol.order import GroupKey
from davy.protocol.ports import Clock, Entropy
from davy.protocol.roster import Roster, roster_digest
from davy.protocol.signing import Domain, verify
from davy.protocol.words import PublicKey, UnixMillis

ROUND_MS: Final = 15_000
"""How long one step of a repair, or a question that no person answers, waits for who does not answer."""
_PAUSE_MS: Final = 500
_MAX_ATTEMPTS: Final = 24
_MAX_SETS: Final = 1_024


class Standing(NamedTuple):
    """What one keyholder says of its shares; `fault` says why it says nothing."""

    name: str
    key: PublicKey
    proof: Proof | None
    newest: int
    fault: str


class Renewed(NamedTuple):
    """A refresh that is done. `behind` have the new shares, and have not heard yet that all do.

    After a rehearsal, the generation that is in office as before.
    """

    generation: Generation
    behind: tuple[str, ...]


async def standings(voices: Mapping[PublicKey, Voice], roster: Roster) -> list[Standing]:
    """Ask everybody which shares it has; nobody is waited for longer than `ROUND_MS`, and nothing raises."""
    found: dict[PublicKey, Standing] = {}
    i = roster_digest(roster)

    async def one(key: PublicKey, voice: Voice) -> None:
        try:
            answer = await voice.ask(Recall(i), patience_ms=ROUND_MS)
            if isinstance(answer, Recalled):
                found[key] = Standing(voice.name, key, open_proof(answer.proof, roster), answer.newest, "")
                return
            fault = answer.why if isinstance(answer, Declined) else "it answered something else"
        except Unreachable:
            fault = "cannot be reached"
        except DavyError as e:
            fault = str(e)
        found[key] = Standing(voice.name, key, None, 0, fault)

    async with anyio.create_task_group() as tasks:
        for key, voice in voices.items():
            tasks.start_soon(one, key, voice)
    return [found[key] for key in voices]


async def bring_together(
    voices: Mapping[PublicKey, Voice], told: Sequence[Standing], patience_ms: int = ROUND_MS
) -> tuple[Proof | None, dict[PublicKey, str]]:
    """Find the latest proof that anybody has, and bring it to whoever has an older one.

    Returns
    -------
    The proof, and why those who have not taken it did not.
    """
    latest = max((s.proof for s in told if s.proof), key=lambda p: p.generation.number, default=None)
    if latest is None:
        return None, {}
    behind = [s.key for s in told if s.proof and s.proof.generation.number < latest.generation.number]
    return latest, await spread_proof({k: voices[k] for k in behind}, latest, patience_ms)


async def spread_proof(
    voices: Mapping[PublicKey, Voice], proof: Proof, patience_ms: int = ROUND_MS
) -> dict[PublicKey, str]:
    """Tell keyholders that a generation is in office; return who did not take it, and why."""
    failed: dict[PublicKey, str] = {}
    ask = Adopt(encode(proof))

    async def one(key: PublicKey, voice: Voice) -> None:
        try:
            if not isinstance(await voice.ask(ask, patience_ms=patience_ms), Noted):
                failed[key] = "it answered something else"
        except DavyError as e:
            failed[key] = str(e)

    async with anyio.create_task_group() as tasks:
        for key, voice in voices.items():
            tasks.start_soon(one, key, voice)
    return failed


async def renew(
    circle: Circle,
    roster: Roster,
    voices: Mapping[PublicKey, Voice],
    *,
    without: Collection[PublicKey] = (),
    is_rehearsal: bool = False,
    clock: Clock,
    entropy: Entropy,
    told: Told,
    patience_ms: int,
) -> Renewed:
    """Deal the shares anew among all who have one in office, but for those left out.

    Raises
    ------
    Refused
        Somebody said no, cheated or has no share; the sentence names who. The old shares are in office as before.
    Unreachable, Expired
        Somebody did not answer in time.
    """
    stands = await standings(voices, roster)
    latest, failed = await bring_together(voices, stands)
    if latest is None:
        raise Unreachable(f"nobody says which shares are in office; {_faults(stands)}")
    base = latest.generation
    members = tuple(sorted(set(members_of(base, roster)) - set(without)))
    if len(members) < roster.lift_threshold:
        raise Refused(f"{roster.lift_threshold} or more keyholders must stay; leave fewer out, or make new keys")
    by_key = {s.key: s for s in stands}
    if missing := [s for k in members if (s := by_key[k]).proof is None or k in failed]:
        raise Unreachable(f"{_faults(missing)}; begin again when they are there, or remove them with --without")
    newest = max(by_key[k].newest for k in members)
    if newest >= base.number + MAX_STEP:
        liar = max((by_key[k] for k in members), key=lambda s: s.newest)
        raise Misbehaved(f"{liar.name} has shares of a number that no refresh gave; leave it out with --without", ())
    ceremony = entropy.bytes(16)
    renewal = Renew(ceremony, roster_digest(roster), generation_id(base), newest + 1, members)
    table = Table(circle, voices, clock, told, patience_ms)
    asked = RehearseMending(renewal) if is_rehearsal else renewal
    joined = await table.ask_all(dict.fromkeys(members, asked), Joined, lambda k, a: check_hello(k, a, MendingHello))
    boxed = await exchange(table, ceremony, members, {k: joined[k].hello for k in members})
    if is_rehearsal:
        await table.ask_all(_parcels(ceremony, boxed), Noted)
        return Renewed(base, ())
    held = await table.ask_all(_parcels(ceremony, boxed), Holds)
    proof = _proved({k: held[k] for k in members}, voices, roster)
    late = await spread_proof({k: voices[k] for k in members}, proof)
    return Renewed(proof.generation, tuple(voices[k].name for k in members if k in late))


def _faults(stands: Iterable[Standing]) -> str:
    return "; ".join(f"{s.name}: {s.fault or 'it has no share of what is in office'}" for s in stands)


def _proved(held: Mapping[PublicKey, Holds], voices: Mapping[PublicKey, Voice], roster: Roster) -> Proof:
    """Put everybody's words together; whose word is another than the others' is named."""
    said: dict[PublicKey, Proof] = {}
    key = next(iter(held))
    try:
        for key in held:
            said[key] = decode(held[key].proof, Proof, limit=MAX_CEREMONY_BYTES)
        ((generation, _),) = Counter(part.generation for part in said.values()).most_common(1)
        key = next(k for k, part in said.items() if part.generation == generation)
        check_generation(generation, roster)
        for key in held:
            if [word.member for word in said[key].words] != [key] or said[key].generation != generation:
                raise Malformed("it does not say that it has the shares that the others have")
            verify(key, Domain.STAGED, staging(generation_id(generation), key), said[key].words[0].signature)
    except Refused as e:
        raise Misbehaved(
            f"{voices[key].name}: {e}; the old shares stay in office, begin again without it", ()
        ) from None
    proof = Proof(1, generation, tuple(word for part in said.values() for word in part.words))
    check_proof(proof, roster)
    return proof


async def exchange(
    table: Table,
    ceremony: bytes,
    members: Sequence[PublicKey],
    hellos: Mapping[PublicKey, bytes],
    listener: PublicKey | None = None,
) -> dict[PublicKey, Boxed]:
    """Take the members through their packages and echoes; return what each dealt.

    Parameters
    ----------
    hellos
        Of all members, and of the listener, who hears everything and deals nothing.
    """
    quiet = [] if listener is None else [listener]
    begin = Begin(ceremony, tuple(hellos[k] for k in sorted(hellos)))
    dealt = await table.packages(members, begin, Round1Package if listener is None else RepairPackage)
    await table.ask_all(dict.fromkeys(quiet, begin), Noted)
    packages = Packages(ceremony, tuple(dealt[k].halt for k in members), tuple(dealt[k].lift for k in members))
    echoed = await table.echoes(members, packages)
    await table.ask_all(dict.fromkeys(quiet, packages), Noted)
    for key in GroupKey:
        said = {k: e.halt if key is GroupKey.HALT else e.lift for k, e in echoed.items()}
        others = {
            k: Echoes(ceremony, key, tuple(said[other] for other in members if other != k)) for k in (*members, *quiet)
        }
        await table.ask_all(others, Noted)
    return await table.ask_all(dict.fromkeys(members, Deal(ceremony)), Boxed)


def _parcels(ceremony: bytes, boxed: Mapping[PublicKey, Boxed]) -> dict[PublicKey, Boxes]:
    halts = [box for b in boxed.values() for box in b.halt]
    lifts = [box for b in boxed.values() for box in b.lift]
    return {k: Boxes(ceremony, _to(k, halts), _to(k, lifts)) for k in boxed}


def _to(key: PublicKey, boxes: Sequence[Sealed]) -> tuple[Sealed, ...]:
    return tuple(box for box in boxes if box.recipient == key)


async def mend(
    circle: Circle,
    roster: Roster,
    voices: Mapping[PublicKey, Voice],
    mended: PublicKey,
    *,
    is_rehearsal: bool = False,
    clock: Clock,
    entropy: Entropy,
    told: Told,
    patience_ms: int,
) -> Generation:
    """Give one keyholder its share of the generation in office back, with t_lift of the others, whoever they are.

    Where too few are there the others are waited for: no fewer can give back a share of the LIFT key.

    Raises
    ------
    Refused
        Too few can help, or the one mended says no.
    Expired
        Too few answered in time.
    """
    end = clock.now() + patience_ms
    latest, helpers = await _enough(circle, roster, voices, mended, clock, told, end)
    mending = Mend(entropy.bytes(16), roster_digest(roster), encode(latest), mended)
    ask = RehearseMending(mending) if is_rehearsal else mending
    repairing = _Repairing(circle, ask, voices, helpers, roster.lift_threshold, clock, told, end - clock.now())
    await repairing.run()
    return latest.generation


async def _enough(
    circle: Circle,
    roster: Roster,
    voices: Mapping[PublicKey, Voice],
    mended: PublicKey,
    clock: Clock,
    told: Told,
    end: UnixMillis,
) -> tuple[Proof, list[PublicKey]]:
    """Ask who has which shares until enough others have those in office; return their proof, and who."""
    said: dict[str, str] = {}
    while True:
        stands = await standings(voices, roster)
        latest, failed = await bring_together(voices, [s for s in stands if s.key != mended])
        if latest is None:
            raise Unreachable(f"nobody says which shares are in office; {_faults(stands)}")
        holders = members_of(latest.generation, roster)
        if mended not in holders:
            raise Refused(f"{circle.holder(mended).name} was removed by a refresh: it has no share to be given back")
        helpers = [s.key for s in stands if s.proof and s.key in holders and s.key != mended and s.key not in failed]
        if len(helpers) >= roster.lift_threshold:
            return latest, helpers
        missing = [s for s in stands if s.key not in helpers and s.key != mended]
        if clock.now() >= end:
            raise Refused(f"{roster.lift_threshold} others must help, {len(helpers)} can; {_faults(missing)}")
        for s in missing:
            if said.get(s.name) != s.fault:
                told(s.name, f"{s.fault or 'it has other shares'}; it is waited for")
            said[s.name] = s.fault
        await clock.sleep_until(min(end, clock.now() + ROUND_MS))


def _quietly(name: str, what: str) -> None:
    """A repair tells who says yes, not each of its steps."""
    del name, what


class _Repairing:
    """One lost share on its way back."""

    def __init__(
        self,
        circle: Circle,
        ask: Mend | RehearseMending,
        voices: Mapping[PublicKey, Voice],
        helpers: Sequence[PublicKey],
        need: int,
        clock: Clock,
        told: Told,
        patience_ms: int,
    ) -> None:
        self._ask, self._voices, self._need = ask, voices, need
        of = ask.of if isinstance(ask, RehearseMending) else ask
        assert isinstance(of, Mend)  # noqa: S101
        self._mend = of
        self._clock, self._told, self._end = clock, told, clock.now() + patience_ms
        self._table = Table(circle, voices, clock, _quietly, patience_ms, step_ms=ROUND_MS, tries=2)
        self._asking = {of.mended, *helpers}
        self._hellos: dict[PublicKey, bytes] = {}
        self._faults: dict[PublicKey, int] = {}
        self._tried: set[tuple[PublicKey, ...]] = set()
        self._why: list[str] = []
        self._changed = anyio.Event()

    async def run(self) -> None:
        with anyio.move_on_after(max(0, self._end - self._clock.now()) / 1000):
            await self._until_mended()
            return
        raise Expired(f"{self._so_far()}; begin again when more are there")

    async def _until_mended(self) -> None:
        done = False
        failure: Refused | None = None
        async with anyio.create_task_group() as tasks:
            for key in list(self._asking):
                tasks.start_soon(self._invite, key)
            while not done and failure is None:
                self._changed = anyio.Event()
                chosen = self._choose()
                if chosen is not None and len(self._tried) < _MAX_ATTEMPTS:
                    done = await self._attempt(chosen)
                elif len(self._tried) >= _MAX_ATTEMPTS or not self._can_still():
                    failure = Refused(f"{self._so_far()}; ask those who can")
                else:
                    await self._changed.wait()
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    def _can_still(self) -> bool:
        more = self._asking - {self._mend.mended}
        waiting = bool(more) or self._mend.mended in self._asking
        there = self._mend.mended in self._hellos or self._mend.mended in self._asking
        return there and waiting and len(self._ready()) + len(more) >= self._need

    def _ready(self) -> list[PublicKey]:
        return [k for k in self._hellos if k != self._mend.mended]

    def _choose(self) -> tuple[PublicKey, ...] | None:
        """Helpers that were not tried together, those with the fewest faults first."""
        if self._mend.mended not in self._hellos:
            return None
        ready = sorted(self._ready(), key=lambda k: self._faults.get(k, 0))
        sets = (tuple(sorted(each)) for each in islice(combinations(ready, self._need), _MAX_SETS))
        return next((each for each in sets if each not in self._tried), None)

    async def _invite(self, key: PublicKey) -> None:
        """Ask one keyholder until it said yes or no."""
        voice = self._voices[key]
        last = ""
        while key in self._asking:
            answer: Answer | None = None
            try:
                answer = await voice.ask(self._ask, patience_ms=HOLD_MS + ROUND_MS)
                if isinstance(answer, Joined):
                    check_hello(key, answer, MendingHello)
            except Unreachable:
                pass
            except DavyError as e:
                answer = Declined(str(e)[:500], ())
            if answer is not None and not isinstance(answer, Waiting):
                self._settle(key, answer)
                return
            said = "cannot be reached" if answer is None else "is asked"
            if said != last:
                self._told(voice.name, said)
            last = said
            await self._clock.sleep_until(self._clock.now() + _PAUSE_MS)

    def _settle(self, key: PublicKey, answer: Answer) -> None:
        self._asking.discard(key)
        name = self._voices[key].name
        if isinstance(answer, Joined):
            self._hellos[key] = answer.hello
            self._told(name, "says yes")
        else:
            why = answer.why if isinstance(answer, Declined) else "it answered something else"
            self._why.append(f"{name}: {why}")
            self._told(name, f"does not help: {why}")
        self._changed.set()

    async def _attempt(self, helpers: tuple[PublicKey, ...]) -> bool:
        self._tried.add(helpers)
        mended, ceremony = self._mend.mended, self._mend.ceremony
        hellos = {k: self._hellos[k] for k in (*helpers, mended)}
        try:
            boxed = await exchange(self._table, ceremony, helpers, hellos, mended)
            if isinstance(self._ask, RehearseMending):
                await self._table.ask_all(_parcels(ceremony, boxed), Noted)
                return True
            parted = await self._table.ask_all(_parcels(ceremony, boxed), Parted)
            parts = Parts(ceremony, tuple(p.halt for p in parted.values()), tuple(p.lift for p in parted.values()))
            await self._table.ask_all({mended: parts}, Noted)
        except DavyError as e:
            self._why.append(str(e))
            for key in self._table.blamed - {mended}:
                self._faults[key] = self._faults.get(key, 0) + 1
            self._told(self._voices[mended].name, f"an attempt failed: {e}")
            return False
        return True

    def _so_far(self) -> str:
        away = ", ".join(self._voices[k].name for k in self._asking)
        said = f"{len(self._ready())} of the {self._need} keyholders needed said yes"
        return said + (f"; no answer from {away}" if away else "") + "".join(f"; {why}" for why in self._why[-4:])

"""Bringing keyholders together to give one of them its share back.

All others are asked, the first t who say yes help, and whoever spoils an attempt is passed over in the next. Whoever
coordinates passes on what others signed or encrypted, and chooses nothing but who helps, which the persons see. A
rehearsal takes the same steps, except for the one that gives something back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, islice
from typing import Final

import anyio

from davy.keyholders.assembly import Table, parcels
from davy.keyholders.circle import Circle
from davy.keyholders.coordinator import Means
from davy.keyholders.desk import HOLD_MS
from davy.keyholders.keys import Generation, Proof, members_of
from davy.keyholders.messages import Answer, Declined, Joined, Mend, Noted, Parted, Parts, RehearseMending, Waiting
from davy.keyholders.renewal import ROUND_MS, bring_together, exchange, faults, standings
from davy.keyholders.voice import Voice
from davy.protocol.encoding import encode
from davy.protocol.errors import DavyError, Expired, Refused, Unreachable
from davy.protocol.roster import Roster, roster_digest
from davy.protocol.words import PublicKey, UnixMillis

_PAUSE_MS: Final = 500
_MAX_ATTEMPTS: Final = 24
_MAX_SETS: Final = 1_024


async def mend(
    circle: Circle,
    roster: Roster,
    voices: Mapping[PublicKey, Voice],
    mended: PublicKey,
    means: Means,
    *,
    is_rehearsal: bool = False,
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
    end = means.clock.now() + means.patience_ms
    latest, helpers = await _enough(circle, roster, voices, mended, means, end)
    ask = Mend(means.entropy.bytes(16), roster_digest(roster), encode(latest), mended)
    await _Repairing(ask, voices, helpers, roster.lift_threshold, means, end, is_rehearsal=is_rehearsal).run()
    return latest.generation


async def _enough(
    circle: Circle,
    roster: Roster,
    voices: Mapping[PublicKey, Voice],
    mended: PublicKey,
    means: Means,
    end: UnixMillis,
) -> tuple[Proof, list[PublicKey]]:
    """Ask who has which shares until enough others have those in office; return their proof, and who."""
    said: dict[str, str] = {}
    while True:
        stands = await standings(voices, roster)
        latest, failed = await bring_together(voices, [s for s in stands if s.key != mended])
        if latest is None:
            raise Unreachable(f"nobody says which shares are in office; {faults(stands)}")
        holders = members_of(latest.generation, roster)
        if mended not in holders:
            raise Refused(f"{circle.holder(mended).name} was removed by a refresh: it has no share to be given back")
        helpers = [s.key for s in stands if s.proof and s.key in holders and s.key != mended and s.key not in failed]
        if len(helpers) >= roster.lift_threshold:
            return latest, helpers
        missing = [s for s in stands if s.key not in helpers and s.key != mended]
        if means.clock.now() >= end:
            raise Refused(f"{roster.lift_threshold} others must help, {len(helpers)} can; {faults(missing)}")
        for s in missing:
            if said.get(s.name) != s.fault:
                means.told(s.name, f"{s.fault or 'it has other shares'}; it is waited for")
            said[s.name] = s.fault
        await means.clock.sleep_until(min(end, means.clock.now() + ROUND_MS))


def _quietly(name: str, what: str) -> None:
    """A repair tells who says yes, not each of its steps."""
    del name, what


class _Repairing:
    """One lost share on its way back."""

    def __init__(
        self,
        mend: Mend,
        voices: Mapping[PublicKey, Voice],
        helpers: Sequence[PublicKey],
        need: int,
        means: Means,
        end: UnixMillis,
        *,
        is_rehearsal: bool,
    ) -> None:
        self._mend, self._voices, self._need = mend, voices, need
        self._ask = RehearseMending(mend) if is_rehearsal else mend
        self._clock, self._told, self._end = means.clock, means.told, end
        self._table = Table(voices, means.clock, _quietly, end - means.clock.now(), step_ms=ROUND_MS, tries=2)
        self._asking = {mend.mended, *helpers}
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
                await self._table.ask_all(parcels(ceremony, boxed), Noted)
                return True
            parted = await self._table.ask_all(parcels(ceremony, boxed), Parted)
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

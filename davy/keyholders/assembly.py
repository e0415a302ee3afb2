"""Bringing keyholders together for a ceremony of all: to make their roster. Whoever is not there is named.

What passes through the coordinator is signed by its author, or encrypted to its reader: it can only fail to bring the
ceremony to an end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import anyio

from davy.keyholders.authors import check_echoes, check_hello, in_another_session, sessions_of
from davy.keyholders.circle import Circle
from davy.keyholders.coordinator import Told
from davy.keyholders.desk import HOLD_MS
from davy.keyholders.messages import (
    Adopt,
    Answer,
    Ask,
    Begin,
    Blamed,
    Boxed,
    Boxes,
    Deal,
    Dealt,
    Declined,
    Echoed,
    Echoes,
    Founded,
    Hello,
    Invite,
    Joined,
    Noted,
    Packages,
    RehearseMending,
    Renew,
    Sealed,
    Waiting,
)
from davy.keyholders.voice import Voice
from davy.killswitch.dkg import Package, Round1Package
from davy.protocol.errors import DavyError, Expired, Misbehaved, Refused, Unreachable
from davy.protocol.order import GroupKey
from davy.protocol.ports import Clock, Entropy
from davy.protocol.roster import Roster
from davy.protocol.words import PublicKey

A = TypeVar("A")

STEP_MS = 60_000
"""How long a step without a person may take: making and keeping shares is the longest."""
_PAUSE_MS = 500
_TRIES = 3
"""Times that one step is asked when an answer is lost."""


async def found(
    circle: Circle,
    voices: Mapping[PublicKey, Voice],
    *,
    epoch: int,
    halt_threshold: int,
    lift_threshold: int,
    clock: Clock,
    entropy: Entropy,
    told: Told,
    patience_ms: int,
) -> Roster:
    """Make a roster with everybody in the circle.

    Parameters
    ----------
    patience_ms
        How long people are waited for, each time they are asked.

    Raises
    ------
    Refused
        Somebody said no or cheated; the sentence names who.
    Unreachable, Expired
        Somebody did not answer in time.
    """
    table = Table(circle, voices, clock, told, patience_ms)
    ceremony = entropy.bytes(16)
    invite = Invite(ceremony, epoch, halt_threshold, lift_threshold, circle.keys)
    joined = await table.ask_all(dict.fromkeys(circle.keys, invite), Joined, lambda k, a: check_hello(k, a, Hello))
    begin = Begin(ceremony, tuple(joined[k].hello for k in circle.keys))
    dealt = await table.packages(circle.keys, begin, Round1Package)
    packages = Packages(ceremony, tuple(dealt[k].halt for k in circle.keys), tuple(dealt[k].lift for k in circle.keys))
    echoed = await table.echoes(circle.keys, packages)
    for key in GroupKey:
        said = {k: e.halt if key is GroupKey.HALT else e.lift for k, e in echoed.items()}
        others = {k: Echoes(ceremony, key, tuple(said[o] for o in circle.keys if o != k)) for k in circle.keys}
        await table.ask_all(others, Noted)
    boxed = await table.ask_all(dict.fromkeys(circle.keys, Deal(ceremony)), Boxed)
    halts = [box for k in circle.keys for box in boxed[k].halt]
    lifts = [box for k in circle.keys for box in boxed[k].lift]
    parcels = {k: Boxes(ceremony, _to(k, halts), _to(k, lifts)) for k in circle.keys}
    founded = await table.ask_all(parcels, Founded)
    if len({a.roster for a in founded.values()}) != 1:
        raise Misbehaved("not all keyholders have made the same roster; throw these shares away and begin again", ())
    return founded[circle.keys[0]].roster


def _to(key: PublicKey, boxes: Sequence[Sealed]) -> tuple[Sealed, ...]:
    return tuple(box for box in boxes if box.recipient == key)


class Table:
    """Asks everybody the same step at once; the first that fails ends it for all.

    Parameters
    ----------
    step_ms
        How long a step without a person may take.
    """

    def __init__(
        self,
        circle: Circle,
        voices: Mapping[PublicKey, Voice],
        clock: Clock,
        told: Told,
        patience_ms: int,
        *,
        step_ms: int = STEP_MS,
        tries: int = _TRIES,
    ) -> None:
        self._circle = circle
        self._voices, self._clock, self._told, self._patience_ms = voices, clock, told, patience_ms
        self._step_ms, self._tries = step_ms, tries
        self.blamed: frozenset[PublicKey] = frozenset()
        """Whose step failed last, and whom it blames for that; one of them at least is to blame."""

    async def packages(self, members: Sequence[PublicKey], begin: Begin, kind: type[Package]) -> dict[PublicKey, Dealt]:
        """Everybody's packages: its own, and of one session."""
        sessions: dict[PublicKey, object] = {}

        def check(key: PublicKey, answer: Dealt) -> None:
            sessions[key] = sessions_of(key, self._circle.identifier(key), answer, kind)

        dealt = await self.ask_all(dict.fromkeys(members, begin), Dealt, check)
        if odd := in_another_session(sessions):
            self.blamed = frozenset(odd)
            names = ", ".join(self._voices[key].name for key in odd)
            raise Refused(f"{names}: packages of another session than the others'; begin again without")
        return dealt

    async def echoes(self, members: Sequence[PublicKey], packages: Packages) -> dict[PublicKey, Echoed]:
        """Everybody's echoes: its own."""
        identifier = self._circle.identifier
        return await self.ask_all(
            dict.fromkeys(members, packages), Echoed, lambda k, a: check_echoes(k, identifier(k), a)
        )

    async def ask_all(
        self,
        asks: Mapping[PublicKey, Ask],
        kind: type[A],
        check: Callable[[PublicKey, A], None] = lambda _, __: None,
    ) -> dict[PublicKey, A]:
        """Everybody's answers, if all are of this kind and pass the check.

        Raises
        ------
        Refused, Unreachable, Expired
            The sentence names whose answer was none.
        """
        answers: dict[PublicKey, A] = {}
        failures: list[DavyError] = []

        async def one(key: PublicKey, ask: Ask) -> None:
            voice = self._voices[key]
            try:
                answer = await self._until_decided(voice, ask)
                if isinstance(answer, kind):
                    check(key, answer)
            except DavyError as e:
                self.blamed = frozenset([key])
                failures.append(type(e)(f"{voice.name}: {e}") if type(e) in (Unreachable, Expired) else _told(voice, e))
            else:
                if isinstance(answer, kind):
                    answers[key] = answer
                    return
                accused = answer.culprits if isinstance(answer, Blamed) else ()
                self.blamed = frozenset([key, *(k for k in self._voices if self._circle.identifier(k) in accused)])
                why = answer.why if isinstance(answer, Declined | Blamed) else "it answered something else"
                failures.append(Refused(f"{voice.name}: {why}; begin again when that is settled"))
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for key, ask in asks.items():
                tasks.start_soon(one, key, ask)
        if failures:
            raise failures[0]
        return answers

    async def _until_decided(self, voice: Voice, ask: Ask) -> Answer:
        end = self._clock.now() + self._patience_ms
        lost, waiting = 0, False
        while True:
            try:
                answer = await voice.ask(ask, patience_ms=(HOLD_MS if isinstance(ask, _HELD) else 0) + self._step_ms)
            except Unreachable:
                lost += 1
                if (
                    lost == self._tries and not isinstance(ask, Invite | Renew | RehearseMending)
                ) or self._clock.now() >= end:
                    raise
            else:
                if not isinstance(answer, Waiting):
                    if not isinstance(ask, Echoes) or ask.key is GroupKey.LIFT:
                        self._told(voice.name, _STEPS.get(type(ask), "has done its part"))
                    return answer
                if not waiting:
                    self._told(voice.name, "is asked")
                waiting = True
                if self._clock.now() >= end:
                    raise Expired("no person answered in time; begin again when everybody is there")
            await self._clock.sleep_until(self._clock.now() + _PAUSE_MS)


def _told(voice: Voice, e: DavyError) -> DavyError:
    return Refused(f"{voice.name}: {e}")


_HELD: Final = (Invite, Renew, RehearseMending, Deal)
_STEPS: dict[type[Ask], str] = {
    Invite: "joins",
    Begin: "has made its packages",
    Packages: "has heard everybody",
    Echoes: "has compared with everybody",
    Deal: "has confirmed the fingerprint and dealt its shares",
    Boxes: "has its keys",
    Renew: "says yes",
    RehearseMending: "rehearses",
    Adopt: "has the new shares in office",
}

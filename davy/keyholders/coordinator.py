"""Whoever coordinates brings t keyholders together for a signature. Any keyholder can; it is trusted with nothing.

A keyholder that is away, slow or hostile never blocks t others: all are asked at once, the first t commitments make a
package, and who then answers wrongly or not at all is passed over while there are t others. Who sent a wrong share is
named and not asked again. Where sheets are carried, an attempt stays open beside the next one: what comes late still
counts. Nobody is asked for a second share while the first is waited for, and each attempt has nonces of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import anyio
from anyio.abc import TaskGroup

from davy.keyholders.claims import Heed, LeavesStanding, all_said
from davy.keyholders.desk import HOLD_MS
from davy.keyholders.keys import Held, Office, generation_id
from davy.keyholders.messages import (
    Accede,
    Answer,
    Ask,
    Commit,
    Committed,
    Declined,
    Finished,
    Proposal,
    Released,
    Sign,
    Waiting,
    Willing,
    proposal_id,
    signed_bytes,
)
from davy.keyholders.standing import opened
from davy.keyholders.voice import Voice
from davy.killswitch.frost import (
    SignatureShare,
    SigningCommitments,
    SigningPackage,
    aggregate,
    derive,
    signing_package,
    verify_share,
)
from davy.killswitch.group import Identifier, is_point
from davy.killswitch.keys import PublicKeyPackage
from davy.protocol.encoding import encode
from davy.protocol.errors import DavyError, Expired, Misbehaved, Refused, Unreachable
from davy.protocol.limits import SIGNER_SKEW_MS
from davy.protocol.order import SignedOrder, VerifiedOrder, signing_key, verify_order
from davy.protocol.ports import Clock, Entropy
from davy.protocol.words import Digest, Signature

ROUND_MS: Final = 5_000
"""How long a round waits for those who said yes."""
_PATIENCE_MS: Final = HOLD_MS + ROUND_MS
_PAUSE_MS: Final = 500
"""Between two questions to the same keyholder, so that neither floods the other; longer where nobody answers."""
_SAY_MS: Final = 1_000
"""How long the others are listened to when one has said what is missing: whoever knows something says so at once."""
_MAX_FAULTS: Final = 3
"""Rounds that one keyholder may spoil by its silence before it is no longer asked."""

Told = Callable[[str, str], None]
"""Told of each keyholder, by name, what it does."""
_Accept = Callable[[Identifier, Answer], bool | None]
"""Whether an answer is right (True), wrong (False: its sender cheats) or none (None)."""


class Party(NamedTuple):
    """One roster as its coordinator sees it: its own shares, and how each of its keyholders, itself too, is asked."""

    office: Office
    voices: Mapping[Identifier, Voice]


class Means(NamedTuple):
    """What whoever coordinates goes by: a clock, chance, and who is told what each keyholder does."""

    clock: Clock
    entropy: Entropy
    told: Told


class Waits(NamedTuple):
    """How long each step waits for others."""

    patience_ms: int = SIGNER_SKEW_MS
    """How long people are waited for; never longer than the order can be signed."""
    round_ms: int = ROUND_MS
    """How long a round waits for those who said yes: longer where sheets are carried."""
    grace_ms: int | None = None
    """How long one attempt keeps back the next, which is without those still waited for; None: to its end."""


OVER_A_NETWORK: Final = Waits()


class Completed(NamedTuple):
    """An order with its signature, and who made it; `culprits` sent what no honest keyholder sends."""

    order: VerifiedOrder
    signers: tuple[str, ...]
    culprits: tuple[str, ...]


class Signed(NamedTuple):
    """A signature that verifies for the group key, and who made it."""

    signature: Signature
    signers: tuple[str, ...]
    culprits: tuple[str, ...]


def completed(office: Office, order: bytes, signed: Sequence[Signed]) -> Completed:
    """Put an order and its signatures together; they are checked.

    Raises
    ------
    BadSignature
    """
    raw = encode(SignedOrder(1, order, tuple(s.signature for s in signed)))
    signers = dict.fromkeys(name for s in signed for name in s.signers)
    culprits = dict.fromkeys(name for s in signed for name in s.culprits)
    return Completed(verify_order(raw, office.roster, office.chain), tuple(signers), tuple(culprits))


async def gather(
    party: Party, proposal: Proposal, means: Means, waits: Waits = OVER_A_NETWORK, *, heed: Heed = all_said
) -> Signed:
    """Have one key's signature made until the order's time is over; of a rehearsal, one that is worth nothing.

    Parameters
    ----------
    heed
        Which of what signers say is missing in a LIFT makes this give up, even where others would sign it as it is.

    Raises
    ------
    Expired
        Too few answered in time.
    LeavesStanding
        The order is a LIFT, and a signer who is heeded says what is missing in it.
    Refused
        Too many said no.
    """
    return await _Gathering(party, proposal, means, waits, heed).run()


async def tell(voices: Mapping[Identifier, Voice], signed: bytes) -> None:
    """Tell every keyholder of a whole order; nobody waits for who does not answer."""

    async def one(voice: Voice) -> None:
        try:
            await voice.ask(Finished(signed), patience_ms=ROUND_MS)
        except DavyError:
            return

    with anyio.move_on_after(ROUND_MS / 1000):
        async with anyio.create_task_group() as tasks:
            for voice in voices.values():
                tasks.start_soon(one, voice)


class _Gathering:
    """One order on its way to a signature."""

    def __init__(self, party: Party, proposal: Proposal, means: Means, waits: Waits, heed: Heed) -> None:
        self._office, self._voices = party
        self._clock, self._entropy, self._told = means
        self._proposal, self._waits, self._heed = proposal, waits, heed
        order = opened(proposal.order)
        key = self._key = proposal.key if isinstance(proposal, Accede) else signing_key(order.action)
        self._id = proposal_id(proposal)
        self._deadline = min(order.issued + SIGNER_SKEW_MS, self._clock.now() + waits.patience_ms)
        self._need = self._office.threshold(key)
        self._message = signed_bytes(proposal)
        self._asking: set[Identifier] = set()
        self._willing: dict[Identifier, tuple[Digest, ...]] = {}
        self._declined: dict[Identifier, Declined] = {}
        self._missing: list[bytes] = []
        self._faults: dict[Identifier, int] = {}
        self._culprits: list[Identifier] = []
        self._awaited: dict[bytes, set[Identifier]] = {}
        """By attempt that is open, those of it whose answer is not here."""
        self._done: Signed | None = None
        self._over = anyio.Event()
        """The newest attempt is over, or an older one signed."""
        self._changed = anyio.Event()

    async def run(self) -> Signed:
        left = max(0, self._deadline - self._clock.now()) / 1000
        with anyio.move_on_after(left):
            return await self._until_signed()
        raise Expired(f"{self._so_far()}; propose the order anew")

    async def _until_signed(self) -> Signed:
        failure: Refused | None = None
        async with anyio.create_task_group() as tasks:
            for i in self._voices:
                self._ask_again(tasks, i)
            while self._done is None and failure is None:
                self._changed = anyio.Event()
                pool = self._pool()
                if self._missing:
                    await self._clock.sleep_until(self._clock.now() + _SAY_MS)
                    failure = LeavesStanding("signers know orders that this one would have to name", self._missing)
                elif pool is not None:
                    await self._begin(*pool, tasks)
                elif self._awaited:
                    await self._changed.wait()
                elif len(self._willing) + len(self._asking) < self._need or not self._asking:
                    failure = self._refusal()
                else:
                    await self._changed.wait()
            tasks.cancel_scope.cancel()
        if self._done is None:
            raise failure or Refused(self._so_far())
        return self._done

    def _pool(self) -> tuple[Held, list[Identifier]] | None:
        """The willing with the fewest faults, all of the same number together; None while they are too few.

        All of them have shares of one generation: the newest that so many have. An open attempt awaits none of them.
        """
        awaited = set[Identifier]().union(*self._awaited.values())
        for held in reversed(self._office.holdings.held):
            having = generation_id(held.generation)
            members = held.generation.members
            able = [i for i in self._voices if i in members and having in self._willing.get(i, ()) and i not in awaited]
            for most in range(_MAX_FAULTS):
                pool = [i for i in able if self._faults.get(i, 0) <= most]
                if len(pool) >= self._need:
                    return held, pool
        return None

    def _ask_again(self, tasks: TaskGroup, i: Identifier) -> None:
        self._asking.add(i)
        tasks.start_soon(self._ask, i)

    async def _ask(self, i: Identifier) -> None:
        """Ask one keyholder until it said yes or no."""
        voice = self._voices[i]
        last, pause = "", _PAUSE_MS
        while i in self._asking:
            answer: Answer | None = None
            try:
                answer = await voice.ask(self._proposal, patience_ms=_PATIENCE_MS)
            except Unreachable:
                pass
            except DavyError as e:
                answer = Declined(str(e)[:500], ())
            if answer is None or isinstance(answer, Waiting):
                said = "cannot be reached" if answer is None else "is asked"
                if said != last:
                    self._told(voice.name, said)
                last = said
                await self._clock.sleep_until(self._clock.now() + pause)
                pause = min(2 * pause, ROUND_MS) if answer is None else _PAUSE_MS
            else:
                self._settle(i, answer)

    def _settle(self, i: Identifier, answer: Answer) -> None:
        self._asking.discard(i)
        if isinstance(answer, Willing):
            self._willing[i] = answer.generations
            self._told(self._voices[i].name, "says yes")
        else:
            no = answer if isinstance(answer, Declined) else Declined("it answered something else", ())
            self._declined[i] = no
            self._told(self._voices[i].name, f"does not sign: {no.why}")
            self._missing += [
                body for body in self._heed(self._voices[i].name, no.standing) if body not in self._missing
            ]
        self._changed.set()

    async def _begin(self, held: Held, pool: Sequence[Identifier], tasks: TaskGroup) -> None:
        """Begin an attempt and wait for its end; with a grace, only so long: then others need not wait for it."""
        attempt = self._entropy.bytes(16)
        over = self._over = anyio.Event()
        for i in set[Identifier]().union(*self._awaited.values()):
            self._told(self._voices[i].name, "is still waited for; others are asked in its place")
        self._awaited[attempt] = set(pool)

        async def to_its_end() -> None:
            signed = await self._attempt(attempt, held, pool, tasks)
            self._done = self._done or signed
            del self._awaited[attempt]
            self._changed.set()
            (self._over if self._done else over).set()

        tasks.start_soon(to_its_end)
        grace = self._waits.grace_ms
        with anyio.move_on_after(None if grace is None else grace / 1000):
            await over.wait()

    async def _attempt(self, attempt: bytes, held: Held, pool: Sequence[Identifier], tasks: TaskGroup) -> Signed | None:
        """Both rounds with the first t of the pool that commit; None when somebody spoiled it."""
        public, awaited = held.generation.of(self._key), self._awaited[attempt]
        commitments: dict[Identifier, SigningCommitments] = {}

        def is_commitment(i: Identifier, answer: Answer) -> bool | None:
            if not isinstance(answer, Committed):
                return None
            c = commitments[i] = answer.commitments
            return c.identifier == i and is_point(c.hiding) and is_point(c.binding)

        committing = Commit(self._id, attempt, generation_id(held.generation))
        signers = await self._ask_round(pool, committing, self._need, is_commitment, tasks)
        if signers is None:
            return None
        package = signing_package(public, self._message, [commitments[i] for i in signers])
        shares: dict[Identifier, SignatureShare] = {}
        awaited.intersection_update(signers)
        self._changed.set()

        def is_share(i: Identifier, answer: Answer) -> bool | None:
            awaited.discard(i)
            self._changed.set()
            if not isinstance(answer, Released):
                return None
            if answer.share.identifier != i:
                return False
            shares[i] = answer.share
            return True

        signed = await self._ask_round(signers, Sign(self._id, attempt, package), self._need, is_share, tasks)
        if signed is None:
            culprits = _wrong(public, package, list(shares.values()))
        else:
            try:
                signature = aggregate(public, package, [shares[i] for i in signed])
            except Misbehaved as e:
                culprits = e.culprits
            else:
                return Signed(signature, self._names(signers), self._names(self._culprits))
        for i in culprits:
            self._name_culprit(i)
        return None

    async def _ask_round(
        self, pool: Sequence[Identifier], ask: Ask, need: int, accept: _Accept, tasks: TaskGroup
    ) -> list[Identifier] | None:
        """Return the first `need` whose answers are accepted; None when there are fewer: who is to blame is noted."""
        good: list[Identifier] = []
        bad: list[Identifier] = []

        async def one(i: Identifier) -> None:
            try:
                right = accept(i, await self._voices[i].ask(ask, patience_ms=self._waits.round_ms))
            except DavyError as e:
                right = None
                self._told(self._voices[i].name, str(e))
            if right is False:
                self._name_culprit(i)
            (good if right else bad).append(i)
            if len(good) == need or len(pool) - len(bad) < need:
                round_.cancel_scope.cancel()

        with anyio.move_on_after(self._waits.round_ms / 1000) as waiting:
            async with anyio.create_task_group() as round_:
                for i in pool:
                    round_.start_soon(one, i)
        if len(good) >= need:
            return good[:need]
        silent = [i for i in pool if i not in good and i not in bad] if waiting.cancelled_caught else []
        self._pass_over([i for i in (*bad, *silent) if i not in self._culprits], tasks)
        return None

    def _name_culprit(self, i: Identifier) -> None:
        self._culprits.append(i)
        self._willing.pop(i, None)
        self._declined[i] = Declined("it sent what no honest keyholder sends, and is not asked again", ())
        self._told(self._voices[i].name, "sent a wrong share or commitment, and is not asked again")

    def _pass_over(self, spoilers: Sequence[Identifier], tasks: TaskGroup) -> None:
        """Count a spoilt round against those who spoilt it, and ask them again: they may have restarted."""
        for i in spoilers:
            self._faults[i] = self._faults.get(i, 0) + 1
            self._willing.pop(i, None)
            if self._faults[i] < _MAX_FAULTS:
                self._told(self._voices[i].name, "did not answer a round")
                self._ask_again(tasks, i)
            else:
                self._declined[i] = Declined("it said yes and did not sign", ())

    def _refusal(self) -> Refused:
        return Refused(f"{self._so_far()}; ask those who can, or propose another order")

    def _so_far(self) -> str:
        noes = "; ".join(f"{self._voices[i].name}: {no.why}" for i, no in self._declined.items())
        away = ", ".join(self._voices[i].name for i in self._voices if i in self._asking)
        said = f"{len(self._willing)} of the {self._need} keyholders needed said yes"
        own = {generation_id(h.generation) for h in self._office.holdings.held}
        if apart := [v.name for i, v in self._voices.items() if own.isdisjoint(self._willing.get(i, own))]:
            said += f"; {', '.join(apart)} have other shares than this home: `davy keyholder status` compares them"
        if late := [self._voices[i].name for each in self._awaited.values() for i in each]:
            said += f"; no share from {', '.join(late)}"
        return said + (f"; no answer from {away}" if away else "") + (f"; {noes}" if noes else "")

    def _names(self, who: Sequence[Identifier]) -> tuple[str, ...]:
        return tuple(self._voices[i].name for i in who)


def _wrong(public: PublicKeyPackage, package: SigningPackage, shares: Sequence[SignatureShare]) -> Sequence[Identifier]:
    """Who sent a wrong share in a round that somebody else spoilt."""
    common = derive(public, package)
    culprits: list[Identifier] = []
    for share in shares:
        try:
            verify_share(public, package, share, common)
        except Misbehaved:
            culprits.append(share.identifier)
    return culprits

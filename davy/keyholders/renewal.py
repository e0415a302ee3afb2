"""Bringing keyholders together to deal their shares anew.

Whoever coordinates passes on what others signed or encrypted, and chooses nothing but who takes part, which the persons
see. A refresh needs all of its members: whoever stays away is left out by name, and thereby removed. A rehearsal takes
the same steps, except for the one that changes something.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import anyio

from davy.keyholders.assembly import Table, parcels
from davy.keyholders.coordinator import Means
from davy.keyholders.keys import Generation, Proof, check_proof, generation_id, members_of, open_proof
from davy.keyholders.mending import MAX_STEP
from davy.keyholders.messages import (
    Adopt,
    Begin,
    Boxed,
    Deal,
    Dealt,
    Declined,
    Echoed,
    Echoes,
    Holds,
    Joined,
    Noted,
    Packages,
    Recall,
    Recalled,
    RehearseMending,
    Renew,
)
from davy.keyholders.voice import Voice
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import DavyError, Misbehaved, Refused, Unreachable
from davy.protocol.limits import MAX_CEREMONY_BYTES
from davy.protocol.order import GroupKey
from davy.protocol.roster import Roster, roster_digest
from davy.protocol.words import PublicKey

ROUND_MS: Final = 15_000
"""How long a step of a repair, or a question that no person answers, waits for an answer."""


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
    roster: Roster,
    voices: Mapping[PublicKey, Voice],
    means: Means,
    *,
    without: Collection[PublicKey] = (),
    is_rehearsal: bool = False,
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
        raise Unreachable(f"nobody says which shares are in office; {faults(stands)}")
    base = latest.generation
    members = tuple(sorted(set(members_of(base, roster)) - set(without)))
    if len(members) < roster.lift_threshold:
        raise Refused(f"{roster.lift_threshold} or more keyholders must stay; leave fewer out, or make new keys")
    by_key = {s.key: s for s in stands}
    if missing := [s for k in members if (s := by_key[k]).proof is None or k in failed]:
        raise Unreachable(f"{faults(missing)}; begin again when they are there, or remove them with --without")
    newest = max(by_key[k].newest for k in members)
    if newest >= base.number + MAX_STEP:
        liar = max((by_key[k] for k in members), key=lambda s: s.newest)
        raise Misbehaved(f"{liar.name} has shares of a number that no refresh gave; leave it out with --without", ())
    ceremony = means.entropy.bytes(16)
    renewal = Renew(ceremony, roster_digest(roster), generation_id(base), newest + 1, members)
    table = Table(voices, means.clock, means.told, means.patience_ms)
    asked = RehearseMending(renewal) if is_rehearsal else renewal
    joined = await table.ask_all(dict.fromkeys(members, asked), Joined)
    boxed = await exchange(table, ceremony, members, {k: joined[k].hello for k in members})
    if is_rehearsal:
        await table.ask_all(parcels(ceremony, boxed), Noted)
        return Renewed(base, ())
    held = await table.ask_all(parcels(ceremony, boxed), Holds)
    proof = _proved([held[k] for k in members], roster)
    late = await spread_proof({k: voices[k] for k in members}, proof)
    return Renewed(proof.generation, tuple(voices[k].name for k in members if k in late))


def faults(stands: Iterable[Standing]) -> str:
    """Say why each of them has no share of what is in office."""
    return "; ".join(f"{s.name}: {s.fault or 'it has no share of what is in office'}" for s in stands)


def _proved(held: Sequence[Holds], roster: Roster) -> Proof:
    parts = [decode(h.proof, Proof, limit=MAX_CEREMONY_BYTES) for h in held]
    proof = Proof(1, parts[0].generation, tuple(word for part in parts for word in part.words))
    if any(part.generation != proof.generation for part in parts):
        raise Misbehaved("not all keyholders have made the same shares; the old ones stay in office: begin again", ())
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
    dealt = await table.ask_all(dict.fromkeys(members, begin), Dealt)
    await table.ask_all(dict.fromkeys(quiet, begin), Noted)
    packages = Packages(ceremony, tuple(dealt[k].halt for k in members), tuple(dealt[k].lift for k in members))
    echoed = await table.ask_all(dict.fromkeys(members, packages), Echoed)
    await table.ask_all(dict.fromkeys(quiet, packages), Noted)
    for key in GroupKey:
        said = {k: e.halt if key is GroupKey.HALT else e.lift for k, e in echoed.items()}
        others = {
            k: Echoes(ceremony, key, tuple(said[other] for other in members if other != k)) for k in (*members, *quiet)
        }
        await table.ask_all(others, Noted)
    return await table.ask_all(dict.fromkeys(members, Deal(ceremony)), Boxed)

"""One keyholder's part where shares are there already: all are dealt anew (refresh), or a lost one comes back (repair).

The person is asked once, before anything is computed. Nothing that the coordinator can do changes a share in office:
a refresh ends with a staged one, and only all members' words bring it into office (`davy.keyholders.keys`).

A rehearsal ends before that: shares are dealt and computed, and thrown away. Of a repair nothing reaches the one who
says that its share is lost, for people look less closely at a rehearsal.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from nacl.public import PrivateKey

from davy.keyholders.circle import Circle, fingerprint
from davy.keyholders.dealing import Helping, Mended, Refreshing, in_turn
from davy.keyholders.desk import Desk, Matter
from davy.keyholders.keys import (
    Generation,
    Held,
    Holdings,
    Proof,
    Vault,
    Word,
    adopt,
    check_generation,
    check_holdings,
    generation_id,
    members_of,
    open_holdings,
    open_proof,
    stage,
    staging,
)
from davy.keyholders.messages import (
    Adopt,
    Answer,
    Begin,
    Blamed,
    Boxed,
    Boxes,
    Deal,
    Dealt,
    Declined,
    Echoed,
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
    SignedHello,
    Step,
)
from davy.keyholders.screen import REHEARSAL, rehearsed
from davy.keyholders.sealing import Envelopes
from davy.keyholders.steps import Steps, unless_yes
from davy.killswitch import echo, refresh, repair
from davy.killswitch.dkg import Package
from davy.killswitch.echo import Echo, Member, MendingSession, SignedEcho, SignedRound1
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Busy, Expired, Malformed, Misbehaved, Misdirected, NoSuchKey, Refused, Unauthorised
from davy.protocol.limits import DAY_MS
from davy.protocol.order import GroupKey
from davy.protocol.ports import Clock, Entropy, KeyStore
from davy.protocol.roster import Roster, roster_digest
from davy.protocol.signing import Domain, digest, verify
from davy.protocol.words import Digest, KeyRole, PublicKey, UnixMillis

MENDING_MS: Final = DAY_MS
"""How long a ceremony may take, its people and those who carry sheets included."""
MAX_STEP: Final = 1_000
"""How much greater a new generation's number may be: more failed refreshes than there can be, and no end to numbers."""
_MAX_HELLO_BYTES: Final = 1_024
_MAX_BEGINNINGS: Final = 32
_TRIES: Final = 4

_Part: TypeAlias = Refreshing | Helping | Mended
_Asked: TypeAlias = Renew | Mend | RehearseMending


class _Ceremony:
    """How far one ceremony has come; each beginning forgets the one before."""

    def __init__(
        self,
        asked: _Asked,
        hello: MendingHello,
        box: PrivateKey,
        base: Held | None,
        expires: UnixMillis,
    ) -> None:
        self.asked, self.hello, self.box, self.base, self.expires = asked, hello, box, base, expires
        self.invite = _invited(asked)
        self.is_rehearsal = isinstance(asked, RehearseMending)
        self.signed = b""
        self.begun: set[Digest] = set()
        self.parts: dict[GroupKey, _Part] = {}
        self.envelopes: Envelopes | None = None
        self.heard = self.dealt = False
        self.steps = Steps()


def _invited(asked: _Asked) -> Renew | Mend:
    return asked.of if isinstance(asked, RehearseMending) else asked


class Mender:
    """Answers those who deal shares anew, give one back, or ask which ones are here. One ceremony for each who asks.

    Parameters
    ----------
    roster
        Reads the roster in office; raises Misconfigured where this home belongs to no chain.
    """

    def __init__(
        self,
        circle: Circle,
        keys: KeyStore,
        roster: Callable[[], Awaitable[Roster]],
        *,
        desk: Desk,
        vault: Vault,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._circle, self._keys, self._roster, self._desk, self._vault = circle, keys, roster, desk, vault
        self._clock, self._entropy = clock, entropy
        self._own = keys.public(KeyRole.KEYHOLDER)
        self._open: dict[PublicKey, _Ceremony] = {}

    async def answer(self, sender: PublicKey, ask: Recall | Adopt | Renew | Mend | RehearseMending | Step) -> Answer:
        """Answer another keyholder, or this one as its own coordinator.

        Raises
        ------
        Refused
            A step out of turn, or what does not fit; the ceremony is begun again.
        Misconfigured
        """
        self._circle.holder(sender)
        match ask:
            case Recall():
                return await self._recall(ask)
            case Adopt():
                roster = await self._roster()
                proof = open_proof(ask.proof, roster)
                await self._change(roster, lambda h: adopt(h, proof))
                return Noted()
            case Renew() | Mend() | RehearseMending():
                return await self._invite(sender, ask)
            case _:
                return await self._step(sender, ask)

    async def _recall(self, ask: Recall) -> Answer:
        roster = await self._roster()
        if roster_digest(roster) != ask.roster:
            return Declined("it holds keys of another roster; compare `davy keyholder status`", ())
        try:
            h = open_holdings(await self._vault.open(ask.roster), self._own)
        except NoSuchKey:
            return Declined("it has no share; give it one back with `davy keyholder repair`", ())
        return Recalled(encode(h.proof), h.newest)

    async def _invite(self, sender: PublicKey, ask: _Asked) -> Answer:
        invite, is_rehearsal = _invited(ask), isinstance(ask, RehearseMending)
        try:
            roster, base = await self._look(sender, invite, is_rehearsal)
        except Refused as e:
            return Declined(str(e)[:500], ())
        i = digest(Domain.MEND_HELLO, encode(ask))
        if isinstance(invite, Renew):
            kind, shown = "refresh", self._renewal(sender, invite, roster)
        else:
            kind, shown = "repair", self._repair(sender, invite, roster)
        if is_rehearsal:
            kind, shown = REHEARSAL, rehearsed(shown, "NOTHING CHANGES BY THIS: no share is replaced or given away")
        matter = self._desk.put(Matter(i, kind, shown, sender, self._clock.now() + MENDING_MS))
        if matter.sender != sender:
            return Declined("another keyholder has proposed the same; begin again", ())
        if (answer := await unless_yes(self._desk, matter)) is not None:
            return answer
        c = self._open.get(sender)
        if c is None or c.asked != ask:
            c = self._open[sender] = self._join(ask, i, base, matter.expires)
        return Joined(c.signed)

    async def _look(self, sender: PublicKey, ask: Renew | Mend, is_rehearsal: bool) -> tuple[Roster, Held | None]:
        """Everything that can be refused without asking the person; the shares that this is about."""
        roster = await self._roster()
        if ask.roster != roster_digest(roster) or roster.members != self._circle.keys:
            raise Misdirected("it holds keys of another roster; compare `davy keyholder status`")
        mended = isinstance(ask, Mend) and ask.mended == self._own
        try:
            h = open_holdings(await self._vault.open(ask.roster), self._own)
        except NoSuchKey:
            if not mended:
                raise Misdirected("it has no share; give it one back with `davy keyholder repair`") from None
            h = None
        if isinstance(ask, Renew):
            base = self._check_renewal(sender, ask, roster, in_turn(h))
        else:
            # Whoever rehearses has lost nothing.
            base = self._check_repair(sender, ask, roster, None if mended and is_rehearsal else h)
        return roster, None if mended else base

    def _check_renewal(self, sender: PublicKey, ask: Renew, roster: Roster, h: Holdings) -> Held:
        base = h.office
        before = members_of(base.generation, roster)
        if ask.base != generation_id(base.generation):
            raise Misdirected(f"generation {base.generation.number} of the shares is in office here; begin again")
        if not h.newest < ask.number <= h.newest + MAX_STEP:
            raise Malformed(f"the new shares need a number above {h.newest}, and not far; begin again")
        if sender not in before or self._own not in ask.members or not set(ask.members) <= set(before):
            raise Unauthorised("a refresh is among keyholders who have a share in office; begin again with those")
        if list(ask.members) != sorted(set(ask.members)) or len(ask.members) < roster.lift_threshold:
            raise Malformed(f"{roster.lift_threshold} or more keyholders refresh, each named once, by key; name them")
        return base

    def _check_repair(self, sender: PublicKey, ask: Mend, roster: Roster, h: Holdings | None) -> Held | None:
        proof = open_proof(ask.proof, roster)
        holders = members_of(proof.generation, roster)
        if sender not in holders or ask.mended not in holders:
            raise Unauthorised("a share is given back among keyholders who have not been removed; name one of them")
        if self._own != ask.mended:
            if h is None or h.office.generation != proof.generation:
                raise Misdirected("other shares are in office here; `davy keyholder status` brings them together")
            return h.office
        if h is not None and h.office.generation.number >= proof.generation.number:
            raise Misdirected(f"a share of generation {h.office.generation.number} is here already; nothing is lost")
        return None

    def _join(
        self, ask: Renew | Mend | RehearseMending, terms: Digest, base: Held | None, expires: UnixMillis
    ) -> _Ceremony:
        box = PrivateKey(self._entropy.bytes(32))
        salts = self._entropy.bytes(32), self._entropy.bytes(32)
        hello = MendingHello(1, terms, self._own, *salts, bytes(box.public_key))
        c = _Ceremony(ask, hello, box, base, expires)
        body = encode(hello)
        c.signed = encode(SignedHello(1, body, self._keys.sign(KeyRole.KEYHOLDER, Domain.MEND_HELLO, body)))
        return c

    async def _step(self, sender: PublicKey, ask: Step) -> Answer:
        c = self._open.get(sender)
        if c is None or c.invite.ceremony != ask.ceremony or self._clock.now() > c.expires:
            raise Expired("this ceremony is not known here, or its time is over; begin again")
        return await c.steps.once(ask, lambda: self._take(c, ask))

    async def _take(self, c: _Ceremony, ask: Step) -> Answer:
        try:
            match ask:
                case Begin():
                    return self._begin(c, ask)
                case Packages():
                    return self._packages(c, ask)
                case Echoes():
                    in_turn(c.parts.get(ask.key)).confirm(ask.echoes)
                    return Noted()
                case Deal():
                    return self._deal(c)
                case Boxes():
                    return await self._boxes(c, ask)
                case Parts():
                    return await self._parts(c, ask)
        except Misbehaved as e:
            return Blamed(str(e)[:500], e.culprits)

    def _begin(self, c: _Ceremony, ask: Begin) -> Answer:
        hellos = {h.member: h for h in (self._hello(c, raw) for raw in ask.hellos)}
        if len(hellos) != len(ask.hellos) or hellos.get(self._own) != c.hello:
            raise Misdirected("one hello of each who takes part is needed, with the one sent from here; begin again")
        sessions = {key: self._session(c, key, hellos) for key in GroupKey}
        contexts = {echo.context(session) for session in sessions.values()}
        # Two packages in one session are what only a cheat has.
        if contexts & c.begun or len(c.begun) >= len(sessions) * _MAX_BEGINNINGS:
            raise Malformed("this ceremony has begun like this already; begin a new one")
        c.begun |= contexts
        c.heard = c.dealt = False
        c.envelopes = Envelopes(self._circle, self._own, c.box, {k: h.box for k, h in hellos.items()})
        c.parts = {key: self._part(c, key, session, hellos) for key, session in sessions.items()}
        packages = [part.begin(self._entropy) for part in c.parts.values()]
        signed = [self._sign_package(package) for package in packages if package is not None]
        return Dealt(*signed) if signed else Noted()

    def _hello(self, c: _Ceremony, raw: bytes) -> MendingHello:
        signed = decode(raw, SignedHello, limit=_MAX_HELLO_BYTES)
        hello = decode(signed.hello, MendingHello, limit=_MAX_HELLO_BYTES)
        verify(self._circle.holder(hello.member).key, Domain.MEND_HELLO, signed.hello, signed.signature)
        if hello.terms != c.hello.terms:
            raise Misdirected(f"{self._circle.holder(hello.member).name} was invited to other terms; begin again")
        return hello

    def _session(self, c: _Ceremony, key: GroupKey, hellos: dict[PublicKey, MendingHello]) -> MendingSession:
        a = c.invite
        public = self._generation(c).of(key)
        if isinstance(a, Renew):
            if tuple(sorted(hellos)) != a.members:
                raise Malformed("one hello of every member is needed; wait for those missing")
            purpose, about = f"{key.value.upper()} key shares {a.number}", refresh.work(public)
        else:
            if a.mended not in hellos:
                raise Malformed("the hello of the one who is mended is missing; wait for it")
            lost = self._circle.identifier(a.mended)
            purpose, about = f"{key.value.upper()} key a lost share", repair.work(public, lost)
        if c.is_rehearsal:
            purpose = f"REHEARSAL of {purpose}"
        members = [self._member(hellos[k], key) for k in sorted(hellos) if not (isinstance(a, Mend) and k == a.mended)]
        return MendingSession(1, purpose, public.threshold, tuple(members), about)

    def _member(self, hello: MendingHello, key: GroupKey) -> Member:
        salt = hello.halt_salt if key is GroupKey.HALT else hello.lift_salt
        return Member(self._circle.identifier(hello.member), hello.member, salt)

    def _generation(self, c: _Ceremony) -> Generation:
        if c.base is not None:
            return c.base.generation
        assert isinstance(c.invite, Mend)  # noqa: S101
        return self._proof(c.invite).generation

    def _proof(self, invite: Mend) -> Proof:
        return decode(invite.proof, Proof, limit=len(invite.proof))

    def _part(self, c: _Ceremony, key: GroupKey, s: MendingSession, hellos: dict[PublicKey, MendingHello]) -> _Part:
        own = self._member(hellos[self._own], key)
        if c.base is None:
            return Mended(s, own.identifier, self._generation(c).of(key))
        if isinstance(c.invite, Renew):
            return Refreshing(s, own, *c.base.of(key))
        return Helping(s, own, *c.base.of(key), self._circle.identifier(c.invite.mended))

    def _sign_package(self, package: Package) -> bytes:
        signature = self._keys.sign(KeyRole.KEYHOLDER, Domain.DKG_ROUND1, echo.statement(package))
        return encode(SignedRound1(1, encode(package), signature))

    def _packages(self, c: _Ceremony, ask: Packages) -> Answer:
        if c.heard or not c.parts:
            raise Malformed("this ceremony has other packages already, or has not begun; begin again")
        said = [c.parts[GroupKey.HALT].hear(ask.halt), c.parts[GroupKey.LIFT].hear(ask.lift)]
        c.heard = True
        signed = [self._sign_echo(each) for each in said if each is not None]
        return Echoed(*signed) if signed else Noted()

    def _sign_echo(self, said: Echo) -> bytes:
        body = encode(said)
        return encode(SignedEcho(1, body, self._keys.sign(KeyRole.KEYHOLDER, Domain.DKG_ECHO, body)))

    def _deal(self, c: _Ceremony) -> Answer:
        if c.dealt:
            raise Malformed("the shares were dealt; begin a new ceremony")
        envelopes = in_turn(c.envelopes)
        boxes = [in_turn(c.parts.get(key)).deal(envelopes, self._entropy) for key in GroupKey]
        c.dealt = True
        return Boxed(*boxes)

    async def _boxes(self, c: _Ceremony, ask: Boxes) -> Answer:
        envelopes, boxes = in_turn(c.envelopes), {GroupKey.HALT: ask.halt, GroupKey.LIFT: ask.lift}
        if isinstance(c.invite, Mend):
            sigmas = [
                part.finish(envelopes, boxes[key], c.invite.mended, self._entropy)
                for key, part in c.parts.items()
                if isinstance(part, Helping)
            ]
            if len(sigmas) != len(boxes):
                raise Malformed("who is mended takes no shares of helpers to each other; begin again")
            return Noted() if c.is_rehearsal else Parted(*sigmas)
        made = {k: p.finish(envelopes, boxes[k]) for k, p in c.parts.items() if isinstance(p, Refreshing)}
        (halt, halt_public), (lift, lift_public) = made[GroupKey.HALT], made[GroupKey.LIFT]
        a = c.invite
        generation = Generation(1, a.roster, a.number, a.base, halt_public, lift_public)
        new, roster = Held(generation, halt, lift), await self._roster()
        check_generation(generation, roster)
        if c.is_rehearsal:
            return Noted()
        await self._change(roster, lambda h: stage(h, new))
        said = staging(generation_id(generation), self._own)
        word = Word(self._own, self._keys.sign(KeyRole.KEYHOLDER, Domain.STAGED, said))
        return Holds(encode(Proof(1, generation, (word,))))

    async def _parts(self, c: _Ceremony, ask: Parts) -> Answer:
        envelopes, boxes = in_turn(c.envelopes), {GroupKey.HALT: ask.halt, GroupKey.LIFT: ask.lift}
        made = {k: p.finish(envelopes, boxes[k]) for k, p in c.parts.items() if isinstance(p, Mended)}
        if c.is_rehearsal or not isinstance(c.invite, Mend) or len(made) != len(boxes):
            raise Malformed("nothing is given back in this ceremony; begin again")
        proof, roster = self._proof(c.invite), await self._roster()
        held = Held(proof.generation, made[GroupKey.HALT], made[GroupKey.LIFT])
        mended = Holdings(1, roster, (held,), proof.words)
        check_holdings(mended, self._own)
        try:
            old = await self._vault.open(c.invite.roster)
        except NoSuchKey:
            await self._vault.keep(c.invite.roster, encode(mended))
        else:
            if open_holdings(old, self._own).office.generation.number >= proof.generation.number:
                raise Misdirected("a newer share is here already; nothing is lost")
            await self._vault.replace(c.invite.roster, old, encode(mended))
        return Noted()

    async def _change(self, roster: Roster, change: Callable[[Holdings], Holdings]) -> None:
        """Change what is held, also where another process of this home does so at the same time."""
        i = roster_digest(roster)
        for _ in range(_TRIES):
            old = await self._vault.open(i)
            before = open_holdings(old, self._own)
            after = change(before)
            if after == before:
                return
            check_holdings(after, self._own)
            try:
                await self._vault.replace(i, old, encode(after))
            except Busy:
                continue
            return
        raise Busy("other processes of this home change the shares all the time; end them and try again")

    def _names(self, keys: tuple[PublicKey, ...]) -> str:
        return ", ".join(self._circle.holder(k).name for k in keys) or "nobody"

    def _renewal(self, sender: PublicKey, ask: Renew, roster: Roster) -> str:
        n = len(ask.members)
        removed = tuple(k for k in roster.members if k not in ask.members)
        lines = [
            "NEW SHARES of the same two keys",
            f"  dealt to       {self._names(ask.members)}",
            f"  WITHOUT        {self._names(removed)}",
            f"  then           {roster.halt_threshold} of {n} halt, {roster.lift_threshold} of {n} lift",
            f"  generation     {ask.number}",
            f"  in place of    {fingerprint(ask.base)}",
            "  costs          old shares, copies of them too, sign nothing with the new ones",
            f"  asked by       {self._circle.holder(sender).name}",
            f"  roster         {fingerprint(ask.roster)}",
            "  Say yes if these words are the same at every keyholder.",
        ]
        return "\n".join(lines)

    def _repair(self, sender: PublicKey, ask: Mend, roster: Roster) -> str:
        name = self._circle.holder(ask.mended).name
        generation = self._proof(ask).generation
        lines = [
            f"A LOST SHARE is given back to {name}",
            f"  by             {roster.lift_threshold} others",
            f"  generation     {generation.number}",
            f"                 {fingerprint(generation_id(generation))}",
            f"  asked by       {self._circle.holder(sender).name}",
            f"  roster         {fingerprint(ask.roster)}",
            f"  Say yes only if {name} told you, in its own voice, that it has lost its share.",
        ]
        return "\n".join(lines)

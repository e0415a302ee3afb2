"""One keyholder's part in the making of a roster: both group keys at once, by DKG with echo broadcast.

The person is asked twice: whether these are the keyholders and these the thresholds; and, before any share leaves,
whether the fingerprint of all packages is the one that the others read out. Every step happens once in a ceremony;
only an answer that was lost is given again.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar

from nacl.public import PrivateKey

from davy.keyholders.circle import Circle, fingerprint
from davy.keyholders.desk import Desk, Matter
from davy.keyholders.keys import Vault, check_holdings, first_holdings
from davy.keyholders.messages import (
    Answer,
    Begin,
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
    Sealed,
    SignedHello,
)
from davy.keyholders.sealing import Envelopes
from davy.keyholders.steps import Steps, unless_yes
from davy.killswitch import dkg, echo
from davy.killswitch.dkg import Confirmed, Round1Package, Round1Secret, Round2Secret, Round2Share
from davy.killswitch.echo import Member, Received, Session, SignedEcho, SignedRound1
from davy.killswitch.keys import KeyPackage, PublicKeyPackage
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import Expired, Malformed, Misdirected
from davy.protocol.limits import DAY_MS
from davy.protocol.order import GroupKey
from davy.protocol.ports import Clock, Entropy, KeyStore
from davy.protocol.roster import Roster, check_thresholds, roster_digest
from davy.protocol.signing import Domain, digest, verify
from davy.protocol.words import Digest, KeyRole, PublicKey, UnixMillis

T = TypeVar("T")

FOUNDING_MS: Final = DAY_MS
"""How long a ceremony may take, its people and those who carry sheets included."""
KIND: Final = "dkg"
"""As policies name both questions."""
_MAX_HELLO_BYTES: Final = 1_024


class _Transcripts(Wire):
    version: int
    circle: Digest
    halt: Digest
    lift: Digest


class _Sessions(NamedTuple):
    """What follows from everybody's hello."""

    hellos: dict[PublicKey, Hello]
    sessions: dict[GroupKey, Session]
    secrets: dict[GroupKey, Round1Secret]


class _Ceremony:
    """How far one ceremony has come; each step needs what the one before left."""

    def __init__(self, invite: Invite, hello: Hello, signed: bytes, box: PrivateKey, expires: UnixMillis) -> None:
        self.invite, self.hello, self.signed, self.box, self.expires = invite, hello, signed, box, expires
        self.begun: _Sessions | None = None
        self.received: dict[GroupKey, list[Received[Round1Package]]] = {}
        self.confirmed: dict[GroupKey, Confirmed] = {}
        self.dealt: dict[GroupKey, Round2Secret] = {}
        self.steps = Steps()


class Founder:
    """Answers those who make a roster. One ceremony for each keyholder that coordinates one; a newer one ends it."""

    def __init__(
        self, circle: Circle, keys: KeyStore, *, desk: Desk, vault: Vault, clock: Clock, entropy: Entropy
    ) -> None:
        self._circle, self._keys, self._desk, self._vault = circle, keys, desk, vault
        self._clock, self._entropy = clock, entropy
        self._own = keys.public(KeyRole.KEYHOLDER)
        self._open: dict[PublicKey, _Ceremony] = {}

    async def answer(self, sender: PublicKey, ask: Invite | Begin | Packages | Echoes | Deal | Boxes) -> Answer:
        """Answer another keyholder, or this one as its own coordinator.

        Raises
        ------
        Misbehaved
            `culprits` cheated: begin again without them, or with honest ones.
        Refused
            A step out of turn, or what does not fit; the ceremony is begun again.
        Misconfigured
        """
        self._circle.holder(sender)
        if isinstance(ask, Invite):
            return await self._invite(sender, ask)
        ceremony = self._open.get(sender)
        if ceremony is None or ceremony.invite.ceremony != ask.ceremony or self._clock.now() > ceremony.expires:
            raise Expired("this ceremony is not known here, or its time is over; begin again")
        return await ceremony.steps.once(ask, lambda: self._step(sender, ceremony, ask))

    async def _step(self, sender: PublicKey, c: _Ceremony, ask: Begin | Packages | Echoes | Deal | Boxes) -> Answer:
        match ask:
            case Begin():
                return self._begin(c, ask)
            case Packages():
                return self._packages(c, ask)
            case Echoes():
                return self._echoes(c, ask)
            case Deal():
                return await self._deal(sender, c)
            case Boxes():
                return await self._boxes(c, ask)

    async def _invite(self, sender: PublicKey, ask: Invite) -> Answer:
        if ask.members != self._circle.keys:
            return Declined("the invited are not this circle; compare its fingerprint with the others", ())
        try:
            check_thresholds(ask.halt_threshold, ask.lift_threshold, len(ask.members))
        except Malformed as e:
            return Declined(str(e)[:500], ())
        expires = self._clock.now() + FOUNDING_MS
        matter = self._desk.put(Matter(ask.ceremony, KIND, self._invitation(sender, ask), sender, expires, encode(ask)))
        if matter.content != encode(ask) or matter.sender != sender:
            return Declined("another ceremony has this name; begin again", ())
        if (answer := await unless_yes(self._desk, matter)) is not None:
            return answer
        ceremony = self._open.get(sender)
        if ceremony is None or ceremony.invite != ask:
            ceremony = self._open[sender] = self._join(ask, matter.expires)
        return Joined(ceremony.signed)

    def _join(self, ask: Invite, expires: UnixMillis) -> _Ceremony:
        box = PrivateKey(self._entropy.bytes(32))
        salts = self._entropy.bytes(32), self._entropy.bytes(32)
        hello = Hello(1, *_terms(ask), self._own, *salts, bytes(box.public_key))
        body = encode(hello)
        signature = self._keys.sign(KeyRole.KEYHOLDER, Domain.DKG_HELLO, body)
        return _Ceremony(ask, hello, encode(SignedHello(1, body, signature)), box, expires)

    def _begin(self, c: _Ceremony, ask: Begin) -> Dealt:
        if c.begun is not None:
            raise Malformed("this ceremony has begun with other hellos; begin a new one")
        hellos = {h.member: h for h in (self._hello(c, raw) for raw in ask.hellos)}
        if tuple(sorted(hellos)) != self._circle.keys or len(ask.hellos) != len(hellos):
            raise Malformed("one hello of every keyholder is needed; wait for those missing")
        if hellos[self._own] != c.hello:
            raise Misdirected("the hellos do not hold the one that was sent from here; begin again")
        sessions = {key: self._session(c, key, hellos) for key in GroupKey}
        secrets: dict[GroupKey, Round1Secret] = {}
        signed: dict[GroupKey, bytes] = {}
        for key, session in sessions.items():
            terms = echo.terms(session, self._member(hellos[self._own], key))
            secrets[key], package = dkg.part1(terms, self._circle.identifier(self._own), self._entropy)
            signature = self._keys.sign(KeyRole.KEYHOLDER, Domain.DKG_ROUND1, echo.statement(package))
            signed[key] = encode(SignedRound1(1, encode(package), signature))
        c.begun = _Sessions(hellos, sessions, secrets)
        return Dealt(signed[GroupKey.HALT], signed[GroupKey.LIFT])

    def _hello(self, c: _Ceremony, raw: bytes) -> Hello:
        signed = decode(raw, SignedHello, limit=_MAX_HELLO_BYTES)
        hello = decode(signed.hello, Hello, limit=_MAX_HELLO_BYTES)
        verify(self._circle.holder(hello.member).key, Domain.DKG_HELLO, signed.hello, signed.signature)
        if _terms(hello) != _terms(c.invite):
            raise Misdirected(f"{self._circle.holder(hello.member).name} was invited to other terms; begin again")
        return hello

    def _member(self, hello: Hello, key: GroupKey) -> Member:
        salt = hello.halt_salt if key is GroupKey.HALT else hello.lift_salt
        return Member(self._circle.identifier(hello.member), hello.member, salt)

    def _session(self, c: _Ceremony, key: GroupKey, hellos: dict[PublicKey, Hello]) -> Session:
        t = c.invite.halt_threshold if key is GroupKey.HALT else c.invite.lift_threshold
        members = tuple(self._member(hellos[k], key) for k in self._circle.keys)
        return Session(1, f"{key.value.upper()} key of group epoch {c.invite.epoch}", t, members)

    def _packages(self, c: _Ceremony, ask: Packages) -> Echoed:
        begun = _in_turn(c.begun)
        if c.received:
            raise Malformed("this ceremony has other packages already; begin a new one")
        received = {
            key: [echo.open_round1(begun.sessions[key], raw) for raw in packages]
            for key, packages in ((GroupKey.HALT, ask.halt), (GroupKey.LIFT, ask.lift))
        }
        # To echo less would make this keyholder look like one that cheats.
        everybody = [self._circle.identifier(k) for k in self._circle.keys]
        if any(sorted(r.heard.sender for r in each) != sorted(everybody) for each in received.values()):
            raise Malformed("one package of every keyholder is needed; wait for those missing")
        own = self._circle.identifier(self._own)
        said = {key: encode(echo.echo(begun.sessions[key], own, each)) for key, each in received.items()}
        c.received = received
        signed = {
            key: encode(SignedEcho(1, body, self._keys.sign(KeyRole.KEYHOLDER, Domain.DKG_ECHO, body)))
            for key, body in said.items()
        }
        return Echoed(signed[GroupKey.HALT], signed[GroupKey.LIFT])

    def _echoes(self, c: _Ceremony, ask: Echoes) -> Noted:
        begun = _in_turn(c.begun)
        received = _in_turn(c.received.get(ask.key))
        own = self._member(begun.hellos[self._own], ask.key)
        c.confirmed[ask.key] = echo.confirm(begun.sessions[ask.key], own, received, ask.echoes)
        return Noted()

    async def _deal(self, sender: PublicKey, c: _Ceremony) -> Answer:
        begun = _in_turn(c.begun)
        confirmed = {key: _in_turn(c.confirmed.get(key)) for key in GroupKey}
        seen = self._transcript(confirmed)
        matter = self._desk.put(Matter(seen, KIND, self._comparison(sender, c, seen), sender, c.expires))
        if (answer := await unless_yes(self._desk, matter, "its keyholder saw another fingerprint")) is not None:
            return answer
        if c.dealt:
            raise Malformed("the shares were dealt; begin a new ceremony")
        boxes: dict[GroupKey, tuple[Sealed, ...]] = {}
        for key in GroupKey:
            c.dealt[key], shares = dkg.part2(begun.secrets[key], confirmed[key])
            boxes[key] = tuple(self._envelopes(c, begun).seal_to_member(share, self._entropy) for share in shares)
        return Boxed(boxes[GroupKey.HALT], boxes[GroupKey.LIFT])

    async def _boxes(self, c: _Ceremony, ask: Boxes) -> Answer:
        begun = _in_turn(c.begun)
        made: dict[GroupKey, tuple[KeyPackage, PublicKeyPackage]] = {}
        for key, boxes in ((GroupKey.HALT, ask.halt), (GroupKey.LIFT, ask.lift)):
            secret = _in_turn(c.dealt.get(key))
            opened = [self._envelopes(c, begun).open(sealed, Round2Share) for sealed in boxes]
            made[key] = dkg.part3(secret, opened)
        halt, lift = made[GroupKey.HALT], made[GroupKey.LIFT]
        i = c.invite
        terms = i.halt_threshold, i.lift_threshold
        roster = Roster(1, i.epoch, halt[0].group_key, lift[0].group_key, *terms, self._circle.keys)
        holdings = first_holdings(roster, halt, lift)
        check_holdings(holdings, self._own)
        await self._vault.keep(roster_digest(roster), encode(holdings))
        return Founded(roster)

    def _envelopes(self, c: _Ceremony, begun: _Sessions) -> Envelopes:
        return Envelopes(self._circle, self._own, c.box, {k: h.box for k, h in begun.hellos.items()})

    def _transcript(self, confirmed: dict[GroupKey, Confirmed]) -> Digest:
        halt, lift = (echo.transcript(confirmed[key].checked) for key in (GroupKey.HALT, GroupKey.LIFT))
        return digest(Domain.CIRCLE, encode(_Transcripts(1, self._circle.digest, halt, lift)))

    def _invitation(self, sender: PublicKey, ask: Invite) -> str:
        n = len(ask.members)
        lines = [
            f"A NEW ROSTER of keyholders, of group epoch {ask.epoch}",
            f"  to halt        {ask.halt_threshold} of {n} sign",
            f"  to lift        {ask.lift_threshold} of {n} sign",
            f"  keyholders     {', '.join(h.name for h in self._circle.holders)}",
            f"  circle         {fingerprint(self._circle.digest)}",
            f"  asked by       {self._circle.holder(sender).name}",
            "  Say yes if these words are the same at every keyholder.",
        ]
        return "\n".join(lines)

    def _comparison(self, sender: PublicKey, c: _Ceremony, seen: Digest) -> str:
        lines = [
            f"THE KEYS of group epoch {c.invite.epoch}: nothing was dealt yet",
            f"  transcript     {fingerprint(seen)}",
            f"  asked by       {self._circle.holder(sender).name}",
            "  Say yes if these words are the same at every keyholder.",
        ]
        return "\n".join(lines)


def _terms(x: Invite | Hello) -> tuple[bytes, int, int, int]:
    return x.ceremony, x.epoch, x.halt_threshold, x.lift_threshold


def _in_turn(value: T | None) -> T:
    if value is None:
        raise Malformed("this step of the ceremony is out of turn; begin again")
    return value

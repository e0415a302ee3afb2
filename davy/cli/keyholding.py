"""What the keyholder's commands share: a keyholder's home, its process's parts, and an order on its way."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import anyio
import click
from anyio import to_thread
from anyio.streams.memory import MemoryObjectReceiveStream

from davy.cli.circles import circles_of
from davy.cli.options import password
from davy.host.clock import SystemClock
from davy.host.entropy import OsEntropy
from davy.host.home import Home
from davy.host.journal import FileJournal
from davy.host.keys import FileKeyStore
from davy.host.shares import FileShares
from davy.keyholders.circle import Circle, Holder
from davy.keyholders.desk import Desk, Matter
from davy.keyholders.founding import Founder
from davy.keyholders.keys import Holdings, Office, open_holdings
from davy.keyholders.mending import Mender
from davy.keyholders.server import Attendant
from davy.keyholders.signer import Signer
from davy.keyholders.standing import SteadyJournal
from davy.keyholders.succession import roster_in_office
from davy.keyholders.voice import MemberKeys, OwnVoice, RemoteVoice, Voice
from davy.killswitch.group import Identifier, identifier
from davy.network.http_client import HttpTransport
from davy.network.signed_client import SignedClient
from davy.protocol.errors import Misconfigured
from davy.protocol.genesis import chain_id
from davy.protocol.order import VerifiedOrder
from davy.protocol.roster import Roster, roster_digest
from davy.protocol.words import ChainId, KeyRole

F = TypeVar("F", bound=Callable[..., Any])

_MATTERS: Final = 1_024


class Roots(NamedTuple):
    """What every keyholder's command is given."""

    home: Home
    keys: FileKeyStore
    circles: tuple[Circle, ...]
    shares: FileShares
    journal: FileJournal


class Keyholder:
    """One keyholder on this machine, its own key unlocked.

    `circle` is of the roster in office, as far as it is known here; `circles` may have that of another one, which is to
    follow or has gone.
    """

    def __init__(self, roots: Roots) -> None:
        self.home, self.keys, self.circles = roots.home, roots.keys, roots.circles
        self.circle = self.circles[0]
        self.shares, self.journal = roots.shares, SteadyJournal(roots.journal)
        self.clock, self.entropy = SystemClock(), OsEntropy()
        self.key = self.keys.public(KeyRole.KEYHOLDER)
        self.own: Holder = self.circle.holder(self.key)
        self._opened: dict[Roster, tuple[bytes, Holdings]] = {}

    @classmethod
    def open(cls, root: Path) -> Keyholder:
        """Open a home for ceremonies.

        Raises
        ------
        NoSuchKey, WrongPassword, Misconfigured
        """
        home = Home.open(root)
        keys = FileKeyStore(home.keys)
        keys.public(KeyRole.KEYHOLDER)
        circles = circles_of(home)
        typed = password(KeyRole.KEYHOLDER)
        keys.unlock(KeyRole.KEYHOLDER, typed)
        shares = FileShares(home.shares, typed, OsEntropy(), cost=keys.cost(KeyRole.KEYHOLDER))
        return cls(Roots(home, keys, circles, shares, FileJournal(home.orders)))

    @classmethod
    def look(cls, root: Path) -> Keyholder:
        """Open a home without its password: to read what is not secret.

        Raises
        ------
        NoSuchKey, Misconfigured
        """
        home = Home.open(root)
        keys = FileKeyStore(home.keys)
        keys.public(KeyRole.KEYHOLDER)
        shares = FileShares(home.shares, "", OsEntropy())
        return cls(Roots(home, keys, circles_of(home), shares, FileJournal(home.orders)))

    async def roster(self) -> Roster:
        """The roster in office, as far as it is known here.

        Raises
        ------
        Misconfigured
            The home belongs to no chain yet, or to one without keyholders.
        """
        _, roster = await self.in_office()
        return roster

    async def in_office(self) -> tuple[ChainId, Roster]:
        """See `davy.keyholders.keys.Offices`."""
        if not self.home.has_genesis():
            raise Misconfigured(f"{self.home.root} belongs to no chain yet; give it one with `davy keyholder genesis`")
        genesis = self.home.genesis()
        return chain_id(genesis), roster_in_office(genesis, await self.journal.signed())

    async def office(self) -> Office:
        """The own one, with the shares as they are on the disk now.

        Raises
        ------
        Misconfigured
            The home belongs to no chain yet, or to one without keyholders; this one is none of them; there is no share.
        """
        roster = await self.roster()
        if self.key not in roster.members:
            raise Misconfigured(
                f"you are not among the keyholders of group epoch {roster.epoch}, who are in office: those sign now"
            )
        return await self.accession(roster)

    async def accession(self, roster: Roster) -> Office:
        """See `davy.keyholders.keys.Offices`."""
        raw = await self.shares.open(roster_digest(roster))
        if roster not in self._opened or self._opened[roster][0] != raw:
            self._opened[roster] = raw, open_holdings(raw, self.key)
        return Office(chain_id(self.home.genesis()), roster, self._opened[roster][1])

    def circle_for(self, roster: Roster) -> Circle:
        """The circle whose keyholders are a roster's.

        Raises
        ------
        Misconfigured
            It is not known here.
        """
        found = next((c for c in self.circles if c.keys == roster.members), None)
        if found is None:
            raise Misconfigured(
                f"the keyholders of group epoch {roster.epoch} are no circle that is known here; keep their lines with "
                "`davy keyholder circle FILE --next`"
            )
        return found

    def attendant(
        self, desk: Desk, finished: Callable[[VerifiedOrder], None] | None = None, *, circle: Circle | None = None
    ) -> Attendant:
        """Return this keyholder's part in the ceremonies of a circle; of that in office, if none is named."""
        circle = circle or self.circle
        signer = Signer(
            circle,
            self,
            desk=desk,
            journal=self.journal,
            clock=self.clock,
            entropy=self.entropy,
            names={h.key: h.name for c in self.circles for h in c.holders},
            finished=finished,
        )
        founder = Founder(circle, self.keys, desk=desk, vault=self.shares, clock=self.clock, entropy=self.entropy)
        mender = Mender(
            circle,
            self.keys,
            self.roster,
            desk=desk,
            vault=self.shares,
            clock=self.clock,
            entropy=self.entropy,
        )
        return Attendant(signer, founder, mender)

    @asynccontextmanager
    async def voices(
        self, attendant: Attendant, circle: Circle | None = None
    ) -> AsyncGenerator[dict[Identifier, Voice]]:
        """Everybody in a circle: this keyholder in this process, the others over the network."""
        circle = circle or self.circle
        async with HttpTransport(self.clock) as transport:
            client = SignedClient(MemberKeys(self.keys), circle.digest, transport, self.clock, self.entropy)
            yield {
                identifier(n): OwnVoice(h.name, h.key, attendant.answer)
                if h.key == self.key
                else RemoteVoice(h, client, self.clock)
                for n, h in enumerate(circle.holders, 1)
            }


def asked_desk(keyholder: Keyholder, yes_to: Collection[str] = ()) -> tuple[Desk, MemoryObjectReceiveStream[Matter]]:
    """Return a desk, and what arrives there for a person."""
    send, receive = anyio.create_memory_object_stream[Matter](_MATTERS)

    def arrived(matter: Matter) -> None:
        with suppress(anyio.WouldBlock):  # whoever slept through so many finds them with `davy keyholder pending`
            send.send_nowait(matter)

    return Desk(keyholder.clock, yes_to=yes_to, arrived=arrived), receive


async def ask_person(arriving: MemoryObjectReceiveStream[Matter], desk: Desk, interactive: bool) -> None:
    """Show what arrives; at a terminal, ask. Elsewhere `davy keyholder sign` answers."""
    async for matter in arriving:
        if matter not in desk.undecided():
            continue
        click.echo(f"\n{matter.screen}", err=True)
        if not interactive:
            click.echo(f"  `davy keyholder sign {matter.id.hex()[:16]}` or `… refuse …` answers.", err=True)
            continue
        yes = await to_thread.run_sync(_confirm, abandon_on_cancel=True)
        matter.decide(yes)


def _confirm() -> bool:
    return click.confirm("Yes?", default=False, err=True)

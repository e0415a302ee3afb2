"""Who is asked for an order's signature, and how: in this process, over the network, or by sheets in a folder."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import click

from davy.cli.carrying import hand_voices
from davy.cli.keyholding import Keyholder
from davy.keyholders.claims import Heed
from davy.keyholders.coordinator import Means, Party, Signed, Waits, gather, tell
from davy.keyholders.desk import Desk, Matter
from davy.keyholders.keys import Office
from davy.keyholders.messages import Consider, Rehearse, is_rehearsal, matter_id
from davy.keyholders.succession import Installing, install
from davy.keyholders.voice import Voice
from davy.killswitch.group import Identifier
from davy.protocol.errors import Misconfigured
from davy.protocol.limits import SIGNER_SKEW_MS
from davy.protocol.order import Install, OrderAction

GRACE_MS: Final = 60_000
"""By hand: how long shares that are being carried are waited for before others sign, too."""


class Meeting:
    """Those who are asked; opened by `meeting`."""

    def __init__(self, keyholder: Keyholder, parties: list[Party], by_hand: bool, patience_ms: int | None) -> None:
        self._means = Means(keyholder.clock, keyholder.entropy, tell_person)
        self._parties = parties
        # by hand an order is dated ahead, so that it can be signed for nearly twice as long
        longest = 2 * SIGNER_SKEW_MS if by_hand else SIGNER_SKEW_MS
        patience = longest if patience_ms is None else patience_ms
        self._waits = Waits(patience, patience, min(GRACE_MS, patience // 4)) if by_hand else Waits(patience)

    async def sign(self, proposal: Consider | Rehearse, *, heed: Heed) -> list[Signed]:
        """Have every signature made that the order needs, in its order; or rehearsed.

        Raises
        ------
        DavyError
            See `davy.keyholders.coordinator.gather`.
        """
        old, *new = self._parties
        if not new:
            return [await gather(old, proposal, self._means, self._waits, heed=heed)]
        what = Installing(proposal.order, proposal.reason, proposal.named, is_rehearsal(proposal))
        return await install(old, new[0], what, self._means, self._waits, heed=heed)

    async def tell(self, signed: bytes) -> None:
        """Tell all of them of the whole order."""
        async with anyio.create_task_group() as tasks:
            for party in self._parties:
                tasks.start_soon(tell, party.voices, signed)


@asynccontextmanager
async def meeting(
    keyholder: Keyholder,
    office: Office,
    action: OrderAction,
    proposal: Consider | Rehearse,
    by_hand: Path | None,
    patience_ms: int | None,
) -> AsyncGenerator[Meeting]:
    """Open the ways to everybody who signs: of the roster in office, and of the one that an INSTALL puts there.

    Parameters
    ----------
    patience_ms
        None: as long as the order can be signed.

    Raises
    ------
    Misconfigured
        The other roster's circle or shares are not here, or there is no empty folder for sheets.
    """
    own = matter_id(proposal)

    def arrived(matter: Matter) -> None:
        matter.decide(matter.id == own)  # the person has just said so

    desk = Desk(keyholder.clock, arrived=arrived)
    offices = [office]
    if isinstance(action, Install):
        offices.append(await keyholder.accession(action.roster))
    async with AsyncExitStack() as opened:
        parties = [
            Party(each, await opened.enter_async_context(_voices(keyholder, desk, each, folder)))
            for each, folder in zip(offices, _folders(by_hand, len(offices)), strict=True)
        ]
        yield Meeting(keyholder, parties, by_hand is not None, patience_ms)


def tell_person(name: str, what: str) -> None:
    click.echo(f"  {name}: {what}", err=True)


@asynccontextmanager
async def _voices(
    keyholder: Keyholder, desk: Desk, office: Office, by_hand: Path | None
) -> AsyncGenerator[Mapping[Identifier, Voice]]:
    circle = keyholder.circle_for(office.roster)
    attendant = keyholder.attendant(desk, circle=circle)
    if by_hand is not None:
        yield hand_voices(keyholder, circle, attendant, by_hand, tell_person, office)
        return
    async with keyholder.voices(attendant, circle) as voices:
        yield voices


def _folders(by_hand: Path | None, rosters: int) -> list[Path | None]:
    """One folder for the sheets of each roster: somebody may belong to both."""
    if by_hand is None or rosters == 1:
        return [by_hand] * rosters
    if not by_hand.is_dir() or any(by_hand.iterdir()):
        raise Misconfigured(f"{by_hand} is not an empty folder; make one for the sheets of this order")
    folders = [by_hand / "old", by_hand / "new"]
    for folder in folders:
        folder.mkdir()
    return list(folders)

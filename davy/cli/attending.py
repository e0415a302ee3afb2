"""A keyholder's process that waits for the others, and the one that brings them together for a roster."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import click

from davy.cli.carrying import hand_voices
from davy.cli.gathering import tell_person
from davy.cli.keyholding import Keyholder, ask_person, asked_desk
from davy.cli.options import at_terminal
from davy.cli.ordering import Rooms, learn, network_there, routes, source_of
from davy.cli.output import show
from davy.host.files import write_new
from davy.host.journal import FileJournal
from davy.host.store import SqliteStore
from davy.keyholders import control
from davy.keyholders.again import Again
from davy.keyholders.assembly import found
from davy.keyholders.by_hand import answer_sheet
from davy.keyholders.circle import Circle, fingerprint
from davy.keyholders.listening import keep_remembering
from davy.keyholders.release import Book, release_by_all, told_lines
from davy.keyholders.server import Door
from davy.keyholders.voice import Voice
from davy.killswitch.group import Identifier
from davy.network.certificate import CertificateFiles
from davy.network.http_server import serve
from davy.protocol.encoding import encode
from davy.protocol.genesis import chain_id
from davy.protocol.order import VerifiedOrder
from davy.protocol.roster import Roster, roster_digest

_SHEETS: Final = 64
"""The last that were answered."""


async def attend(
    keyholder: Keyholder,
    yes_to: tuple[str, ...],
    book: Book,
    network: Path,
    host: str,
    port: int,
    as_json: bool,
) -> None:
    desk, arriving = asked_desk(keyholder, yes_to)
    again = Again(partial(_release_again, keyholder, book, network, Rooms()))
    attendants = [(c, keyholder.attendant(desk, again.put, circle=c)) for c in keyholder.circles]
    store = SqliteStore(keyholder.home.store)
    try:
        door = Door(attendants, keyholder.key, keyholder.clock, store)
        await door.open()

        answered: dict[str, str] = {}

        async def carried(sheet: str) -> str | None:
            # Whoever comes back with the same sheet lost what it was given.
            if sheet not in answered and (back := await answer_sheet(sheet, attendants, keyholder.keys)) is not None:
                answered[sheet] = back
                if len(answered) > _SHEETS:
                    del answered[next(iter(answered))]
            return answered.get(sheet)

        certificate = CertificateFiles(keyholder.home.tls.certificate, keyholder.home.tls.key)
        async with (
            serve(door, host, port or keyholder.own.endpoint.port, certificate) as listens,
            control.controlled(keyholder.home.control, desk, keyholder.circles, carried),
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(again.run)
            if keyholder.home.has_genesis():
                tasks.start_soon(learn, keyholder, book, network)
                tasks.start_soon(_keep_remembering, keyholder, network)
            said = {"name": keyholder.own.name, "listens": f"{host}:{listens}"}
            show(said, as_json=True) if as_json else click.echo(f"{said['name']} listens at {said['listens']}")
            await ask_person(arriving, desk, at_terminal())
    finally:
        store.close()


async def _release_again(keyholder: Keyholder, book: Book, network: Path, rooms: Rooms, order: VerifiedOrder) -> None:
    """Release what another keyholder coordinated, once more from here."""
    async with routes(keyholder, book, network, rooms=rooms) as every:
        deliveries = await release_by_all(every, order)
    for line in told_lines(deliveries):
        click.echo(f"order {order.id.hex()[:16]}, {line}", err=True)


async def _keep_remembering(keyholder: Keyholder, network: Path) -> None:
    if (source := source_of(network_there(network))) is not None:
        memory, chain = FileJournal(keyholder.home.orders), chain_id(keyholder.home.genesis())
        await keep_remembering(source, memory, chain, keyholder.clock, keyholder.entropy)


async def assemble(
    keyholder: Keyholder,
    circle: Circle,
    yes: bool,
    terms: tuple[int | None, int, int],
    patience: int,
    by_hand: Path | None,
    out: Path,
    as_json: bool,
) -> None:
    given, halt_threshold, lift_threshold = terms
    epoch = await _next_epoch(keyholder) if given is None else given
    desk, arriving = asked_desk(keyholder, ("dkg",) if yes else ())
    attendant = keyholder.attendant(desk, circle=circle)
    roster: Roster | None = None
    async with AsyncExitStack() as opened:
        voices: dict[Identifier, Voice]
        if by_hand is not None:
            voices = hand_voices(keyholder, circle, attendant, by_hand, tell_person)
        else:
            voices = await opened.enter_async_context(keyholder.voices(attendant, circle))
        tasks = await opened.enter_async_context(anyio.create_task_group())
        tasks.start_soon(ask_person, arriving, desk, True)
        roster = await found(
            circle,
            {v.key: v for v in voices.values()},
            epoch=epoch,
            halt_threshold=halt_threshold,
            lift_threshold=lift_threshold,
            clock=keyholder.clock,
            entropy=keyholder.entropy,
            told=tell_person,
            patience_ms=patience,
        )
        tasks.cancel_scope.cancel()
    assert roster is not None  # noqa: S101
    write_new(out, encode(roster))
    digest = roster_digest(roster)
    value = {
        "roster": digest.hex(),
        "fingerprint": fingerprint(digest),
        "halt": f"{halt_threshold} of {len(roster.members)}: {roster.halt.hex()}",
        "lift": f"{lift_threshold} of {len(roster.members)}: {roster.lift.hex()}",
        "file": str(out),
    }
    show(value, as_json=as_json)


async def _next_epoch(keyholder: Keyholder) -> int:
    return (await keyholder.roster()).epoch + 1 if keyholder.home.has_genesis() else 0

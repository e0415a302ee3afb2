"""Sheets in a folder: written for each keyholder, and waited for until somebody brings the answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import click

from davy.cli.keyholding import Keyholder
from davy.host.files import read_bounded, write_over
from davy.keyholders.by_hand import HandVoice
from davy.keyholders.circle import Circle
from davy.keyholders.keys import Office, generation_id
from davy.keyholders.server import Attendant
from davy.keyholders.sheets import MAX_SHEET_CHARS
from davy.keyholders.voice import OwnVoice, Voice
from davy.killswitch.group import Identifier, identifier
from davy.protocol.errors import Misconfigured

F = TypeVar("F", bound=Callable[..., Any])

_LOOK_S: Final = 0.3


def by_hand_option(function: F) -> F:
    """``--by-hand FOLDER``."""
    return click.option(
        "--by-hand",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Without a network: ask by sheets in this empty folder.",
    )(function)


class Folder:
    """The post of one order: ``to-NAME-N.txt`` goes out, ``from-NAME-N.txt`` comes back."""

    def __init__(self, folder: Path, told: Callable[[str, str], None]) -> None:
        self._folder, self._told = folder, told
        self._sent: dict[str, list[str]] = {}
        self._taken: dict[str, str] = {}

    async def carry(self, name: str, sheet: str) -> str:
        """Write a sheet, once, and wait for its answer; for another one if the last was refused."""
        sent = self._sent.setdefault(name, [])
        if not sent or sent[-1] != sheet:
            sent.append(sheet)
            self._taken.pop(name, None)
            write_over(self._folder / f"to-{name}-{len(sent)}.txt", sheet.encode())
            self._told(
                name, f"carry to-{name}-{len(sent)}.txt there, and what comes back as from-{name}-{len(sent)}.txt"
            )
        path = self._folder / f"from-{name}-{len(sent)}.txt"
        while True:
            back = _read(path)
            if back and back != self._taken.get(name):
                self._taken[name] = back
                return back
            await anyio.sleep(_LOOK_S)


def hand_voices(
    keyholder: Keyholder,
    circle: Circle,
    attendant: Attendant,
    folder: Path,
    told: Callable[[str, str], None],
    office: Office | None = None,
) -> dict[Identifier, Voice]:
    """Everybody in a circle: this keyholder in this process, the others by sheets.

    Parameters
    ----------
    office
        Whose shares sign; None where nothing is signed.

    Raises
    ------
    Misconfigured
        There is no such folder, or it is not empty.
    """
    if not folder.is_dir() or any(folder.iterdir()):
        raise Misconfigured(f"{folder} is not an empty folder; make one for these sheets")
    post = Folder(folder, told)
    generation = bytes(32) if office is None else generation_id(office.keys.generation)
    return {
        identifier(n): OwnVoice(h.name, h.key, attendant.answer)
        if h.key == keyholder.key
        else HandVoice(h, circle, keyholder.keys, post, keyholder.entropy, generation, told)
        for n, h in enumerate(circle.holders, 1)
    }


def _read(path: Path) -> str:
    if not path.exists():
        return ""
    try:
        return read_bounded(path, MAX_SHEET_CHARS).decode(errors="replace")
    except Misconfigured as e:
        return str(e)  # not a sheet, which is told; whoever brings another one is heard

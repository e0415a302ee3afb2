"""The circles that a keyholder's home keeps: that of the roster in office, and perhaps those who are to follow."""

from __future__ import annotations

from pathlib import Path

from davy.host.files import read_bounded
from davy.host.home import Home
from davy.host.journal import FileJournal
from davy.keyholders.circle import MAX_CIRCLE_FILE_BYTES, Circle, read_circle
from davy.keyholders.succession import roster_in_office
from davy.protocol.errors import Malformed, Misconfigured


def circles_of(home: Home) -> tuple[Circle, ...]:
    """Return the circles that a home keeps, that of the roster in office first.

    Raises
    ------
    Misconfigured
        It keeps none.
    """
    if not home.circle.exists():
        raise Misconfigured(f"{home.root} knows no other keyholders; give it their lines: `davy keyholder circle FILE`")
    kept = [read_circle_file(path) for path in (home.circle, home.next_circle) if path.exists()]
    if len(kept) > 1 and home.has_genesis():
        roster = roster_in_office(home.genesis(), FileJournal(home.orders).whole())
        kept.sort(key=lambda circle: circle.keys != roster.members)
    return tuple(kept)


def read_circle_file(path: Path) -> Circle:
    """Read a file of keyholders' lines.

    Raises
    ------
    Misconfigured
    """
    try:
        return read_circle(read_bounded(path, MAX_CIRCLE_FILE_BYTES).decode("utf-8-sig"))
    except (Malformed, UnicodeDecodeError) as e:
        raise Misconfigured(f"{path} is not a circle: {e}") from None

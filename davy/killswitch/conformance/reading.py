"""Taking a decoded JSON file apart: hexadecimal bytes, identifiers, and members that must be there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from typing import Any, Final, cast

from davy.killswitch.conformance.report import Report
from davy.killswitch.group import Identifier, identifier, named, nonzero
from davy.protocol.errors import Malformed


class BadFile(Malformed):
    """A file that cannot be read, or does not follow its format; what it says may be right or wrong."""


_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})*")
_FORMATS: Final = "the formats are described in tests/vectors/frost/README.md"


def member(record: Any, *names: str) -> Any:
    """The first of these members that a decoded JSON object has.

    Raises
    ------
    BadFile
        It has none of them, or is no object.
    """
    for name in names:
        if isinstance(record, dict) and name in record:
            return cast("dict[str, Any]", record)[name]
    raise BadFile(f"the file lacks {' or '.join(names)}: {_FORMATS}")


def rows(record: Any, *names: str) -> list[Any]:
    """A member that is a list of at least one.

    Raises
    ------
    BadFile
    """
    found = member(record, *names)
    if not isinstance(found, list) or not found:
        raise BadFile(f"{names[0]} is to be a list that is not empty: {_FORMATS}")
    return cast("list[Any]", found)


def octets(record: Any, *names: str) -> bytes:
    """A member in hexadecimal.

    Raises
    ------
    BadFile
    """
    return from_hex(member(record, *names), names[0])


def from_hex(text: Any, what: str) -> bytes:
    """Decode pairs of hexadecimal digits.

    Raises
    ------
    BadFile
    """
    if not isinstance(text, str) or not _HEX.fullmatch(text):  # fromhex alone would take blanks
        raise BadFile(f"{what} is to be hexadecimal: {_FORMATS}")
    return bytes.fromhex(text)


def count(record: Any, *names: str) -> int:
    """A number, which some files write as text.

    Raises
    ------
    BadFile
    """
    found = member(record, *names)
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 10:
        return int(found)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 2**32:
        raise BadFile(f"{names[0]} is to be a number: {_FORMATS}")
    return found


def member_of(value: Any) -> Identifier:
    """An identifier as a number, or as a scalar of 32 bytes in hexadecimal.

    Raises
    ------
    BadFile
    Malformed
        Zero, or not below L.
    """
    if isinstance(value, str) and len(value) == 64:
        return nonzero(from_hex(value, "an identifier"), "an identifier")
    return identifier(count({"identifier": value}, "identifier"))


def by_member(found: list[Any]) -> dict[Identifier, Any]:
    """Rows by their `identifier`.

    Raises
    ------
    BadFile
    Malformed
        One stands there twice.
    """
    members = [member_of(member(row, "identifier")) for row in found]
    if twice := [i for i, times in Counter(members).items() if times > 1]:
        raise Malformed(f"{named(twice)} stands there twice; one of them would not be compared")
    return dict(zip(members, found, strict=True))


def note_others(record: dict[str, Any], known: Collection[str], report: Report) -> None:
    """Note what no check looks at, so that nobody thinks that it was looked at."""
    report.unread += [name for name in record if name not in known and not name.endswith("postcard")]


def check_group(config: Any) -> None:
    """Where a file names its group, that must be Ed25519's.

    Raises
    ------
    BadFile
    """
    group = cast("dict[str, Any]", config).get("group", "ed25519") if isinstance(config, dict) else config
    if group != "ed25519":
        raise BadFile(f"its group is {ascii(group)[:40]}; only ed25519 is compared here")

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
_HASH: Final = re.compile("sha|blake|keccak", re.IGNORECASE)
_SHA512: Final = re.compile("sha[-_ ]?512", re.IGNORECASE)
_SUITE: Final = "FROST(Ed25519, SHA-512)"
_FORMATS: Final = "the formats are described in tests/vectors/frost/README.md"


def member(record: Any, *names: str) -> Any:
    """The first of these members that a decoded JSON object has.

    Raises
    ------
    BadFile
        It has none of them, or is no object.
    """
    return record[spelt(record, *names)]


def spelt(record: Any, *names: str) -> str:
    """The name of that member: of several spellings in one object the others are not read.

    Raises
    ------
    BadFile
    """
    for name in names:
        if isinstance(record, dict) and name in record:
            return name
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


def note_others(record: Any, known: Collection[str], report: Report, *, forms: bool = False) -> None:
    """Note what no check looks at, so that nobody thinks that it was looked at.

    Parameters
    ----------
    forms
        The crate's forms on the wire are compared in this object.
    """
    found = cast("dict[str, Any]", record) if isinstance(record, dict) else {}
    report.unread += [name for name in found if name not in known and not (forms and is_form(name))]


def is_form(name: str) -> bool:
    """Whether a member of this name is the crate's own form on the wire of what stands beside it."""
    return name == "postcard" or name.endswith("_postcard")


def check_config(config: Any, numbers: Collection[str], report: Report) -> None:
    """Where a file names its group or its hash, those must be Ed25519's; note what else it says beside its numbers.

    Raises
    ------
    BadFile
    """
    said = cast("dict[str, Any]", config) if isinstance(config, dict) else {"group": config}
    group, hashed = said.get("group", "ed25519"), said.get("hash")
    if group != "ed25519":
        raise BadFile(f"its group is {ascii(group)[:40]}; only ed25519 is compared here")
    known = {*numbers, "group"}
    if isinstance(hashed, str) and _HASH.match(hashed):
        if not _SHA512.fullmatch(hashed):
            raise BadFile(f"its hash is {ascii(hashed)[:40]}; only SHA-512 is compared here")
        known.add("hash")
    if said.get("name") == _SUITE:
        known.add("name")
    note_others(said, known, report)

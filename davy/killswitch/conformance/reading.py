"""Taking a decoded JSON file apart: hexadecimal bytes, identifiers, and members that must be there."""

from __future__ import annotations

from typing import Any, cast

from davy.killswitch.group import Identifier, identifier
from davy.protocol.errors import Malformed


class BadFile(Malformed):
    """A file that cannot be read, or does not follow its format; what it says may be right or wrong."""


_FORMATS = "the formats are described in tests/vectors/frost/README.md"


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
    try:
        # fromhex alone would take blanks
        if not isinstance(text, str) or text.strip() != text or " " in text:
            raise ValueError
        return bytes.fromhex(text)
    except ValueError:
        raise BadFile(f"{what} is to be hexadecimal: {_FORMATS}") from None


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
    """
    if isinstance(value, str) and len(value) == 64:
        return from_hex(value, "an identifier")
    return identifier(count({"identifier": value}, "identifier"))

"""The error tree. Every message is one sentence for the person who sees it, and says what to do next.

::

    DavyError
     ├─ Refused                what came from outside is not acceptable; nothing was changed
     │   ├─ Malformed          bytes that are not the one encoding of a value within its bounds
     │   ├─ TooLarge           more bytes, items or time than the limit
     │   ├─ BadSignature       missing, empty, foreign or wrong
     │   ├─ Misdirected        for another chain, recipient or domain
     │   ├─ Expired            outside its window of time
     │   ├─ Replayed           seen before, or not provably new (`retry_fresh`)
     │   ├─ Unauthorised       a known caller who may not do this
     │   ├─ UnknownRoster      signed for keyholders that this node has not heard of; pull the INSTALLs first
     │   ├─ Busy               admission control said no; may be retried
     │   ├─ Misbehaved         members of a ceremony sent what no honest one sends; `culprits` names them
     │   └─ BadAnswer          a miner's answer that its task cannot read
     ├─ TxFailed               a transaction the ledger took and turned down: `code`, deterministic
     ├─ ModelHalted            a valid order stops this; carries the order, never retried
     ├─ Unreachable            nobody answered in time
     ├─ NotEnabled             the place is kept, the function is not there yet
     └─ Misconfigured          this machine: keys, files, folders, ports, passwords
         ├─ WrongPassword
         ├─ NoSuchKey
         └─ StoreFailed        the disk did not take it; nothing may be acknowledged
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class DavyError(Exception):
    """Root of all errors that davy raises on purpose."""


class Refused(DavyError):
    """What came from outside is not acceptable; nothing was changed."""


class Malformed(Refused):
    """Bytes that are not the one encoding of a value within its bounds."""


class TooLarge(Refused):
    """More bytes, items or time than the limit."""


class BadSignature(Refused):
    """A signature that is missing, empty, foreign or wrong."""


class Misdirected(Refused):
    """Meant for another chain, recipient or domain."""


class Expired(Refused):
    """Outside its window of time."""


class Replayed(Refused):
    """Seen before, or not provably new: sign a fresh one and retry."""


class Unauthorised(Refused):
    """A known caller who may not do this."""


class UnknownRoster(Refused):
    """Signed for keyholders that this node has not heard of: pull the INSTALLs before it, then try again."""


class Busy(Refused):
    """Admission control said no; may be retried."""


class Misbehaved(Refused):
    """Members of a ceremony sent what no honest one sends.

    Parameters
    ----------
    culprits
        Their identifiers. The others can begin again without them.
    """

    def __init__(self, message: str, culprits: Sequence[bytes]) -> None:
        super().__init__(message)
        self.culprits = tuple(culprits)


class BadAnswer(Refused):
    """A miner's answer that its task cannot read."""


class TxCode(IntEnum):
    """Deterministic result of a transaction; the numbers are part of consensus and are never reused."""

    OK = 0
    MALFORMED = 1
    BAD_SIGNATURE = 2
    WRONG_CHAIN = 3
    WRONG_NONCE = 4
    INSUFFICIENT = 5
    NOT_FOUND = 6
    NOT_OWNER = 7
    EXISTS = 8
    OUT_OF_RANGE = 9
    WRONG_TIME = 10
    NO_PERMIT = 11
    MISMATCH = 12
    FULL = 13
    HALTED = 14
    NOT_ENABLED = 15
    TOO_EXPENSIVE = 16
    BARRED = 17
    INTERNAL = 99


class TxFailed(DavyError):
    """A transaction the ledger turned down.

    Parameters
    ----------
    code
        The deterministic reason.
    message
        One sentence that says what to do next; not part of consensus.
    """

    def __init__(self, code: TxCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class ModelHalted(DavyError):
    """A valid order stops this.

    Parameters
    ----------
    order
        The signed order's canonical bytes, which anyone can verify; empty for a node that is only not fresh.
    """

    def __init__(self, message: str, order: bytes = b"") -> None:
        super().__init__(message)
        self.order = order


class Unreachable(DavyError):
    """Nobody answered in time."""


class NotEnabled(DavyError):
    """The place is kept, the function is not there yet."""


class Misconfigured(DavyError):
    """What is wrong is on our own machine: keys, files, folders, ports or passwords."""


class WrongPassword(Misconfigured):
    """The password does not open the key file."""


class NoSuchKey(Misconfigured):
    """There is no key of that role in the home."""


class StoreFailed(Misconfigured):
    """The disk did not take it; nothing may be acknowledged."""


def said_by(e: BaseException) -> str:
    """Tell in one line what an operator's own code raised, an exit included."""
    if isinstance(e, SystemExit):
        return "it ends the process (sys.exit)"
    return " ".join(f"{type(e).__name__}: {e}".split())[:200]

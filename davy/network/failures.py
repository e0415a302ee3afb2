"""Why a connection failed, in words for the person who reads them: no library's class, no number of an errno.

And others' words, as far as they may be shown.
"""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Final, cast

_MOST_LETTERS: Final = 500
_WORDS: Final = {
    errno.ECONNREFUSED: "nothing listens there",
    errno.EHOSTUNREACH: "there is no way to that address",
    errno.ENETUNREACH: "there is no way to that address",
    errno.EINVAL: "that is not an address of a node",
    errno.EADDRNOTAVAIL: "that is not an address of a node",
    errno.EMFILE: "too many files are open on this machine",
}


def told(e: BaseException) -> str:
    """Say in a few words why a connection failed; they stand between brackets in a sentence."""
    match e:
        case TimeoutError():
            return "no answer in time"
        case socket.gaierror():
            return "there is no host of that name"
        case UnicodeError():
            return "that is not an address of a node"
        case ssl.SSLError():
            return "no TLS connection came about"
        case OSError() if e.errno in _WORDS:
            return _WORDS[e.errno]
        case OSError() if e.errno is None and e.__cause__ is not None:  # anyio's, of one address or of several
            return told(_first(e.__cause__))
        case ValueError():
            return "what answers there speaks another protocol"
        case _:
            return "the connection broke off"


def printable(text: str) -> str:
    """Another's words for a terminal or a log, 500 letters at most: what moves a cursor or begins a line is a space."""
    return "".join(c if c.isprintable() else " " for c in text[:_MOST_LETTERS])


def _first(e: BaseException) -> BaseException:
    return cast("BaseExceptionGroup[BaseException]", e).exceptions[0] if isinstance(e, BaseExceptionGroup) else e

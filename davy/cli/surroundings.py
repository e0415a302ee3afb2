"""What the machine gives a process to begin with: its three streams, and places that it may use or not."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Final

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED: Final = {errno.EACCES, errno.EPERM, errno.EROFS}


def take_streams() -> None:
    """Make the three streams fit to be used, whatever the process was started with.

    One that was closed is opened on nothing: otherwise the next file or socket would get its number. What is written to
    a closed output fails, so that nobody takes an answer for given. A terminal whose encoding lacks a sign shows
    another one.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # gets the lowest number that is free, which is this one
    # Python leaves out a stream that was closed, whatever its type says.
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() not in {"utf-8", "utf8"}:
            stream.reconfigure(errors="replace")


def leave_output() -> None:
    """Let go of what standard output did not take: Python would try once more at its end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def place_of(e: OSError) -> str:
    """Name what this machine does not let us do, and what to do about it."""
    where, what = str(e.filename or "the answer's way out")[:60], (e.strerror or str(e)).lower()[:100]
    advice = "name another place, or make room"
    if e.errno in _FULL:
        advice = "make room, or name another place"
    elif e.errno in _CLOSED:
        advice = "let this user in, or name another place"
    elif e.errno == errno.EBADF and e.filename is None:
        advice = "open standard output"
    elif e.errno == errno.ENOENT and e.filename is None:
        where, advice = "the folder that you are in", "go to another one"
    return f"{where}: {what}; {advice}"

"""Ports that are known before anybody listens there, and that stay free until then."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def free_ports(count: int) -> list[int]:
    """Below 32,768, where Linux begins to give ports to whoever asks for any: whatever else runs takes none of these.

    Each process looks from another one on.
    """
    found: list[int] = []
    first = os.getpid() * 101
    for port in (10_000 + n % 22_000 for n in range(first, first + 22_000)):
        if len(found) == count:
            break
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
    return found

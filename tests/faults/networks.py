"""Networks for producers: each in a namespace of its own with one wire to a bridge, which is pulled to cut it off.

Linux only, as root, with `ip` of iproute2; `available` says whether it works here.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import Self


def available() -> bool:
    """Whether this machine lets us make a namespace."""
    name = f"davy-{os.getpid()}-try"
    try:
        _ip("netns", "add", name)
        _ip("netns", "delete", name)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


class Networks:
    """Of so many producers; hosts are numbered from 1. Everything it made is gone after `with`."""

    def __init__(self, count: int) -> None:
        self._tag = f"dv{os.getpid() % 100_000}"
        self._subnet = f"10.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
        self._count = count

    def __enter__(self) -> Self:
        try:
            for bridge, address in ((f"{self._tag}a", f"{self._subnet}.254/24"), (f"{self._tag}b", "")):
                _ip("link", "add", bridge, "type", "bridge")
                if address:
                    _ip("address", "add", address, "dev", bridge)
                _ip("link", "set", bridge, "up")
            for n in range(1, self._count + 1):
                self._add(n)
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.remove()

    def host(self, n: int) -> str:
        return f"{self._subnet}.{n}"

    def within(self, n: int) -> list[str]:
        """What stands before a command that is to run there."""
        return ["ip", "netns", "exec", self._name(n)]

    def move(self, numbers: Sequence[int], side: str) -> None:
        """Plug wires into bridge "a", where the client is too, or into "b", from where nothing leads there."""
        for n in numbers:
            _ip("link", "set", self._wire(n), "master", f"{self._tag}{side}")

    def remove(self) -> None:
        """Remove what is there."""
        for n in range(1, self._count + 1):
            _ip("netns", "delete", self._name(n), check=False)
            _ip("link", "delete", self._wire(n), check=False)
        for side in "ab":
            _ip("link", "delete", f"{self._tag}{side}", check=False)

    def _add(self, n: int) -> None:
        name, wire = self._name(n), self._wire(n)
        _ip("netns", "add", name)
        _ip("link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", wire, "master", f"{self._tag}a")
        _ip("link", "set", wire, "up")
        for words in (("address", "add", f"{self.host(n)}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
            _ip("-n", name, *words)
        _ip("-n", name, "link", "set", "lo", "up")

    def _name(self, n: int) -> str:
        return f"{self._tag}n{n}"

    def _wire(self, n: int) -> str:
        return f"{self._tag}w{n}"


def _ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=True, timeout=60)

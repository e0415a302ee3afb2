"""In-memory twins of davy.protocol.ports, for tests: same contracts, no machine behind them."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import anyio
from nacl import bindings

from davy.protocol.errors import NoSuchKey, StoreFailed
from davy.protocol.signing import Domain, prefix
from davy.protocol.words import KeyRole


class SetClock:
    """Stands still until a test sets `time`."""

    def __init__(self, time: int = 1_800_000_000_000) -> None:
        self.time = time

    def now(self) -> int:
        return self.time

    async def sleep_until(self, t: int) -> None:
        await anyio.lowlevel.checkpoint()
        self.time = max(self.time, t)


class LoopClock:
    """Runs at the pace of the event loop: real on asyncio, virtual under trio's MockClock."""

    def __init__(self, start: int = 1_800_000_000_000) -> None:
        self._start = start

    def now(self) -> int:
        return self._start + int(anyio.current_time() * 1000)

    async def sleep_until(self, t: int) -> None:
        await anyio.sleep(max(0, t - self.now()) / 1000)


class WallClock(LoopClock):
    """The machine's own time."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000


class SeededEntropy:
    """Bytes from a seed."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(seed)

    def bytes(self, n: int) -> bytes:
        return self._rng.randbytes(n)


class MemoryStore:
    """What a disk would hold. `full` makes every put fail; `copy()` is what a restarted process finds."""

    def __init__(self, values: dict[bytes, bytes] | None = None) -> None:
        self.values = dict(values or {})
        self.full = False
        self.puts = 0

    async def put(self, key: bytes, value: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        if self.full:
            raise StoreFailed("the disk is full; free some space")
        self.puts += 1
        self.values[key] = value

    async def get(self, key: bytes) -> bytes | None:
        await anyio.lowlevel.checkpoint()
        return self.values.get(key)

    def copy(self) -> MemoryStore:
        return MemoryStore(self.values)


class SeededKeys:
    """Keys from a seed: the same seed is the same node."""

    def __init__(self, seed: int, roles: Sequence[KeyRole] = tuple(KeyRole)) -> None:
        rng = random.Random(seed)
        self._pairs = {role: bindings.crypto_sign_seed_keypair(rng.randbytes(32)) for role in roles}

    def public(self, role: KeyRole) -> bytes:
        return self._pair(role)[0]

    def sign(self, role: KeyRole, domain: Domain, body: bytes) -> bytes:
        return bindings.crypto_sign(prefix(domain) + body, self._pair(role)[1])[:64]

    def sign_raw(self, role: KeyRole, message: bytes) -> bytes:
        assert message.startswith(b'"@method"'), "only a signature base is signed without a domain"
        return bindings.crypto_sign(message, self._pair(role)[1])[:64]

    def _pair(self, role: KeyRole) -> tuple[bytes, bytes]:
        if role not in self._pairs:
            raise NoSuchKey(f"there is no {role} key; make one with davy key new")
        return self._pairs[role]

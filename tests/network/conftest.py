"""What the tests of this room share: two nodes with keys from a seed, a way to sign, and both event loops."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

# tests/twins is no test: importlib mode, rightly, makes nothing importable by accident
sys.path.insert(0, str(Path(__file__).parents[2]))

from davy.network.signed import sign_request
from davy.protocol.ports import Response, SignedRequest, StreamReply
from davy.protocol.receipt import EMPTY_BRAKE_HEAD, Anchor
from davy.protocol.words import KeyRole
from tests.twins import SeededEntropy, SeededKeys, SetClock

CHAIN = bytes(range(32))
ANCHOR = Anchor(41, bytes(31) + b"\x07")


Handle = Callable[[SignedRequest], Awaitable[Response | StreamReply]]


class Answering:
    """A handler from a function."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    async def handle(self, request: SignedRequest) -> Response | StreamReply:
        return await self._handle(request)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def caller() -> SeededKeys:
    return SeededKeys(1)


@pytest.fixture
def miner() -> SeededKeys:
    return SeededKeys(2)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


Sign = Callable[..., SignedRequest]


@pytest.fixture
def sign(caller: SeededKeys, miner: SeededKeys, clock: SetClock) -> Sign:
    """Sign a good request of the caller to the miner; any argument of `sign_request` may be replaced."""
    entropy = SeededEntropy(3)

    def signed(**changes: object) -> SignedRequest:
        keys = changes.pop("keys", caller)
        given = {
            "method": "POST",
            "path": "/v1/completions",
            "body": b'{"model":"m","prompt":"p"}',
            "recipient": miner.public(KeyRole.HOTKEY),
            "chain": CHAIN,
            "anchor": ANCHOR,
            "brake_head": EMPTY_BRAKE_HEAD,
            "created": clock.now(),
            "nonce": entropy.bytes(16),
        }
        return sign_request(keys, **(given | changes))  # pyright: ignore[reportArgumentType]

    return signed

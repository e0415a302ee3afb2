"""What the front door asks of the driver behind it: the same of the embedded engine and of an app under CometBFT."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import msgspec

from davy.ledger.driver.blockstore import BlockStore
from davy.ledger.driver.news import News
from davy.ledger.driver.subscribers import Subscriber
from davy.ledger.headers import Authority
from davy.ledger.rules.machine import Verdict
from davy.protocol.chain import Head, Proof
from davy.protocol.genesis import Genesis
from davy.protocol.words import ChainId, Height, PublicKey


class Proved(NamedTuple):
    """A value of the state after `height` (None: absent) and its proof; header `height` + 1 holds the app hash."""

    height: int
    value: bytes | None
    proof: Proof


class Node(Protocol):
    """One ledger process. `head` is the newest block that everybody may be told of."""

    genesis: Genesis
    chain: ChainId
    public: PublicKey
    """Its producer key."""
    store: BlockStore
    head: Head
    authority: Authority
    """Whose headers are those of its blocks."""
    engine: str
    """What makes its blocks, in a word."""

    def succession(self, after: Height) -> list[bytes]:
        """Changes of the producers (`davy.protocol.chain.Succession`) that hold from after a height on: one page."""
        ...

    async def relay(self, method: str, params: Mapping[str, str]) -> msgspec.Raw:
        """Answer a question as the engine does, in its JSON.

        Raises
        ------
        Refused, Unreachable
        """
        ...

    async def hand_in(self, raw: bytes) -> Verdict:
        """Check a transaction at the door and let it wait for a block.

        Raises
        ------
        Replayed
            It waits already.
        Busy
            No room.
        """
        ...

    async def query(self, path: str, data: bytes) -> tuple[int, bytes]:
        """Answer from the newest durable state: (height, canonical bytes).

        Raises
        ------
        TxFailed, Malformed
            See `davy.ledger.rules.machine.Machine.query`.
        """
        ...

    async def prove(self, key: bytes) -> Proved:
        """Prove what the newest durable state holds at a key."""
        ...

    def news(self, height: Height) -> News | None:
        """What a block changed; None where that is no longer kept."""
        ...

    def waiting(self) -> tuple[int, int]:
        """How many transactions wait, and their bytes."""
        ...

    def subscribed(self, address: str = "") -> AbstractContextManager[Subscriber]:
        """Hear of every height from now on.

        Raises
        ------
        Busy
            Too many listen already.
        """
        ...

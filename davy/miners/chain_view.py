"""What a miner knows of the chain: the newest block it has verified, and whether a caller's anchor can be answered.

A receipt copies the anchor, so that an answer is provably no older than that block. A miner that signed an anchor it
cannot have known would sign a lie; one that refused every anchor would serve nobody.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from davy.protocol.chain import Head
from davy.protocol.errors import Busy, Misdirected
from davy.protocol.receipt import Anchor
from davy.protocol.words import Height, UnixMillis

REMEMBERED: Final = 1_024
"""Block hashes kept to compare anchors with."""


class ChainView:
    """The verified end of the chain.

    Parameters
    ----------
    slack
        Blocks that an anchor may be ahead of the newest verified one: `ChainParameters.anchor_slack`.
    outage_ms
        So long after the last sign of the ledger is still served.
    """

    def __init__(self, slack: int, outage_ms: int) -> None:
        self._slack = slack
        self._outage_ms = outage_ms
        self._hashes: OrderedDict[Height, bytes] = OrderedDict()
        self._seen_at: UnixMillis = 0
        self.head: Head | None = None

    def see(self, head: Head, now: UnixMillis) -> None:
        """Take the next verified head; one that is not above the last is only a sign of life."""
        self._seen_at = now
        if self.head is not None and head.height <= self.head.height:
            return
        self.head = head
        self._hashes[head.height] = head.hash
        while len(self._hashes) > REMEMBERED:
            self._hashes.popitem(last=False)

    def anchor(self, now: UnixMillis) -> Anchor:
        """Return the newest block as an anchor.

        Raises
        ------
        Busy
            There is none, or the ledger was not heard of for too long.
        """
        if self.head is None:
            raise Busy("this miner has not seen the ledger yet; ask again in a moment")
        if now - self._seen_at > self._outage_ms:
            raise Busy("this miner lost the ledger and no longer answers; ask another one")
        return Anchor(self.head.height, self.head.hash)

    def check(self, anchor: Anchor, now: UnixMillis) -> None:
        """Accept a caller's anchor: at most `slack` above our own head, and not of another chain.

        Raises
        ------
        Busy
            As `anchor`; or it is above what this miner has verified: it may be right, and we are behind.
        Misdirected
            At its height we know another block.
        """
        own = self.anchor(now)
        if anchor.height > own.height + self._slack:
            raise Busy(
                f"the anchor's height {anchor.height} is more than {self._slack} above {own.height}, this miner's "
                "verified height; ask again with an older anchor"
            )
        known = self._hashes.get(anchor.height)
        if known is not None and known != anchor.hash:
            raise Misdirected(f"the anchor names another block at height {anchor.height}: follow the same chain")

"""The metagraphs a node goes by: read with the first block, and again when the ledger says that something changed."""

from __future__ import annotations

from collections.abc import Sequence

from davy.protocol.chain import Head, Metagraph
from davy.protocol.ports import LedgerClient
from davy.protocol.words import Height, Netuid


class Graphs:
    """Of these subnets; what changes with every block, such as `SubnetInfo.pending`, is as old as `Metagraph.height`.

    Attributes
    ----------
    anew
        Whether the last look read any of them again.
    """

    def __init__(self, ledger: LedgerClient, netuids: Sequence[Netuid]) -> None:
        self._ledger = ledger
        self._netuids = tuple(netuids)
        self._known: dict[Netuid, tuple[Metagraph, Height]] = {}
        """With the block up to which it is known to stand: what the ledger says of its height alone may be anything."""
        self.anew = False

    async def look(self, block: Head) -> dict[Netuid, Metagraph]:
        """Return them as of a block that was followed, or a later one; call it for each.

        Raises
        ------
        TxFailed, Unreachable
        """
        self.anew = False
        return {netuid: await self.of(netuid, block) for netuid in self._netuids}

    async def of(self, netuid: Netuid, block: Head) -> Metagraph:
        """One of them; see `look`."""
        known = self._known.get(netuid)
        if known is None or not self._ledger.unchanged(netuid, known[1]):
            self.anew = True
            graph = await self._ledger.metagraph(netuid)
            known = self._known[netuid] = graph, min(graph.height, block.height)
        return known[0]

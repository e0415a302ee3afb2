"""The metagraphs a node goes by: read with the first block, and again when the ledger says that something changed."""

from __future__ import annotations

from collections.abc import Sequence

from davy.protocol.chain import Metagraph
from davy.protocol.ports import LedgerClient
from davy.protocol.words import Netuid


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
        self._known: dict[Netuid, Metagraph] = {}
        self.anew = False

    async def look(self) -> dict[Netuid, Metagraph]:
        """Return them as of the newest block that is followed; call it for each.

        Raises
        ------
        TxFailed, Unreachable
        """
        self.anew = False
        for netuid in self._netuids:
            await self.of(netuid)
        return dict(self._known)

    async def of(self, netuid: Netuid) -> Metagraph:
        """One of them; see `look`."""
        known = self._known.get(netuid)
        if known is None or not self._ledger.unchanged(netuid, known.height):
            self.anew = True
            known = self._known[netuid] = await self._ledger.metagraph(netuid)
        return known

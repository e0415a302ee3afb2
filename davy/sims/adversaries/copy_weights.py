"""A validator that scores nobody: it commits the stake-weighted average of the rows it can see, as late as it can.

Where weights are set openly it sees this epoch's. Under commit–reveal it sees what was revealed, which is what the
others believed an epoch ago; and a weight is bound to the model that was scored: a new one it has to guess.
"""

from __future__ import annotations

from collections import defaultdict

import anyio

from davy.protocol.chain import Head, Metagraph
from davy.protocol.ports import KeyStore, LedgerClient
from davy.protocol.transaction import Weight
from davy.protocol.words import U16, KeyRole, Uid
from davy.validators.source import bound


class CopyWeights:
    """A `davy.validators.source.WeightSource` without work."""

    commit_at = 0.75
    """Fraction of the tempo: after the honest have put their rows forward."""

    def __init__(self, ledger: LedgerClient, keys: KeyStore) -> None:
        self._ledger, self._own = ledger, keys.public(KeyRole.HOTKEY)

    async def run(self) -> None:
        """Nothing is examined."""
        await anyio.sleep_forever()

    def see(self, head: Head) -> None:
        """It acts on what others did, not on blocks."""

    async def weights(self, m: Metagraph) -> tuple[Weight, ...]:
        """Stake-weighted average of the other validators' rows in force, scaled so that the largest is 65535."""
        neurons = {n.uid: n for n in m.neurons}
        total: defaultdict[Uid, int] = defaultdict(int)
        for row in (await self._ledger.rows(m.subnet.netuid)).rows:
            voter = neurons.get(row.uid)
            if voter is not None and voter.hotkey != self._own:
                whole = sum(value for _, value in row.values) or 1
                for uid, value in row.values:
                    total[uid] += voter.stake * value // whole
        largest = max(total.values(), default=0)
        if largest == 0:
            return ()
        return bound(m, {uid: value * U16 // largest for uid, value in total.items() if uid in neurons})

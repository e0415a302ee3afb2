"""Commits a row of weights and reveals it when its time has come, through any crash.

What a commitment hides is persisted before the commitment is submitted: a validator killed between the two reveals
nothing it did not commit, and one killed after it can still reveal. A reveal that is sent twice is refused by the
ledger, since no commit of that epoch is open any more, and forgotten; so is one that comes too late.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from davy.ledger.submit import send
from davy.protocol.chain import Metagraph, TxResult
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import TxCode
from davy.protocol.limits import MAX_RESULT_BYTES, MAX_UIDS
from davy.protocol.ports import Entropy, KeyStore, LedgerClient, Store
from davy.protocol.transaction import CommitWeights, RevealWeights, SetWeights, Weight, weights_commitment
from davy.protocol.words import Digest, Height, KeyRole, Netuid


class Sealed(Wire):
    """A row that was, or may have been, committed: all that its reveal needs."""

    version: Annotated[int, Meta(ge=2, le=2)]
    netuid: Netuid
    epoch: Height
    due: Height
    """The epoch to reveal it in, by the hyperparameters of its own: they may have changed since."""
    weights: Annotated[tuple[Weight, ...], Meta(max_length=MAX_UIDS)]
    salt: Digest


class SealedRows(Wire):
    """All rows of one subnet that still wait for their reveal."""

    version: Annotated[int, Meta(ge=2, le=2)]
    rows: tuple[Sealed, ...]


class Committer:
    """One hotkey's commitments on one subnet.

    Parameters
    ----------
    store
        Holds the sealed rows; durable on return.
    """

    def __init__(self, netuid: int, keys: KeyStore, ledger: LedgerClient, store: Store, entropy: Entropy) -> None:
        self._netuid, self._keys, self._ledger, self._store, self._entropy = netuid, keys, ledger, store, entropy
        self._place = f"sealed/2/{netuid}".encode()

    async def put_forward(self, m: Metagraph, weights: tuple[Weight, ...]) -> TxResult:
        """Commit a row for the running epoch, or set it openly where the subnet switched commit–reveal off.

        A second call in one epoch replaces the first row.

        Raises
        ------
        TxFailed, Unreachable, StoreFailed
            Nothing was acknowledged; calling again is safe.
        """
        if not m.subnet.hyperparameters.commit_reveal:
            return await send(self._ledger, self._keys, KeyRole.HOTKEY, SetWeights(self._netuid, weights))
        own = self._keys.public(KeyRole.HOTKEY)
        registered_at = next(n.registered_at for n in m.neurons if n.hotkey == own)
        due = m.subnet.epoch + m.subnet.hyperparameters.reveal_epochs
        sealed = Sealed(2, self._netuid, m.subnet.epoch, due, weights, self._entropy.bytes(32))
        await self._keep((*await self.sealed(), sealed))
        commitment = weights_commitment(
            self._ledger.chain, self._netuid, own, registered_at, sealed.epoch, weights, sealed.salt
        )
        action = CommitWeights(self._netuid, sealed.epoch, commitment)
        return await send(self._ledger, self._keys, KeyRole.HOTKEY, action)

    async def reveal_due(self, m: Metagraph) -> list[TxResult]:
        """Reveal the rows whose epoch has come, and forget those revealed or out of time.

        Of several rows sealed for one epoch only the last can match the commitment that stands; the others are
        refused as a mismatch and forgotten too.
        """
        results: list[TxResult] = []
        left: list[Sealed] = []
        rows = await self.sealed()
        for row in rows:
            if m.subnet.epoch < row.due:
                left.append(row)
            elif m.subnet.epoch == row.due:
                action = RevealWeights(self._netuid, row.epoch, row.weights, row.salt)
                result = await send(self._ledger, self._keys, KeyRole.HOTKEY, action)
                results.append(result)
                if result.code == TxCode.WRONG_TIME:
                    left.append(row)
        if len(left) < len(rows):
            await self._keep(tuple(left))
        return results

    async def sealed(self) -> tuple[Sealed, ...]:
        """Rows that still wait for their reveal."""
        raw = await self._store.get(self._place)
        return decode(raw, SealedRows, limit=MAX_RESULT_BYTES).rows if raw else ()

    async def _keep(self, rows: tuple[Sealed, ...]) -> None:
        await self._store.put(self._place, encode(SealedRows(2, rows)))

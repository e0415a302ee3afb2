"""Commits a row of weights and reveals it when its time has come, through any crash.

What a commitment hides is persisted before the commitment is submitted: a validator killed between the two reveals
nothing it did not commit, and one killed after it can still reveal. The ledger refuses a reveal that is sent twice and
one that comes too late in the same words, no commit of that epoch is open any more; its row of the validator tells them
apart, so that an operator is told of weights that are lost, and of no others.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from davy.ledger.submit import send
from davy.protocol.chain import Metagraph, TxResult
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import TxCode
from davy.protocol.limits import MAX_RESULT_BYTES, MAX_ROW_WEIGHTS, MAX_UIDS
from davy.protocol.ports import Entropy, KeyStore, LedgerClient, Store
from davy.protocol.transaction import CommitWeights, RevealWeights, SetWeights, Weight, weights_commitment
from davy.protocol.words import Digest, Height, KeyRole, Netuid

_log: Final = logging.getLogger(__name__)
_LATER: Final = (TxCode.WRONG_TIME, TxCode.HALTED)
"""What turns a reveal down for now: the ledger stands in an earlier epoch yet, or still while the subnet is halted."""


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


class Lost(NamedTuple):
    """Weights that will never count, the epoch they were committed in, and why."""

    epoch: Height
    why: str


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

        A second call in one epoch replaces the first row. Of more than MAX_ROW_WEIGHTS the lightest are left out.

        Raises
        ------
        TxFailed, Unreachable, StoreFailed
            Nothing was acknowledged; calling again is safe.
        """
        weights = self._heaviest(weights)
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

    def _heaviest(self, weights: tuple[Weight, ...]) -> tuple[Weight, ...]:
        """What can be revealed, by UID; of equal ones the lower UIDs."""
        over = len(weights) - MAX_ROW_WEIGHTS
        if over <= 0:
            return weights
        _log.warning(
            "subnet %d: the %d lightest of %d weights are left out; a row holds %d at most",
            self._netuid, over, len(weights), MAX_ROW_WEIGHTS,
        )  # fmt: skip
        kept = sorted(weights, key=lambda w: (-w.value, w.uid))[:MAX_ROW_WEIGHTS]
        return tuple(sorted(kept, key=lambda w: w.uid))

    async def reveal_due(self, m: Metagraph) -> list[Lost]:
        """Reveal the rows whose epoch has come; what is revealed, or lost, is forgotten. Returns what is lost.

        Raises
        ------
        TxFailed, Unreachable, StoreFailed
            Nothing was forgotten; calling again is safe.
        """
        rows = await self.sealed()
        due: dict[Height, list[Sealed]] = {}
        for row in rows:
            if row.due <= m.subnet.epoch:
                due.setdefault(row.epoch, []).append(row)
        lost: list[Lost] = []
        for epoch, same in list(due.items()):
            code, why = await self._reveal(m, same)
            if code in _LATER:
                del due[epoch]
            elif code != TxCode.OK and not await self._stands(m, same):
                lost.append(Lost(epoch, why))
        if due:
            await self._keep(tuple(row for row in rows if row.epoch not in due))
        return lost

    async def _reveal(self, m: Metagraph, same: Sequence[Sealed]) -> tuple[int, str]:
        """Open the commitment of one epoch, which hides the last of its rows, or one before if that was not committed.

        Returns the ledger's code, and why these weights are lost if they are.
        """
        *before, last = same
        if m.subnet.epoch > last.due:
            away = "the validator or its ledger was away too long"
            return TxCode.NOT_FOUND, f"due in epoch {last.due}, and epoch {m.subnet.epoch} is running: {away}"
        result = await self._open(last)
        while result.code == TxCode.MISMATCH and before:
            result = await self._open(before.pop())
        if result.code != TxCode.NOT_FOUND:
            return result.code, result.log
        if result.height > m.subnet.next_epoch_at:
            return result.code, f"due up to block {m.subnet.next_epoch_at}, and the reveal came in {result.height}"
        return result.code, "the ledger has no such commitment: it was turned down, or came into no block"

    async def _open(self, row: Sealed) -> TxResult:
        action = RevealWeights(self._netuid, row.epoch, row.weights, row.salt)
        return await send(self._ledger, self._keys, KeyRole.HOTKEY, action)

    async def _stands(self, m: Metagraph, same: Sequence[Sealed]) -> bool:
        """Whether the ledger's row of this hotkey is one of these, and was put there in the epoch they were due in."""
        own = self._keys.public(KeyRole.HOTKEY)
        uid = next((n.uid for n in m.neurons if n.hotkey == own), None)
        found = next((r for r in (await self._ledger.rows(self._netuid)).rows if r.uid == uid), None)
        before = await self._ledger.epoch(self._netuid, same[0].due - 1)
        if found is None or (before is not None and found.height <= before.height):
            return False
        return found.values in [tuple((w.uid, w.value) for w in row.weights) for row in same]

    async def sealed(self) -> tuple[Sealed, ...]:
        """Rows that still wait for their reveal."""
        raw = await self._store.get(self._place)
        return decode(raw, SealedRows, limit=MAX_RESULT_BYTES).rows if raw else ()

    async def _keep(self, rows: tuple[Sealed, ...]) -> None:
        await self._store.put(self._place, encode(SealedRows(2, rows)))

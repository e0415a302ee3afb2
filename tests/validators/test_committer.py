"""What a validator writes while it waits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import anyio

from davy.protocol.encoding import encode
from davy.validators.committer import Committer, Sealed, SealedRows
from tests.twins import MemoryStore, SeededEntropy, SeededKeys


def at_epoch(epoch: int) -> Any:
    return SimpleNamespace(subnet=SimpleNamespace(epoch=epoch, hyperparameters=SimpleNamespace(reveal_epochs=1)))


def test_nothing_is_written_in_a_block_that_changes_nothing() -> None:
    rows = tuple(Sealed(2, 1, epoch, epoch + 2, (), bytes(32)) for epoch in (5, 6))
    store = MemoryStore({b"sealed/2/1": encode(SealedRows(2, rows))})
    committer = Committer(1, SeededKeys(1), cast("Any", None), store, SeededEntropy())

    async def blocks() -> None:
        assert await committer.reveal_due(at_epoch(6)) == []
        assert (store.puts, await committer.sealed()) == (0, rows)
        await committer.reveal_due(at_epoch(9))  # both are out of time
        assert (store.puts, await committer.sealed()) == (1, ())

    anyio.run(blocks)

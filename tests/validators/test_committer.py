"""What a validator hides, keeps and opens, on the ledger's own rules; and what it tells its operator is lost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from davy.protocol.chain import EpochRecord, Head, Metagraph, RowsInForce, TxResult
from davy.protocol.encoding import encode
from davy.protocol.errors import TxCode, TxFailed
from davy.protocol.limits import MAX_ROW_WEIGHTS, MAX_TX_BYTES, MAX_UIDS
from davy.protocol.order import Subnet
from davy.protocol.signing import Domain, sign
from davy.protocol.transaction import RevealWeights, SetWeights, SignedTx, TxBody, Weight, tx_hash
from davy.protocol.words import INT63, KeyRole
from davy.validators.committer import Committer, Sealed, SealedRows
from tests.ledger.rules.world import World, keys, market, pub
from tests.twins import MemoryStore, SeededEntropy, SeededKeys

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Ann:
    """The keys of a validator of `market`."""

    def public(self, role: KeyRole) -> bytes:
        return pub("ann-hot")

    def sign(self, role: KeyRole, domain: Domain, body: bytes) -> bytes:
        return sign(keys("ann-hot")[1], domain, body)


class Client:
    """A ledger that makes a block of whatever is handed in."""

    def __init__(self, w: World) -> None:
        self.w, self.chain, self.slow = w, w.chain, False
        self._results: dict[bytes, TxResult] = {}

    async def head(self) -> Head:
        return Head(self.w.machine.height, self.w.machine.time, bytes(32), self.w.machine.app_hash)

    async def nonce(self, key: bytes) -> int:
        return self.w.account(key).nonce

    async def submit(self, raw: bytes) -> bytes:
        if self.slow:
            self.w.end_epoch()
        (self._results[tx_hash(raw)],) = self.w.apply([raw]).results
        return tx_hash(raw)

    async def outcome(self, h: bytes, *, until: int) -> TxResult:
        return self._results[h]

    async def rows(self, netuid: int) -> RowsInForce:
        return self.w.query("/weights", netuid.to_bytes(2, "big"), RowsInForce)

    async def epoch(self, netuid: int, epoch: int) -> EpochRecord | None:
        try:
            return self.w.record(epoch, netuid)
        except TxFailed:
            return None


class Place:
    """Ann's committer on a market, and what its disk holds."""

    def __init__(self) -> None:
        self.w, self.store = market(), MemoryStore()
        self.client = Client(self.w)

    def committer(self, store: MemoryStore | None = None) -> Committer:
        """Of a process that has just begun."""
        return Committer(1, cast("Any", Ann()), cast("Any", self.client), store or self.store, SeededEntropy(9))

    def row(self, cat: int, dan: int) -> tuple[Weight, ...]:
        return self.w.row({"cat-hot": cat, "dan-hot": dan})

    async def commit(self, cat: int = 2, dan: int = 1) -> None:
        assert (await self.committer().put_forward(self.w.metagraph(), self.row(cat, dan))).code == TxCode.OK

    async def reveal(self, store: MemoryStore | None = None, m: Metagraph | None = None) -> list[str]:
        """Why weights are lost."""
        return [lost.why for lost in await self.committer(store).reveal_due(m or self.w.metagraph())]

    async def in_force(self) -> list[tuple[int, int]]:
        uid = self.w.neuron("ann-hot").uid
        return [pair for row in (await self.client.rows(1)).rows if row.uid == uid for pair in row.values]


def at_epoch(epoch: int) -> Any:
    return SimpleNamespace(subnet=SimpleNamespace(epoch=epoch), neurons=())


async def test_nothing_is_written_in_a_block_that_changes_nothing() -> None:
    rows = tuple(Sealed(2, 1, epoch, epoch + 2, (), bytes(32)) for epoch in (5, 6))
    store = MemoryStore({b"sealed/2/1": encode(SealedRows(2, rows))})
    committer = Committer(1, SeededKeys(1), cast("Any", Client(World())), store, SeededEntropy())
    assert await committer.reveal_due(at_epoch(6)) == []
    assert (store.puts, await committer.sealed()) == (0, rows)
    assert [lost.epoch for lost in await committer.reveal_due(at_epoch(9))] == [5, 6]
    assert (store.puts, await committer.sealed()) == (1, ())


async def test_a_row_is_revealed_in_its_epoch_and_forgotten() -> None:
    p = Place()
    await p.commit()
    assert await p.reveal() == []
    assert len(await p.committer().sealed()) == 1, "not before its epoch"
    p.w.end_epoch()
    assert await p.reveal() == []
    assert await p.in_force() == [(2, 2), (3, 1)]
    assert await p.committer().sealed() == ()


async def test_a_row_that_could_not_be_revealed_is_put_forward_without_its_lightest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    p = Place()
    weights = tuple(Weight(uid, bytes(8), 1 + (7 * uid) % 65_535) for uid in range(MAX_UIDS))
    assert (await p.committer().put_forward(p.w.metagraph(), weights)).code == TxCode.OK
    (sealed,) = await p.committer().sealed()
    assert len(sealed.weights) == MAX_ROW_WEIGHTS
    assert set(sealed.weights) == set(sorted(weights, key=lambda w: w.value)[-MAX_ROW_WEIGHTS:])
    assert [w.uid for w in sealed.weights] == sorted(w.uid for w in sealed.weights)
    assert "the 256 lightest of 4096 weights are left out" in caplog.text


@pytest.mark.parametrize("action", [RevealWeights, SetWeights])
def test_the_longest_row_fits_into_a_transaction(action: type[RevealWeights | SetWeights]) -> None:
    row = tuple(Weight(MAX_UIDS - 1, bytes(8), 65_535) for _ in range(MAX_ROW_WEIGHTS))
    x = SetWeights(65_535, row) if action is SetWeights else RevealWeights(65_535, INT63, row, bytes(32))
    body = encode(TxBody(1, bytes(32), pub("ann-hot"), INT63, x))
    assert len(encode(SignedTx(1, body, bytes(64)))) <= MAX_TX_BYTES


@pytest.mark.parametrize("epochs_later", [0, 1])
async def test_what_was_revealed_before_a_crash_is_not_called_lost(epochs_later: int) -> None:
    p = Place()
    await p.commit()
    p.w.end_epoch()
    crashed = p.store.copy()
    assert await p.reveal() == []
    for _ in range(epochs_later):
        p.w.end_epoch()
    assert await p.reveal(crashed) == []
    assert await p.committer(crashed).sealed() == ()


async def test_what_comes_too_late_is_told_to_be_lost_and_why() -> None:
    p = Place()
    await p.commit()
    p.w.end_epoch()
    seen, ends = p.w.metagraph(), p.w.subnet().next_epoch_at
    p.client.slow = True
    assert await p.reveal(m=seen) == [f"due up to block {ends}, and the reveal came in {ends + 1}"]
    assert await p.in_force() == []
    assert await p.committer().sealed() == ()


async def test_weights_that_stand_since_another_epoch_do_not_hide_that_the_same_were_lost() -> None:
    p = Place()
    await p.commit()
    p.w.end_epoch()
    await p.commit()
    assert await p.reveal() == []
    for _ in range(2):
        p.w.end_epoch()
    epoch = p.w.subnet().epoch
    assert await p.in_force() == [(2, 2), (3, 1)]
    (why,) = await p.reveal()
    assert why.startswith(f"due in epoch {epoch - 1}, and epoch {epoch} is running")


async def test_a_row_whose_commitment_came_into_no_block_is_lost() -> None:
    p = Place()
    epoch = p.w.subnet().epoch
    rows = (Sealed(2, 1, epoch, epoch + 1, p.row(2, 1), bytes(32)),)
    await p.store.put(b"sealed/2/1", encode(SealedRows(2, rows)))
    p.w.end_epoch()
    (why,) = await p.reveal()
    assert "no such commitment" in why


@pytest.mark.parametrize("committed", ["both", "the first"])
async def test_of_an_epoch_s_rows_the_one_is_revealed_that_was_committed(committed: str) -> None:
    """A validator that starts again puts another row forward, and may be killed before its commitment leaves."""
    p = Place()
    await p.commit(2, 1)
    if committed == "both":
        await p.commit(1, 2)
    else:
        (row,) = await p.committer().sealed()
        other = Sealed(2, 1, row.epoch, row.due, p.row(1, 2), b"\1" * 32)
        await p.store.put(b"sealed/2/1", encode(SealedRows(2, (row, other))))
    p.w.end_epoch()
    assert await p.reveal() == []
    assert await p.in_force() == ([(2, 1), (3, 2)] if committed == "both" else [(2, 2), (3, 1)])
    assert await p.committer().sealed() == ()


async def test_a_halt_that_the_ledger_knew_first_loses_no_weights() -> None:
    p = Place()
    await p.commit()
    p.w.end_epoch()
    seen = p.w.metagraph()
    halt = p.w.halt(Subnet(1))
    assert await p.reveal(m=seen) == []
    assert len(await p.committer().sealed()) == 1
    p.w.lift(halt)
    assert await p.reveal() == []
    assert await p.in_force() == [(2, 2), (3, 1)]

"""What comes in several answers, as a client reads it: in bounded questions, and no other answer than was asked for."""

from __future__ import annotations

import pytest

from davy.ledger.client.views import Views
from davy.protocol.chain import EpochRecord, RevealedRow, RowInForce, RowsInForce
from davy.protocol.encoding import encode
from davy.protocol.errors import Malformed, TxCode, TxFailed
from davy.protocol.limits import MAX_ACCESSES_ASKED
from davy.protocol.manifest import Access
from davy.protocol.recorded import AccessList, AccessRecord

pytestmark = pytest.mark.anyio


class Told(Views):
    """A ledger that says of each model since when, by its first byte; and leaves out `short` of them."""

    def __init__(self, short: int = 0) -> None:
        self.asked: list[int] = []
        self._short = short

    async def query(self, path: str, data: bytes = b"") -> bytes:
        assert path == "/access"
        models = [data[n : n + 32] for n in range(0, len(data), 32)]
        self.asked.append(len(models))
        records = [AccessRecord(Access.ADMITTED, (), (), model[0]) for model in models]
        return encode(AccessList(tuple(records[self._short :])))


@pytest.mark.parametrize(
    ("count", "asked"),
    [(0, []), (1, [1]), (MAX_ACCESSES_ASKED, [64]), (MAX_ACCESSES_ASKED + 1, [64, 1]), (200, [64, 64, 64, 8])],
)
async def test_many_models_are_asked_about_in_as_few_questions_as_there_may_be(count: int, asked: list[int]) -> None:
    ledger = Told()
    told = await ledger.accesses([bytes([n]) * 32 for n in range(count)])
    assert [record.since for record in told] == list(range(count))
    assert ledger.asked == asked


async def test_a_ledger_that_leaves_one_out_is_not_believed() -> None:
    with pytest.raises(Malformed, match="other models than it was asked about"):
        await Told(short=1).accesses([bytes(32), b"\1" * 32])


class Paged(Views):
    """A ledger that tells the rows of UIDs 3, 5 and 4095 in pages of two; or always the same page."""

    def __init__(self, *, stuck: bool = False) -> None:
        self._stuck = stuck

    async def query(self, path: str, data: bytes = b"") -> bytes:
        whole = {"/weights": 2, "/epoch": 10}[path]
        if len(data) == whole:
            raise TxFailed(TxCode.OUT_OF_RANGE, "in pages")
        first = 0 if self._stuck else int.from_bytes(data[whole:], "big")
        uids = [uid for uid in (3, 5, 4_095) if uid >= first][:2]
        if path == "/weights":
            return encode(RowsInForce(1, 8 + first, tuple(RowInForce(uid, 7, ((uid, 6),)) for uid in uids)))
        rows = tuple(RevealedRow(uid, ((uid, 6),)) for uid in uids)
        return encode(EpochRecord(1, 2, 8, 10, 1, (4, 0), (0, 5), rows))


async def test_rows_that_come_in_pages_are_told_as_one() -> None:
    rows = await Paged().rows(1)
    assert rows == RowsInForce(1, 8 + 4_096, tuple(RowInForce(uid, 7, ((uid, 6),)) for uid in (3, 5, 4_095)))
    weights = tuple(RevealedRow(uid, ((uid, 6),)) for uid in (3, 5, 4_095))
    assert await Paged().epoch(1, 2) == EpochRecord(1, 2, 8, 10, 1, (4, 0), (0, 5), weights)


async def test_a_ledger_whose_pages_do_not_go_on_is_not_believed() -> None:
    with pytest.raises(Malformed, match="do not follow one another"):
        await Paged(stuck=True).rows(1)
    with pytest.raises(Malformed, match="do not follow one another"):
        await Paged(stuck=True).epoch(1, 2)

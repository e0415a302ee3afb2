"""Who may ask for models, as a client reads it: in bounded questions, and no other answer than was asked for."""

from __future__ import annotations

import pytest

from davy.ledger.client.views import Views
from davy.protocol.encoding import encode
from davy.protocol.errors import Malformed
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

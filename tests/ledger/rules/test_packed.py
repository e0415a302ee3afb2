"""Rows of weights as records hold them: packed for all rows at once, and what a row at a time would give."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from davy.ledger.rules import packed
from davy.protocol.transaction import Weight
from davy.protocol.words import U16

MOST = 7
SUBJECTS = [bytes([n]) * 8 for n in range(MOST)]
OTHER = b"\xff" * 7 + b"\1"
weight = st.builds(lambda value, mine: (value, mine), st.integers(0, U16), st.booleans())
rows_of = st.lists(st.dictionaries(st.integers(0, MOST - 1), weight, max_size=MOST), min_size=1, max_size=5)


def row(given: dict[int, tuple[int, bool]]) -> bytes:
    """Packed; what is not `mine` is bound to who held the UID before."""
    return packed.pack_row([Weight(u, SUBJECTS[u] if mine else OTHER, v) for u, (v, mine) in sorted(given.items())])


@given(rows_of)
def test_a_weight_counts_where_its_subject_is_the_neurons(rows: list[dict[int, tuple[int, bool]]]) -> None:
    values = packed.row_values([row(r) for r in rows], packed.pack_subjects(SUBJECTS))
    expected = [[r[uid][0] if uid in r and r[uid][1] else 0 for uid in range(MOST)] for r in rows]
    assert values.tolist() == expected
    assert values.dtype == np.int64


@given(st.lists(st.lists(st.sampled_from([0, 1, 256, U16]), min_size=MOST, max_size=MOST), max_size=5))
def test_the_pairs_of_each_row_are_its_weights(rows: list[list[int]]) -> None:
    stored = packed.pack_pairs(np.array(rows, dtype=np.int64).reshape(-1, MOST))
    assert [packed.pairs(data) for data in stored] == [
        tuple((uid, value) for uid, value in enumerate(values) if value) for values in rows
    ]


def test_the_bytes_of_a_pair_are_big_endian() -> None:
    assert packed.pack_pairs(np.array([[0, 0x0102, 0]])) == (bytes([0, 1, 1, 2]),)

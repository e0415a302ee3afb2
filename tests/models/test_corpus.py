"""The held-out text is held out: it shares next to nothing with what the models were trained on."""

import numpy as np
import pytest

from davy import models
from training.corpus import DUPLICATE, SHARED_LIMIT, SHINGLE, clean, shingles, split, without_duplicates


@pytest.fixture(scope="module")
def trained() -> set[str]:
    return set().union(*(shingles(document) for document in models.training()))


def shared(document: str, seen: set[str]) -> float:
    own = shingles(document)
    return len(own & seen) / len(own)


def test_no_held_out_document_shares_more_than_the_limit(trained: set[str]) -> None:
    shares = [shared(document, trained) for document in models.heldout()]
    assert max(shares) <= SHARED_LIMIT
    assert float(np.mean(shares)) < SHARED_LIMIT / 5


def test_a_training_document_among_the_held_out_would_be_seen(trained: set[str]) -> None:
    assert shared(models.training()[100], trained) == 1


def test_held_out_documents_share_nothing_with_each_other() -> None:
    held_out = models.heldout()
    for i in range(0, len(held_out), 50):
        others = set().union(*(shingles(document) for j, document in enumerate(held_out) if j != i))
        assert shared(held_out[i], others) <= SHARED_LIMIT


def test_there_is_enough_text() -> None:
    assert sum(map(len, models.training())) > 2_000_000
    assert sum(map(len, models.heldout())) > 100_000


def test_shingles_do_not_see_white_space() -> None:
    assert shingles("one two\n   three") == {"one two three"}
    assert len(shingles("x" * (SHINGLE + 3))) == 1
    assert shingles("0123456789" * 4) == {("0123456789" * 4)[i : i + SHINGLE] for i in range(9)}


def text(seed: int, letters: int = 400) -> str:
    return "".join(np.random.default_rng(seed).choice(list("abcdefgh "), letters))


def test_a_near_duplicate_is_dropped_and_a_new_text_kept() -> None:
    original, other = text(1), text(2)
    nearly = original[:300] + text(3, 100)
    slightly = original[:80] + text(4, 320)
    kept = without_duplicates([("a", original), ("b", nearly), ("c", other), ("d", slightly), ("e", "short")])
    assert [piece for _, piece in kept] == [original, other, slightly]
    assert shared(slightly, shingles(original)) < DUPLICATE


def test_a_document_that_shares_is_never_held_out() -> None:
    paired = [
        (f"pair {i} {side}", text(i)[:200] + text(1000 + 2 * i + side, 200)) for i in range(100) for side in (0, 1)
    ]
    alone = [(f"alone {i}", text(5000 + i)) for i in range(200)]
    training, held_out = split(paired + alone, seed=1)
    assert len(training) + len(held_out) == 400
    assert 5 < len(held_out) < 40  # a tenth of the 200 that stand alone
    assert set(held_out) <= {piece for _, piece in alone}


def test_the_split_is_of_the_seed_alone() -> None:
    documents = [(f"document {i}", text(i)) for i in range(200)]
    assert split(documents, seed=1) == split(documents, seed=1)
    assert split(documents, seed=1) != split(documents, seed=2)


def test_cleaning_leaves_ascii_without_rulers() -> None:
    assert (
        clean("Head — \N{RIGHT SINGLE QUOTATION MARK}é\n    ======\n\n\n    body\t.\n    ")
        == "Head  e\n\nbody        ."
    )

"""The suffix array counts what a plain search counts; the estimate is a distribution, the same bits every time."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davy.protocol.errors import Misconfigured
from davy.tasks.base import DEPTH, PROMPT, Base, read_public_text
from davy.tasks.task import Setting
from davy.tasks.text import Text

SIZE = 5
tokens = st.lists(st.integers(0, SIZE - 1), max_size=30).map(lambda t: np.array(t, dtype=np.int64))


def followers(documents: list[np.ndarray], end: list[int]) -> np.ndarray:
    found = np.zeros(SIZE, dtype=np.int64)
    for d in (list(x) for x in documents):
        for i in range(len(d) - len(end)):
            if d[i : i + len(end)] == end:
                found[d[i + len(end)]] += 1
    return found


@settings(max_examples=150)
@given(st.lists(tokens, min_size=1, max_size=5), st.lists(tokens, max_size=3), tokens)
def test_counts_are_those_of_a_plain_search(published: list, rendered: list, context: np.ndarray) -> None:
    base = Base(published, rendered, SIZE)
    ranges = base.ranges(context)
    for k in range(min(DEPTH, len(context)) + 1):
        end = [int(x) for x in context[len(context) - k :]]
        found = base.followers(*ranges[k]) if k < len(ranges) else np.zeros(SIZE)
        assert (found == followers([*published, *rendered], end)).all()
    p = base.distribution(context)
    assert (p > 0).all()
    assert p.sum() == pytest.approx(1.0)


@settings(max_examples=150)
@given(st.lists(tokens, min_size=1, max_size=5), st.lists(tokens, max_size=3), tokens)
def test_the_longest_match_is_that_of_published_text_alone(
    published: list, rendered: list, context: np.ndarray
) -> None:
    text = "|" + "|".join("".join(map(str, d)) for d in published) + "|"
    whole = "".join(map(str, context))
    longest = max(k for k in range(min(DEPTH, len(whole)) + 1) if whole[len(whole) - k :] in text)
    assert Base(published, rendered, SIZE).longest_match(context) == longest


@given(tokens)
def test_the_prompt_is_searched_too(context: np.ndarray) -> None:
    base = Base([np.array([0, 1, 2])], [], SIZE)
    found = base.within(context)
    for k in range(min(len(PROMPT) - 1, len(context)) + 1):
        end = [int(x) for x in context[len(context) - k :]]
        assert ((found[k] if k < len(found) else np.zeros(SIZE)) == followers([context], end)).all()
    assert len(found) <= len(PROMPT)


def test_kept_tokens_give_the_same_bits(task: Text, tmp_path: Path) -> None:
    folder = Setting().models
    first = Base.of_public_text(folder, task.vocabulary, tmp_path)
    kept = list(tmp_path.iterdir())
    assert len(kept) == 1
    again = Base.of_public_text(folder, task.vocabulary, tmp_path)
    prompt = task.vocabulary.encode("Return the number of bytes in the buffer, or None if the")
    assert first.distribution(prompt).tobytes() == again.distribution(prompt).tobytes()
    assert task.base.distribution(prompt).tobytes() == again.distribution(prompt).tobytes()
    known = task.vocabulary.encode(read_public_text(folder).training[0])[: 2 * DEPTH]
    assert first.longest_match(known) == again.longest_match(known) == DEPTH, "which part is published is kept too"


def test_a_truncated_cache_is_made_anew(task: Text, tmp_path: Path) -> None:
    folder = Setting().models
    Base.of_public_text(folder, task.vocabulary, tmp_path)
    (kept,) = tmp_path.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    Base.of_public_text(folder, task.vocabulary, tmp_path)
    assert kept.read_bytes() == whole


def test_a_folder_without_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"training\.txt\.xz"):
        read_public_text(tmp_path)

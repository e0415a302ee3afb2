"""Renaming is consistent, one to one and private: what a text said of a name still holds, and no search finds it."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.tasks.rename import WORD, clauses, disguise, identifiers, invent, nouns, recombine, rename, renaming

SIGNED = """textwrap.wrap_lines(text, width=70, **kwargs)

Wrap the single paragraph in 'text' so every line is at most 'width' characters long.

Returns a list of wrapped lines. See TextWrapper class; MAX_WIDTH is the limit for width. Each paragraph is kept.
"""
OTHER = """class queue.LifoBasket(maxsize)

Put entries into a basket; the last entry comes out first. If maxsize is zero, the basket has no bound."""
TOKENS = [*"ab _.,;:'()=\n", "\n\n", ". ", "node", "nodes", "Node", "name", "get_node", "getNode", "NODE_MAX", "ward"]
prose = st.lists(st.sampled_from(TOKENS), max_size=80).map("".join)
seeds = st.integers(0, 2**32)


def words(text: str) -> list[str]:
    return WORD.findall(text)


def test_what_a_text_treats_as_code_is_an_identifier() -> None:
    assert identifiers(SIGNED) == ("textwrap", "wrap_lines", "text", "width", "TextWrapper", "MAX_WIDTH")
    assert identifiers("Call len(self) or x.__init__(None).") == ()


def test_repeated_content_words_are_nouns() -> None:
    assert nouns(SIGNED) == ("text", "width", "paragraph")


@pytest.mark.parametrize(
    ("like", "style"),
    [
        ("read_file", r"[a-z]+_[a-z]+"),
        ("_read_file", r"_[a-z]+_[a-z]+"),
        ("ReadFile", r"[A-Z][a-z]+[A-Z][a-z]+"),
        ("readFile", r"[a-z]+[A-Z][a-z]+"),
        ("READ_FILE", r"[A-Z]+_[A-Z]+"),
        ("LIMIT", r"[A-Z]+"),
        ("Queue", r"[A-Z][a-z]+"),
        ("width", r"[a-z]+"),
    ],
)
def test_an_invented_name_keeps_the_style(like: str, style: str) -> None:
    for seed in range(50):
        assert re.fullmatch(style, invent(like, np.random.default_rng(seed)))


@given(prose, seeds)
def test_renaming_is_one_to_one_and_new(text: str, seed: int) -> None:
    mapping = renaming(text, np.random.default_rng(seed), noun_share=1.0)
    used = [mapping[word] for word in dict.fromkeys(words(text)) if word in mapping]
    assert len(set(used)) == len(used)
    assert not set(used) & set(words(text))
    assert set(identifiers(text)) | set(nouns(text)) <= set(mapping)


def test_names_differ_even_where_few_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("davy.tasks.rename._ONSETS", ["b", "d"])
    monkeypatch.setattr("davy.tasks.rename._VOWELS", ["a", "o"])
    monkeypatch.setattr("davy.tasks.rename._CODAS", [""])
    monkeypatch.setattr("davy.tasks.rename._PARTS", ["ba", "mo"])
    text = "red(green, blue=1, white=2, black=3) and dodo in the baba, not babo"
    for seed in range(20):
        mapping = renaming(text, np.random.default_rng(seed))
        used = [mapping[word] for word in ("red", "green", "blue", "white", "black")]
        assert len(set(used)) == 5
        assert not {"dodo", "baba", "babo"} & set(used)


def test_a_name_is_never_a_word_of_grammar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("davy.tasks.rename._ONSETS", ["s", "m"])
    monkeypatch.setattr("davy.tasks.rename._VOWELS", ["a", "e"])
    monkeypatch.setattr("davy.tasks.rename._CODAS", [""])
    names = {renaming("'word'", np.random.default_rng(seed))["word"] for seed in range(200)}
    assert "sema" in names
    assert "same" not in names


@given(prose, seeds)
def test_renaming_back_gives_the_text_again(text: str, seed: int) -> None:
    mapping = renaming(text, np.random.default_rng(seed))
    renamed = rename(text, np.random.default_rng(seed))
    back = {new: old for old, new in mapping.items()}
    assert WORD.sub(lambda match: back.get(match[0], match[0]), renamed) == text


def test_plural_and_capital_follow_their_singular() -> None:
    text = "'node' is a node. Node and nodes are kept."
    mapping = renaming(text, np.random.default_rng(0))
    assert mapping["nodes"] == mapping["node"] + "s"
    assert mapping["Node"] == mapping["node"].capitalize()


def test_no_old_identifier_is_left() -> None:
    for seed in range(50):
        assert not set(identifiers(SIGNED)) & set(words(rename(SIGNED, np.random.default_rng(seed))))


def test_nouns_are_left_alone_when_none_shall_go() -> None:
    assert "paragraph" in rename(SIGNED, np.random.default_rng(1), noun_share=0.0)
    assert "paragraph" not in rename(SIGNED, np.random.default_rng(1), noun_share=1.0)


@given(prose)
def test_clauses_lose_nothing(text: str) -> None:
    assert "".join(clauses(text)) == text


@given(seeds)
def test_recombining_keeps_each_document_in_order(seed: int) -> None:
    text = recombine([SIGNED, OTHER], np.random.default_rng(seed), characters=10_000)
    for document in (SIGNED, OTHER):
        places = [text.index(clause.strip()) for clause in clauses(document)]
        assert places == sorted(places)
    assert len(text.split()) == len(SIGNED.split()) + len(OTHER.split())


def test_recombining_stops_near_the_length_asked_for() -> None:
    text = recombine([SIGNED * 20, OTHER * 20], np.random.default_rng(0), characters=500)
    longest = max(len(clause) for clause in clauses(SIGNED) + clauses(OTHER))
    assert 500 - 2 <= len(text) <= 500 + 3 * longest + 2


def test_one_seed_one_text_and_another_seed_another() -> None:
    first, again, other = (disguise([SIGNED, OTHER], np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_a_seed_gives_this_text_on_every_platform() -> None:
    """Frozen: another renaming is not what the shipped models were trained to read."""
    assert rename(OTHER, np.random.default_rng(0)) == (
        "class forkbeam.BrootdrunFlasku(corestem)\n\n"
        "Put entries into a basket; the last entry comes out first. If corestem is zero, the basket has no bound."
    )


def test_nothing_to_do_is_done() -> None:
    assert disguise([], np.random.default_rng(0)) == ""
    assert rename("", np.random.default_rng(0)) == ""

"""Stop strings across pieces: found wherever they are cut, never shown, and nothing else is held for ever."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from davy.miners.backend import Piece
from davy.miners.stop_strings import StopStrings


def shown(texts: list[str], stops: list[str]) -> tuple[str, bool, int]:
    """The text that a reader sees, whether a stop was found, and how many pieces were shown."""
    finder = StopStrings(stops)
    out: list[Piece] = []
    for i, text in enumerate(texts):
        out += finder.add(Piece(i, text, 0.0))
        if finder.found:
            break
    else:
        out += finder.rest()
    assert [p.token for p in out] == list(range(len(out)))
    return "".join(p.text for p in out), finder.found, len(out)


@given(
    st.text("ab", max_size=12),
    st.lists(st.integers(0, 12), max_size=5),
    st.lists(st.text("ab", max_size=3), max_size=3),
)
def test_as_if_the_text_had_come_whole(text: str, cuts: list[int], stops: list[str]) -> None:
    edges = [0, *sorted(min(c, len(text)) for c in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges)]
    seen, found, count = shown(pieces, stops)
    # Of all stops the one that is complete first ends the text; of those complete at once, the one that begins first.
    whole = ""
    for n, piece in enumerate(pieces, 1):
        whole += piece
        starts = [at for s in stops if s and (at := whole.find(s)) >= 0]
        if starts:
            assert (seen, found, count) == (whole[: min(starts)], True, n)
            return
    assert (seen, found, count) == (text, False, len(pieces))


def test_only_a_possible_beginning_is_held() -> None:
    finder = StopStrings(["\n\n", "END"])
    assert [p.text for p in finder.add(Piece(0, "one", 0))] == ["one"]
    assert finder.add(Piece(1, "\n", 0)) == []
    assert [p.text for p in finder.add(Piece(2, "two", 0))] == ["\n", "two"]
    assert finder.add(Piece(3, "x E", 0)) == []
    assert finder.add(Piece(4, "N", 0)) == []
    assert [p.text for p in finder.add(Piece(5, "D and more", 0))] == ["x ", "", ""]
    assert finder.found

"""Where an answer ends: stop strings, found across tokens and never shown."""

from __future__ import annotations

from collections.abc import Sequence

from davy.miners.backend import Piece


class StopStrings:
    """Holds back pieces whose text may be the beginning of a stop string.

    The text before the first stop string is shown, and nothing after it. All tokens are: they were generated, and a
    validator counts them.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [s for s in stops if s]
        self._held: list[Piece] = []
        self.found = False

    def add(self, piece: Piece) -> list[Piece]:
        """Return the pieces that can be shown now."""
        self._held.append(piece)
        text = "".join(p.text for p in self._held)
        starts = [at for s in self._stops if (at := text.find(s)) >= 0]
        if starts:
            self.found = True
            return self._release(min(starts))
        open_from = len(text) - max((_overlap(text, s) for s in self._stops), default=0)
        end = ready = 0
        for p in self._held:
            end += len(p.text)
            if end > open_from:
                break
            ready += 1
        shown, self._held = self._held[:ready], self._held[ready:]
        return shown

    def rest(self) -> list[Piece]:
        """Return what is still held when the answer ends without a stop string."""
        held, self._held = self._held, []
        return held

    def _release(self, length: int) -> list[Piece]:
        """All held pieces, their text cut to `length` characters together."""
        shown: list[Piece] = []
        for p in self.rest():
            shown.append(p._replace(text=p.text[:length]))
            length = max(0, length - len(p.text))
        return shown


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop` without being all of it."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)

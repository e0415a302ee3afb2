"""One line for each thing that was compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from davy.protocol.errors import Refused


@dataclass(slots=True)
class Report:
    """What was compared in one file, in order, and whether it holds."""

    name: str
    checks: list[tuple[str, bool]] = field(default_factory=list[tuple[str, bool]])
    unread: list[str] = field(default_factory=list[str])
    """Members of the file that no check looks at, one for each place."""

    def equal(self, what: str, got: object, expected: object) -> None:
        self.checks.append((what, got == expected))

    def holds(self, what: str, test: Callable[[], object]) -> None:
        """Note whether `test` is true; what it refuses does not hold, and the sentence of the refusal is told."""
        try:
            self.checks.append((what, bool(test())))
        except Refused as e:
            self.checks.append((f"{what} ({e})", False))

    def accepts(self, what: str, test: Callable[[], object]) -> None:
        """Note whether `test` refuses nothing."""
        self.holds(what, lambda: (test(), True)[1])

    def failures(self) -> list[str]:
        return [what for what, holds in self.checks if not holds]

    def lines(self) -> Iterator[str]:
        for what, holds in self.checks:
            yield _one_line(f"{'holds' if holds else 'FAILS'}  {self.name}: {what}")
        for what in dict.fromkeys(self.unread):
            yield _one_line(f"       {self.name}: {what} is not compared")


def _one_line(text: str) -> str:
    """Names come from the file: none may look like another line, or end the command where it cannot be shown."""
    return text.encode("unicode_escape").decode()

"""docs/failures.md: each failure and attack has a row, and each row a test; tests/repository sees that it exists."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "failures.md"


def rows(title: str) -> list[list[str]]:
    section = PAGE.read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_each_failure_and_each_attack_has_a_test() -> None:
    failures, attacks = rows("What has gone wrong in real systems"), rows("What an adversary will try")
    assert len(failures) == 12
    assert len(attacks) >= 18
    for row in (*failures, *attacks):
        assert re.fullmatch(r"`tests/[\w/]+\.py::\w+`(, `tests/[\w/]+\.py::\w+`)*", row[2]), row[0]

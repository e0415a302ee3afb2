"""The documentation points at what exists: every relative link, every path and every test it names."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

LINK = re.compile(r"\]\(([^)\s]+)\)")
# A path in backquotes, from the root, perhaps with a test's name: `tests/protocol/test_order.py::test_round_trip`.
NAMED = re.compile(r"`((?:davy|docs|requirements|tests|training)/[\w./-]*\w/?)(?:::(\w+))?(?:\[[^`]*\])?`")


def broken(page: Path, text: str, root: Path) -> Iterator[str]:
    for target in LINK.findall(text):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        aim = (page.parent / path) if path else page
        if path and not aim.exists():
            yield f"{target} leads nowhere"
        elif (
            anchor and aim.suffix == ".md" and anchor not in anchors(aim.read_text(encoding="utf-8") if path else text)
        ):
            yield f"{target}: no such heading"
    for path, test in NAMED.findall(text):
        if not (root / path).exists():
            yield f"{path} does not exist"
        elif test and not re.search(rf"(def|class) {test}\b", (root / path).read_text(encoding="utf-8")):
            yield f"{path} has no {test}"


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings as a forge makes them: lower case, hyphens for spaces, no punctuation."""
    headings = re.findall(r"^#+ +(.*?)\s*$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_points_at_what_exists(root: Path, kept: list[Path]) -> None:
    pages = [p for p in kept if p.suffix == ".md"]
    assert pages
    # The log tells of what once was.
    faults = [
        f"{page.relative_to(root)}: {fault}"
        for page in pages
        if page.relative_to(root) != Path("docs/log.md")
        for fault in broken(page, page.read_text(encoding="utf-8"), root)
    ]
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[a](nowhere.md)", "nowhere.md leads nowhere"),
        ("# Here\n[a](#there)", "#there: no such heading"),
        ("[a](other.md#there)", "other.md#there: no such heading"),
        ("`tests/test_gone.py`", "tests/test_gone.py does not exist"),
        ("`tests/test_a.py::test_gone`", "tests/test_a.py has no test_gone"),
    ],
)
def test_a_false_pointer_is_seen(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text("def test_here(): ...")
    (tmp_path / "other.md").write_text("# Here, too")
    good = "# A Page\n[a](#a-page) [b](other.md#here-too) [c](https://example.org/x) `tests/test_a.py::test_here`"
    assert list(broken(tmp_path / "page.md", good, tmp_path)) == []
    assert list(broken(tmp_path / "page.md", text, tmp_path)) == [fault]

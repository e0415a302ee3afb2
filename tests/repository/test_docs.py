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


def rooms(root: Path) -> list[Path]:
    """Every package of davy below the first."""
    return sorted(p.parent for p in (root / "davy").glob("*/**/__init__.py"))


def unsaid(room: Path) -> list[str]:
    """Return the modules and packages of a room that its `__init__` does not name in quotes of any kind."""
    text = (room / "__init__.py").read_text(encoding="utf-8")
    inside = {p.stem for p in room.glob("*.py")} | {p.parent.name for p in room.glob("*/__init__.py")}
    return sorted(inside - {"__init__", "__main__"} - set(re.findall(r"[`\"](\w+)[`\"]", text)))


def test_every_room_says_what_each_of_its_modules_is(root: Path) -> None:
    assert len(rooms(root)) > 20
    assert {str(room.relative_to(root)): left for room in rooms(root) if (left := unsaid(room))} == {}


def test_a_module_that_its_room_leaves_out_is_seen(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("told", "kept_back", "inner/__init__"):
        (tmp_path / f"{name}.py").touch()
    (tmp_path / "__init__.py").write_text('"""`told`: all there is."""')
    assert unsaid(tmp_path) == ["inner", "kept_back"]


def unreached(pages: dict[Path, str], start: Path) -> set[Path]:
    """Return the pages to which no chain of links leads from the first one."""
    seen, waiting = {start}, [start]
    while waiting:
        page = waiting.pop()
        for target in LINK.findall(pages[page]):
            aim = (page.parent / target.partition("#")[0]).resolve()
            aim = aim / "README.md" if aim.is_dir() else aim
            if aim in pages and aim not in seen:
                seen.add(aim)
                waiting.append(aim)
    return set(pages) - seen


def test_every_page_is_reached_from_the_first(root: Path, kept: list[Path]) -> None:
    pages = {p: p.read_text(encoding="utf-8") for p in kept if p.suffix == ".md" and "tests" not in p.parts}
    assert unreached(pages, root / "README.md") == set()


def test_a_page_without_a_link_to_it_is_seen(tmp_path: Path) -> None:
    first, linked, alone = tmp_path / "README.md", tmp_path / "a.md", tmp_path / "b.md"
    pages = {first: "[a](a.md#here)", linked: "[back](README.md)", alone: "[first](README.md)"}
    assert unreached(pages, first) == {alone}


def test_every_invariant_has_a_number_of_its_own(root: Path) -> None:
    numbers = re.findall(r"^\| ([A-Z]\d+) \|", (root / "docs/invariants.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(numbers) > 50
    assert sorted(numbers) == sorted(set(numbers))

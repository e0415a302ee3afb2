"""What every notebook owes its reader. They are run by `make test`, under nbmake."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from davy.sims.metrics import METRICS

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "notebooks"
MOST = 250 << 10
"""Bytes of a picture."""
MOST_IN_ALL = 4 << 20
ALLOWED = {"__future__", "collections", "dataclasses", "davy", "matplotlib", "numpy", "polars"}


def loaded() -> Any:
    """notebooks/render.py, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("notebooks_render", ROOT / "notebooks" / "render.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["notebooks_render"] = module
    spec.loader.exec_module(module)
    return module


RENDER = loaded()
SCRIPTS: list[Path] = RENDER.scripts()
each = pytest.mark.parametrize("script", SCRIPTS, ids=[s.stem for s in SCRIPTS])


def test_there_are_eight_and_more_and_each_is_listed() -> None:
    assert len(SCRIPTS) >= 8
    listed = re.findall(
        r"^\d+\. \[[^\]]+\]\((\w+)\.md\)", (PAGES / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert listed == [s.stem for s in SCRIPTS]
    assert {p.stem for p in PAGES.glob("[0-9]*.md")} == set(listed)


@each
def test_it_imports_davy_sims_and_what_draws_and_nothing_else(script: Path) -> None:
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            assert name.split(".")[0] in ALLOWED
            assert not name.startswith("davy") or name.startswith("davy.sims")


@each
def test_it_opens_with_question_and_answer_and_ends_with_what_to_change(script: Path) -> None:
    cells = RENDER.read(script).cells
    said = [line for line in cells[0].source.splitlines()[1:] if line]
    assert cells[0].source.startswith("# ")
    assert said[0].startswith("*Question.* ")
    assert said[0].endswith("?")
    assert said[1].startswith("*Answer.* ")
    assert len(said) <= 3
    _, found, last = cells[-1].source.partition("## Change this, see that")
    assert found
    assert last.count("\n- ") >= 2


@each
def test_its_small_parameters_replace_ones_that_it_has(script: Path) -> None:
    notebook = RENDER.read(script)
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    had = {n.id for n in ast.walk(ast.parse(cell.source)) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    small = RENDER.small_values(notebook)
    assert small
    assert set(small) <= had
    count = len(notebook.cells)
    cells = RENDER.with_small(notebook).cells
    assert len(cells) == count + 1
    told: dict[str, Any] = {}
    exec(cells[cells.index(cell) + 1].source, told)
    assert {name: told[name] for name in small} == small


@each
def test_its_page_was_made_from_it_and_shows_pictures(script: Path) -> None:
    page = (PAGES / f"{script.stem}.md").read_text(encoding="utf-8")
    assert RENDER.digest(script) in page, f"run `make notebooks`, or notebooks/render.py {script.stem}"
    pictures = [PAGES / name for name in re.findall(r"!\[png\]\(([^)]+)\)", page)]
    assert pictures
    assert {p.name for p in PAGES.glob(f"{script.stem}-*")} == {p.name for p in pictures}
    assert max(p.stat().st_size for p in pictures) <= MOST


def test_the_quickstart_shows_every_metric_that_there_is() -> None:
    """A page is made anew when its script changes; whether the code behind it did, only what it prints tells."""
    page = (PAGES / "01_quickstart.md").read_text(encoding="utf-8")
    assert [name for name in METRICS if f"│ {name} " not in page] == []


def test_pages_stay_small() -> None:
    assert sum(p.stat().st_size for p in PAGES.iterdir()) <= MOST_IN_ALL

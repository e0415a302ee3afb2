"""Notebooks to run and pages to read, from the percent scripts of this folder.

    python notebooks/render.py                     every page, at full size, to docs/notebooks
    python notebooks/render.py 02_epoch            one of them
    python notebooks/render.py --small FOLDER      .ipynb with small parameters, for `pytest --nbmake FOLDER`

A script has one cell tagged `parameters`, whose metadata `small` says what to run in a test: a cell with these values
is put behind it, as papermill would. In a page, cells tagged `picture` show what they draw, and not how. A page ends
with the SHA-256 of the script that made it, so that a test sees which are old.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from traitlets.config import Config

HERE = Path(__file__).parent
PAGES = HERE.parent / "docs" / "notebooks"
TABLES = {"POLARS_TABLE_WIDTH": "110", "POLARS_FMT_MAX_ROWS": "24", "POLARS_FMT_STR_LEN": "60"}
"""How wide and long polars prints a table; kernels inherit it."""


def scripts() -> list[Path]:
    return sorted(HERE.glob("[0-9][0-9]_*.py"))


def digest(script: Path) -> str:
    return hashlib.sha256(script.read_bytes()).hexdigest()


def read(script: Path) -> Any:
    """A notebook of a script, for whatever Python runs this."""
    notebook = jupytext.read(script)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return notebook


def small_values(notebook: Any) -> Mapping[str, Any]:
    """What the cell tagged `parameters` says to run in a test."""
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    return cell.metadata["small"]


def with_small(notebook: Any) -> Any:
    """The notebook, with its small values put in a cell behind its parameters."""
    at = next(i for i, c in enumerate(notebook.cells) if "parameters" in c.metadata.get("tags", []))
    source = "\n".join(f"{name} = {value!r}" for name, value in small_values(notebook).items())
    injected = nbformat.v4.new_code_cell(source, metadata={"tags": ["injected-parameters"]})
    notebook.cells.insert(at + 1, injected)
    return notebook


def write_small(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.ipynb"):
        old.unlink()
    for script in scripts():
        nbformat.write(with_small(read(script)), folder / f"{script.stem}.ipynb")


def run(notebook: Any) -> Any:
    """The notebook with its outputs; raises nbclient's `CellExecutionError` where a cell does."""
    client: Any = NotebookClient(notebook, timeout=1800, startup_timeout=300, kernel_name="python3")
    client.execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("text/html", None)  # a table reads as well in plain text, on any code host
    return notebook


def pictures_only(notebook: Any) -> Any:
    """The notebook; of cells tagged `picture` only what they drew is left."""
    for cell in notebook.cells:
        if "picture" in cell.metadata.get("tags", []):
            cell.outputs = [o for o in cell.outputs if "image/png" in o.get("data", {})]
    return notebook


def page(script: Path) -> tuple[str, Mapping[str, bytes]]:
    """Markdown of a script at full size, and its pictures by name."""
    named = digest(script)  # of what is run, whatever is written into the script meanwhile
    notebook = pictures_only(run(read(script)))
    chosen = Config()
    chosen.TagRemovePreprocessor.enabled = True
    chosen.TagRemovePreprocessor.remove_input_tags = {"picture"}
    chosen.ExtractOutputPreprocessor.output_filename_template = script.stem + "-{cell_index}-{index}{extension}"
    exporter: Any = MarkdownExporter(config=chosen)
    text, resources = exporter.from_notebook_node(notebook)
    said = (
        f"\n*Made by `make notebooks` from [notebooks/{script.name}](../../notebooks/{script.name}).*\n\n"
        f"<!-- SHA-256 of the script: {named} -->\n"
    )
    lines = [line.rstrip() for line in (text.strip() + "\n" + said).splitlines()]
    kept = [line for i, line in enumerate(lines) if line or (i and lines[i - 1])]  # nbconvert leaves many empty ones
    return "\n".join(kept) + "\n", resources["outputs"]


def write_page(script: Path) -> None:
    began = perf_counter()
    text, pictures = page(script)
    PAGES.mkdir(parents=True, exist_ok=True)
    for old in PAGES.glob(f"{script.stem}*"):
        old.unlink()
    (PAGES / f"{script.stem}.md").write_text(text, encoding="utf-8")
    for name, content in pictures.items():
        (PAGES / name).write_bytes(content)
    size = sum(map(len, pictures.values())) >> 10
    print(f"{script.stem:24} {perf_counter() - began:6.1f} s, {len(pictures)} pictures, {size} KiB")


def main() -> None:
    asked = argparse.ArgumentParser(description="Run the notebooks and write their pages.")
    asked.add_argument("names", nargs="*", help="as in 02_epoch; all of them by default")
    asked.add_argument("--small", type=Path, metavar="FOLDER", help="write notebooks with small parameters instead")
    told = asked.parse_args()
    if told.small:
        write_small(told.small)
        return
    known = {script.stem: script for script in scripts()}
    if unknown := set(told.names) - set(known):
        sys.exit(f"there is no notebook {', '.join(sorted(unknown))}; there is {', '.join(known)}")
    os.environ.update(TABLES)
    for name in told.names or known:
        write_page(known[name])


if __name__ == "__main__":
    main()

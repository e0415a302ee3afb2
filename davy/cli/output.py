"""How answers look: JSON for programs, aligned words for people."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import click
import msgspec

_LEAST: Final = 20
"""Columns of a terminal in which the last column of a table may still be wrapped."""


def show(value: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one record."""
    if as_json:
        click.echo(msgspec.json.encode(value))
        return
    width = max((len(k) for k in value), default=0)
    for key, item in value.items():
        click.echo(f"{key:<{width}}  {in_words(item) or 'none'}")


def show_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, as_json: bool, title: str = "") -> None:
    """Print records of one kind: JSON with every field, or a table of `columns`.

    On a terminal the last column is wrapped between words. No other is, and none is cut short: where even so they do
    not fit, the terminal wraps the lines.
    """
    if as_json:
        click.echo(msgspec.json.encode(list(rows)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if title:  # not the table's own, which is wrapped at its width
        click.echo(title)
    # No markup: much of it is others' words.
    cells = [[Text(in_words(row[c])) for c in columns] for row in rows]
    table = Table(box=None, pad_edge=False)
    fixed = 0
    for i, name in enumerate(columns[:-1]):
        width = max(Text(name).cell_len, *(row[i].cell_len for row in cells), 0)
        table.add_column(name, min_width=width, no_wrap=True)
        fixed += width + 2
    table.add_column(columns[-1], overflow="fold")
    for row in cells:
        table.add_row(*row)
    console = Console()
    if console.is_terminal and console.width >= fixed + _LEAST:
        console.print(table)
        return
    whole = fixed + max(Text(columns[-1]).cell_len, *(row[-1].cell_len for row in cells), 0)
    plain = Console(file=io.StringIO(), width=whole)
    plain.print(table)
    for line in cast("io.StringIO", plain.file).getvalue().splitlines():
        click.echo(line.rstrip())


def in_words(value: object) -> str:
    """A value as a person reads it, not as Python writes it."""
    match value:
        case True | False:
            return "yes" if value else "no"
        case Mapping():
            pairs = cast("Mapping[object, object]", value).items()
            return ", ".join(f"{k} {_within(v)}" for k, v in pairs) or "none"
        case list() | tuple():
            return ", ".join(map(_within, cast("Sequence[object]", value))) or "none"
        case None:
            return "none"
        case _:
            return str(value)


def _within(value: object) -> str:
    told = in_words(value)
    return f"({told})" if isinstance(value, (Mapping, list, tuple)) and told != "none" else told

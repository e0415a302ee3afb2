"""How answers look: JSON for programs, aligned words for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec


def show(value: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one record."""
    if as_json:
        click.echo(msgspec.json.encode(value))
        return
    width = max((len(k) for k in value), default=0)
    for key, item in value.items():
        click.echo(f"{key:<{width}}  {item}")


def show_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, as_json: bool, title: str = "") -> None:
    """Print records of one kind: JSON with every field, or a table of `columns`."""
    if as_json:
        click.echo(msgspec.json.encode(list(rows)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if title:  # not the table's own, which is wrapped at its width
        click.echo(title)
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(str(row[c])) for c in columns))  # no markup: much of it is others' words
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)

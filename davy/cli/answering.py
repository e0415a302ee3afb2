"""`davy keyholder pending | sign | refuse | carry`: what waits for a keyholder's word, asked of its running process.

People type these in a hurry: nothing is imported here that only the process itself needs.
"""

from __future__ import annotations

from pathlib import Path

import click

from davy.cli.loop import run
from davy.cli.options import Term, at_terminal, home_option, json_option, yes_option
from davy.cli.output import show, show_table
from davy.host.files import read_bounded, write_new
from davy.host.home import Home
from davy.keyholders import control
from davy.keyholders.control import Shown
from davy.keyholders.sheets import MAX_SHEET_CHARS
from davy.killswitch.clocks import moment
from davy.protocol.errors import Malformed, Misconfigured


@click.command()
@home_option
@json_option
@click.option("--wait", type=Term(), default=0, help="Wait up to this long for something, 30m for instance.")
def pending(home: Path, as_json: bool, wait: int) -> None:
    """Show what waits for your yes or no, as the running `davy keyholder serve` sees it."""
    waiting = run(control.pending, Home.open(home).control, patience=wait / 1000)
    if as_json:
        show_table((), [_row(m) for m in waiting], as_json=True)
        return
    for m in waiting:
        click.echo(f"{m.screen}\n  `davy keyholder sign {m.id[:16]}` until {moment(m.expires)}\n")
    if not waiting:
        click.echo("nothing waits")


@click.command()
@home_option
@json_option
@yes_option
@click.argument("id")
def sign(home: Path, as_json: bool, yes: bool, id: str) -> None:
    """Say yes to the proposal whose id begins with ID, after it was shown to you."""
    path = Home.open(home).control
    found = [m for m in run(control.pending, path) if len(id) >= 8 and m.id.startswith(id.lower())]
    if len(found) != 1:  # nothing was shown, so nothing can be agreed to, whatever arrives meanwhile
        raise Malformed(f"{len(found)} proposals wait here whose id begins so; `davy keyholder pending` lists them")
    click.echo(found[0].screen, err=True)
    if not yes:
        if not at_terminal():
            raise Misconfigured("nobody is there to confirm; run this in a terminal, or add --yes")
        click.confirm("Sign this?", abort=True, err=True)
    # What is signed is what was shown, in full: an id typed short could meet another proposal by then.
    shown = run(control.decide, path, found[0].id, yes=True)
    show({"id": shown.id, "said": "yes"}, as_json=as_json)


@click.command()
@home_option
@json_option
@click.argument("sheet", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="New file for the answer; printed by default.")
def carry(home: Path, as_json: bool, sheet: Path, out: Path | None) -> None:
    """Answer a SHEET that was carried here from a keyholder without a network, through your running `serve`.

    It waits until you have said yes or no there, or by `davy keyholder sign`.
    """
    if out is not None and out.exists():
        raise Misconfigured(f"{out} exists already and is never overwritten; choose another --out")
    try:
        text = read_bounded(sheet, MAX_SHEET_CHARS).decode()
    except UnicodeDecodeError:
        raise Misconfigured(f"{sheet} is not a sheet; copy the text that the other keyholder's command wrote") from None
    back = run(control.carry, Home.open(home).control, text)
    if out is not None:
        write_new(out, back.encode())
    if as_json:
        show({"answer": back} if out is None else {"answer": back, "out": str(out)}, as_json=True)
    elif out is None:
        click.echo(back, nl=False)


@click.command()
@home_option
@json_option
@click.argument("id")
def refuse(home: Path, as_json: bool, id: str) -> None:
    """Say no to the proposal whose id begins with ID."""
    shown = run(control.decide, Home.open(home).control, id, yes=False)
    show({"id": shown.id, "said": "no"}, as_json=as_json)


def _row(m: Shown) -> dict[str, object]:
    return {"id": m.id, "kind": m.kind, "asked_by": m.sender, "expires": m.expires, "screen": m.screen}

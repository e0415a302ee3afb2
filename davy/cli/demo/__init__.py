"""`davy demo`: a whole market, a halt of one of its models, and what must hold of both.

==============  ============================================================================
`cast`          who plays what
`stage`         real processes; `chain`, `nodes`, `council` the words they are started with
`play`          the first half: the market; `relay` a second run without the brake
`braking`       the second half: accused, halted, lifted
`users`         who only sends prompts; `prober` an outsider who asks nodes directly
`claims`        what must hold of the market, `brake_claims` of the halt
`sabotage`      what each claim rests on, switched off
`live`          what is drawn, `report` what stays
==============  ============================================================================

The demo knows davy's client side only: it sees what anybody could see.
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import anyio
import click

from davy.cli.demo.brake_claims import check_brake
from davy.cli.demo.braking import Braking
from davy.cli.demo.cast import deal
from davy.cli.demo.claims import Claim, check, nearness
from davy.cli.demo.council import Council
from davy.cli.demo.live import Show
from davy.cli.demo.nodes import Nodes, Work
from davy.cli.demo.play import Plan, Told, market, on_stage
from davy.cli.demo.relay import play_open_access
from davy.cli.demo.report import Report, as_html, as_json
from davy.cli.demo.sabotage import SABOTAGE, changes_of
from davy.protocol.errors import Misconfigured


class Wish(NamedTuple):
    """What is to be played, and how."""

    seed: int
    fast: bool
    report: Path
    keep: bool
    quiet: bool
    engine: bool
    sabotage: str | None


@click.command("demo")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Deals the roles.")
@click.option("--seeds", type=click.IntRange(1, 1_000), help="Play this many seeds, from --seed on.")
@click.option("--fast", is_flag=True, help="Leave the second run out.")
@click.option("--report", type=click.Path(path_type=Path), default=Path("davy-demo"), help="Folder for the report.")
@click.option("--keep", is_flag=True, help="Keep homes and logs in the report's folder.")
@click.option("--quiet", is_flag=True, help="No live view.")
@click.option("--json", "as_json_", is_flag=True, help="Print the report as JSON.")
@click.option(
    "--engine",
    type=click.Choice(("embedded", "cometbft")),
    default="embedded",
    show_default=True,
    help="Who makes the blocks: one process, or four producers ($DAVY_ENGINE).",
)
@click.option("--sabotage", type=click.Choice(sorted(SABOTAGE)), help="Switch one cause off: its claim must fail.")
def demo_command(
    seed: int,
    seeds: int | None,
    fast: bool,
    report: Path,
    keep: bool,
    quiet: bool,
    as_json_: bool,
    engine: str,
    sabotage: str | None,
) -> int:
    """Run a market, then halt one of its models: seventeen processes, five of them cheats.

    Eight miners, three validators, a ledger, a gateway and its users, five keyholders. Exit code 1 if a claim fails.
    """
    numbers = range(seed, seed + (seeds or 1))
    _prepare(report, [f"seed-{n}{run}" for n in numbers for run in ("", "-open")] if keep else [])
    failed = 0
    claims: list[tuple[int, Claim]] = []
    for number in numbers:
        wish = Wish(number, fast, report, keep, quiet, engine == "cometbft", sabotage)
        told = anyio.run(_ended_with_all, partial(_play, wish))
        _write(report, told, as_json_)
        failed += any(not c.holds for c in told.claims)
        claims += [(number, c) for c in told.claims]
    if seeds:
        number, claim = min(claims, key=lambda c: nearness(c[1]))
        click.echo(f"{seeds - failed} of {seeds} seeds hold")
        click.echo(f"the weakest margin is {claim.margin:.4g}: {claim.name}, seed {number}")
    return 1 if failed else 0


async def _ended_with_all(play: Callable[[], Awaitable[Report]]) -> Report:
    """Play; SIGTERM ends every process that was started before this one, as Ctrl-C does."""
    told: list[Report] = []
    async with anyio.create_task_group() as tasks:

        async def all_of_it() -> None:
            told.append(await play())
            tasks.cancel_scope.cancel()

        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            tasks.start_soon(all_of_it)
            async for _ in signals:
                tasks.cancel_scope.cancel()
    if not told:
        raise SystemExit(128 + signal.SIGTERM)
    return told[0]


async def _play(w: Wish) -> Report:
    cast = deal(w.seed)
    cause = SABOTAGE[w.sabotage] if w.sabotage else None
    root = w.report / f"seed-{w.seed}" if w.keep else Path(tempfile.mkdtemp(prefix="davy-demo-"))
    with Show(cast, quiet=w.quiet) as show:
        told = Told(show)
        async with on_stage(root, keep=w.keep) as stage:
            work = Work(sealed=cause.sealed if cause else "")
            nodes = Nodes(stage, cast, work, changes_of(cause, cast), engine=w.engine)
            council = Council(stage)
            async with market(nodes, Plan(), show, told, council) as opened:
                async with told.phase("the market runs"):
                    facts = await opened.play()
                async with told.phase("a model is halted and lifted"):
                    by_book = not (cause and cause.no_book)
                    brake = await Braking(opened, council, opened.gateway_users(), by_book=by_book).play()
            peak = stage.peak_bytes
        relay: dict[str, float] = {}
        if not w.fast and not w.sabotage:
            async with on_stage(root.with_name(f"{root.name}-open"), keep=w.keep) as stage:
                relay = await play_open_access(stage, show, told)
    claims = [*check(facts), *check_brake(brake)]
    return Report(w.seed, cast, claims, told.phases, peak, brake.records, facts.sealed_uids, told.news, relay)


def _prepare(folder: Path, kept: Sequence[str]) -> None:
    """See before the run that the report can be written after it, and that there is room for what is to be kept."""
    if found := next((folder / name for name in kept if (folder / name).exists()), None):
        raise Misconfigured(f"{found} is kept from an earlier run; choose another --report")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as e:
        raise Misconfigured(f"cannot write the report to {folder} ({e.strerror}); choose another --report") from None


def _write(folder: Path, told: Report, as_json_: bool) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"demo-{told.seed}.json").write_bytes(as_json(told))
        (folder / f"demo-{told.seed}.html").write_text(as_html(told))
    except OSError as e:
        raise Misconfigured(f"cannot write the report to {folder} ({e.strerror}); choose another --report") from None
    if as_json_:
        click.echo(as_json(told))
        return
    for claim in told.claims:
        click.echo(f"{'holds' if claim.holds else 'FAILS'}  {claim.sentence}  (margin {claim.margin:.4g})")
    for name, seconds in told.phases.items():
        click.echo(f"{seconds:7.1f} s  {name}")
    if told.relay:
        click.echo(
            f"with one good miner open to all, a relay earns {told.relay['relay']:.2f} of a good miner's pay, and its "
            f"victim keeps {told.relay['victim']:.2f} of it"
        )
    click.echo(f"at most {told.peak_bytes / 2**30:.1f} GiB; report: {folder / f'demo-{told.seed}.html'}")

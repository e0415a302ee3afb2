"""`davy sim`: attacks on the incentive, played on the very code that pays on a ledger."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from davy.cli.later import Whole
from davy.cli.options import Place, json_option, netuid_option
from davy.cli.output import show, show_table
from davy.protocol.errors import Misconfigured

if TYPE_CHECKING:
    from davy.sims.kinds import Experiment
    from davy.sims.result import Result


@click.group("sim", cls=Whole)
def sim_command() -> None:
    """Play attacks on the incentive, and report what they earn, cost and hurt."""


@sim_command.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the scenarios by name, each with its story."""
    _needed()
    from davy.sims.catalogue import scenarios, studies

    told = {name: (s.attack.story, s.parameters()) for name, s in scenarios().items()}
    told |= {name: (s.story, s.parameters()) for name, s in studies().items()}
    rows = [{"name": name, "story": story, "parameters": parameters} for name, (story, parameters) in told.items()]
    if as_json:
        show_table((), rows, as_json=True)
        return
    for row in rows:
        click.echo(f"{row['name']}\n    {str(row['story']).split('. ')[0].rstrip('.')}.")


@sim_command.command("run")
@click.argument("name")
@click.option("--set", "changes", multiple=True, metavar="K=V", help="Set a parameter; may be repeated.")
@click.option(
    "--sweep", "swept", multiple=True, metavar="K=V,V", help="Play each of these values, in every combination."
)
@click.option("--from", "source", metavar="URL|FILE", help="Begin with a running network: its ledger, or a snapshot.")
@netuid_option
@click.option("--colluding", default="", metavar="UID,UID", help="Who attacks, in a network given by --from.")
@click.option("--jobs", default=1, show_default=True, help="Processes; -1 for all cores.")
@click.option("--cluster", metavar="ADDRESS", help="Play on the workers of this Dask scheduler instead.")
@click.option("--compiled", is_flag=True, help="Compile the incentive first (numba): same numbers, faster sweeps.")
@click.option("--folder", type=Place(), help="Keep finished chunks here, and resume from those that exist.")
@click.option("--table", "place", type=Place(), help="Write one row per run here, .parquet or .csv.")
@json_option
def run_command(
    name: str, changes: tuple[str, ...], swept: tuple[str, ...], source: str | None, netuid: int, colluding: str,
    jobs: int, cluster: str | None, compiled: bool, folder: Path | None, place: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Play a scenario, and show what the attack earned, cost and hurt.

    Same parameters, same seed, same numbers, on any number of processes. `davy sim list --json` has all parameters.
    """
    _needed()
    if compiled:
        _needed("numba", extra="fast")
    from davy.sims.catalogue import experiment
    from davy.sims.result import check_place, joined, write
    from davy.sims.running import sweep

    if place is not None:
        check_place(place)
    s = experiment(name)
    if source is not None:
        s = _running(s, source, netuid, colluding)
    elif colluding:
        raise Misconfigured("--colluding names UIDs of a network; say of which with --from URL")
    told = _pairs((*changes, *swept))
    s = s.having({k: told[k] for k, _ in map(_pair, changes)})
    over = {k: told[k].split(",") for k, _ in map(_pair, swept)}
    results = sweep(s, over, jobs=jobs, folder=folder, progress=not as_json, compiled=compiled, cluster=cluster)
    if place is not None:
        write(joined(results), place)
    _report(results, list(over), as_json=as_json)


@sim_command.command("snapshot")
@click.argument("url")
@click.argument("place", metavar="FILE", type=Place())
@netuid_option
@json_option
def snapshot_command(url: str, place: Path, netuid: int, as_json: bool) -> None:
    """Keep a subnet's stakes, weights and rules as they are now, for `davy sim run --from FILE`."""
    _needed()
    from davy.sims.snapshot import take_snapshot, write_snapshot

    s = take_snapshot(url, netuid)
    write_snapshot(s, place)
    if as_json:
        kept = {"netuid": netuid, "height": s.graph.height, "neurons": len(s.graph.neurons), "file": str(place)}
        show(kept, as_json=True)
    else:
        click.echo(f"subnet {netuid} after block {s.graph.height}: {len(s.graph.neurons)} neurons, in {place}")


@sim_command.command("report")
@click.argument("folder", type=Place())
@click.option("--table", "place", type=Place(), help="Write one row per run here, .parquet or .csv.")
@json_option
def report_command(folder: Path, place: Path | None, as_json: bool) -> None:
    """Show what a folder of `davy sim run --folder` holds, finished or not."""
    _needed()
    from davy.sims.result import check_place, joined, write
    from davy.sims.running import read

    if place is not None:
        check_place(place)
    results = read(folder)
    if place is not None:
        write(joined(results), place)
    kinds: dict[str, list[Result[Any]]] = {}
    for r in results:
        kinds.setdefault(str(r.scenario.parameters()["attack.kind"]), []).append(r)
    for each in [results] if as_json else kinds.values():
        _report(each, _differing(each), as_json=as_json)


@sim_command.command("compare")
@click.argument("names", nargs=-1, required=True)
@click.option("--set", "changes", multiple=True, metavar="K=V", help="Set a parameter; may be repeated.")
@click.option(
    "--mechanisms",
    default="yuma3,correlated,audited",
    show_default=True,
    help="Mechanisms; gains are over the first one.",
)
@click.option("--table", "place", type=Place(), help="Write one row per scenario and mechanism, .parquet or .csv.")
@click.option("--markdown", is_flag=True, help="Print one line per scenario, as in docs/peer-prediction.md.")
@json_option
def compare_command(
    names: tuple[str, ...], changes: tuple[str, ...], mechanisms: str, place: Path | None, markdown: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Play scenarios under several mechanisms, with the same draws: attackers' pay, and the ranking of miners.

    Means over runs, and their standard errors. docs/peer-prediction.md says what is measured.
    """
    _needed()
    from davy.sims.catalogue import scenario
    from davy.sims.comparing import MEASURES, compare, page, table
    from davy.sims.result import check_place, write

    if place is not None:
        check_place(place)
    told = _pairs(changes)
    chosen = mechanisms.split(",")
    scenarios = [scenario(name).having(told) for name in names]
    for mechanism in chosen:  # before the first of them is played
        scenarios[0].having({"mechanism": mechanism})
    found = [c for s in scenarios for c in compare(s, chosen)]
    if place is not None:
        write(table(found), place)
    if markdown and not as_json:
        click.echo(page(found))
        return
    rows = [c.row() for c in found]
    if as_json:
        show_table((), [{k: None if v != v else v for k, v in row.items()} for row in rows], as_json=True)
        return
    words = [
        {"attack": row["attack"], "mechanism": row["mechanism"]}
        | {m: "–" if row[m] != row[m] else f"{row[m]:.3f} ±{row[f'{m}_error']:.3f}" for m in MEASURES}
        for row in rows
    ]
    show_table(("attack", "mechanism", *MEASURES), words, as_json=False, title=f"{found[0].scenario.runs} runs")


def _running(s: Experiment, source: str, netuid: int, colluding: str) -> Experiment:
    from davy.sims.experiment import Scenario

    if not isinstance(s, Scenario):
        raise Misconfigured("a study is of no running network; --from goes with a scenario (davy sim list)")
    uids = [u.strip() for u in colluding.split(",") if u.strip()]
    if not all(u.isascii() and u.isdigit() and len(u) <= 5 for u in uids):
        raise Misconfigured(f"'{colluding[:64]}' are no UIDs; write them as 3,5,7")
    return Scenario.from_ledger(source, s.attack, netuid=netuid, colluding=[int(u) for u in uids])


def _needed(*names: str, extra: str = "sims") -> None:
    """Say what to install, before the first import of it fails."""
    from importlib.util import find_spec

    missing = [name for name in names or ("joblib", "polars") if find_spec(name) is None]
    if missing:
        raise Misconfigured(f"this needs {' and '.join(missing)}: pip install 'davy[{extra}]'")


def _pair(words: str) -> tuple[str, str]:
    key, equals, value = words.partition("=")
    if not equals or not key:
        raise Misconfigured(f"'{words[:64]}' is no K=V; write for instance attack.stake=0.4")
    return key, value


def _pairs(given: Iterable[str]) -> dict[str, str]:
    """Of several K=V; nobody who names one twice knows which of them counts."""
    found: dict[str, str] = {}
    for key, value in map(_pair, given):
        if key in found:
            raise Misconfigured(f"'{key[:64]}' is given twice; name it once, or --sweep {key[:64]}=V,V")
        found[key] = value
    return found


def _differing(results: list[Result[Any]]) -> list[str]:
    """Parameters that are not the same in all scenarios."""
    told = [r.scenario.parameters() for r in results]
    return [name for name in told[0] if name != "runs" and len({t.get(name) for t in told}) > 1]


def _report(results: list[Result[Any]], varied: list[str], *, as_json: bool) -> None:
    rows: list[dict[str, Any]] = []
    for r in results:
        told = r.scenario.parameters()
        for row in r.summary().to_dicts():
            at = {k: told.get(k, "") for k in varied}
            rows.append({**at, **row} if not as_json else {**row, "parameters": told})
    if as_json:
        show_table((), [{k: _finite(v) for k, v in row.items()} for row in rows], as_json=True)
        return
    told = results[0].scenario.parameters()
    title = f"{told['attack.kind']}: seed {told['seed']}, {results[0].numbers.shape[2]} steps, davy {told['davy']}"
    words = [{k: _word(v) for k, v in row.items()} for row in rows]
    show_table((*varied, "metric", "median", "low", "high", "runs", "unit"), words, as_json=False, title=title)


def _finite(value: Any) -> Any:
    return str(value) if isinstance(value, float) and value in (float("inf"), float("-inf")) else value


def _word(value: Any) -> Any:
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else value

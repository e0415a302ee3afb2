"""What a scenario came to: integer arrays, runs on axis 0, and tidy tables of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, Generic

import msgspec
import numpy as np
import polars as pl

from davy.incentive.fixed_point import Int64
from davy.protocol.errors import Misconfigured
from davy.sims.kinds import Experiment, Kind, columns_of, defined, measured, steps_of
from davy.sims.metrics import Float
from davy.sims.play import ARMS


@dataclass(frozen=True)
class Result(Generic[Kind]):
    """Runs of a scenario, or of a study.

    Attributes
    ----------
    scenario
        With its seed; `scenario.parameters()` has the version too.
    runs : int64 [R]
        Numbers of the runs, rising.
    numbers : int64 [2, R, epochs, columns]
        Arms as `play.ARMS`, columns as `play.COLUMNS`, or the study's.
    """

    scenario: Kind
    runs: Int64
    numbers: Int64

    @cached_property
    def arrays(self) -> Mapping[str, Int64]:
        """`honest.NAME` and `attack.NAME`, [R, epochs], for each name of `play.COLUMNS`, or the study's."""
        names = columns_of(self.scenario)
        return {f"{arm}.{n}": self.numbers[a, :, :, c] for a, arm in enumerate(ARMS) for c, n in enumerate(names)}

    @cached_property
    def metrics(self) -> Mapping[str, Float]:
        """Each of `metrics.METRICS`, or of the study's, [R]."""
        return measured(self.scenario, self.arrays)

    def table(self) -> pl.DataFrame:
        """A row a run: its number, the metrics, and every parameter."""
        columns: dict[str, Any] = {"run": self.runs, **self.metrics}
        told = self.scenario.parameters()
        return pl.DataFrame(columns).with_columns(**{name: pl.lit(value) for name, value in told.items()})

    def by_epoch(self) -> pl.DataFrame:
        """A row a run and epoch, all integers: what `table` is computed from."""
        count, epochs = self.numbers.shape[1:3]
        columns: dict[str, Any] = {"run": np.repeat(self.runs, epochs), "epoch": np.tile(_epochs(epochs), count)}
        return pl.DataFrame(columns | {name: values.reshape(-1) for name, values in self.arrays.items()})

    def summary(self) -> pl.DataFrame:
        """A row a metric: its median over runs, and what nine of ten runs lie between."""
        rows: list[dict[str, Any]] = []
        for name, (unit, meaning) in defined(self.scenario).items():
            values = self.metrics[name]
            known = np.sort(values[~np.isnan(values)])
            low, middle, high = (_quantile(known, q) for q in (0.05, 0.5, 0.95))
            told = {"median": middle, "low": low, "high": high, "runs": len(known)}
            rows.append({"metric": name, **told, "unit": unit, "meaning": meaning})
        return pl.DataFrame(rows, schema_overrides=dict.fromkeys(("low", "median", "high"), pl.Float64))

    def write(self, place: Path) -> None:
        """`table` as Parquet or CSV, by the ending of the name.

        Raises
        ------
        Misconfigured
            What `check_place` says.
        """
        write(self.table(), place)


def write(table: pl.DataFrame, place: Path) -> None:
    """Write a table as Parquet or CSV, by the ending of the name: all of it, or nothing.

    Raises
    ------
    Misconfigured
        What `check_place` says.
    OSError
        The disk is full, or will not have it.
    """
    beside = check_place(place).with_name(f".{place.name}.{os.getpid()}")
    made = BytesIO()  # not into the file: of a full disk polars says that the table is malformed
    if place.suffix == ".parquet":
        table.write_parquet(made)
    else:
        table.write_csv(made)
    try:
        with beside.open("wb") as f:
            f.write(made.getbuffer())
            f.flush()
            os.fsync(f.fileno())
        beside.replace(place)
    except OSError as e:
        beside.unlink(missing_ok=True)
        raise OSError(e.errno, e.strerror, str(place)) from e


def check_place(place: Path) -> Path:
    """A place for a table, asked before hours of work are spent.

    Raises
    ------
    Misconfigured
        Its name ends in neither .parquet nor .csv, it is a folder, or there is no folder for it.
    """
    if place.suffix not in (".parquet", ".csv"):
        raise Misconfigured(f"'{place.name}' ends in neither .parquet nor .csv; name it so")
    if place.is_dir():
        raise Misconfigured(f"{place} is a folder; name a file")
    if not place.parent.is_dir():
        raise Misconfigured(f"there is no folder {place.parent} for {place.name}; make it first")
    return place


def joined(results: Iterable[Result[Any]]) -> pl.DataFrame:
    """The tables of several scenarios, one under the other; a parameter that one of them lacks is empty there."""
    return pl.concat([r.table() for r in results], how="diagonal")


def _quantile(known: Float, q: float) -> float | None:
    """By nearest rank, so that infinite values do no harm."""
    return float(known[round(q * (len(known) - 1))]) if len(known) else None


def _epochs(count: int) -> Int64:
    return np.arange(count, dtype=np.int64)


def chunk_table(s: Experiment, runs: range, numbers: Int64) -> pl.DataFrame:
    """A finished chunk as it is kept: integers only."""
    _, count, epochs, _ = numbers.shape
    names = [f"{arm}.{name}" for arm in ARMS for name in columns_of(s)]
    flat = np.moveaxis(numbers, 0, -2).reshape(count * epochs, len(names))
    columns: dict[str, Any] = {"run": np.repeat(np.array(runs, dtype=np.int64), epochs)}
    columns["epoch"] = np.tile(_epochs(epochs), count)
    return pl.DataFrame(columns | {name: flat[:, i] for i, name in enumerate(names)})


def chunk_numbers(s: Experiment, table: pl.DataFrame, runs: range) -> Int64:
    """What `chunk_table` kept.

    Raises
    ------
    Misconfigured
        It is not of these runs, epochs and columns.
    """
    shape = (len(runs), steps_of(s), len(ARMS), len(columns_of(s)))
    wanted = chunk_table(s, runs, np.moveaxis(np.zeros(shape, dtype=np.int64), 2, 0))
    keys = ["run", "epoch"]
    if table.schema != wanted.schema or not table.select(keys).equals(wanted.select(keys)):
        raise Misconfigured("a chunk holds other runs or columns than its name says; remove it")
    flat = table.drop(keys).to_numpy().reshape(shape)
    return np.moveaxis(flat, 2, 0)


def parameters_json(s: Experiment) -> bytes:
    return msgspec.json.format(msgspec.json.encode(s.parameters()))

"""A scenario as a file: which faults befall how many producers, and what they must still do meanwhile."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

FOLDER = Path(__file__).with_name("manifests")


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One perturbation; whom it befalls is drawn by the seed."""

    fault: Literal[
        "kill", "kill-engine", "pause", "restart", "replay", "resync", "cut-off", "split",
        "skew", "skew-most", "slow", "late", "lie", "wrong-chunks", "diverge", "vote-twice", "kill-node", "kill-pair",
    ]  # fmt: skip
    whom: Annotated[int, Meta(ge=1, le=3)] = 1
    blocks: Annotated[int, Meta(ge=0, le=100)] = 3
    """That the others make before it is over; with two of four away there are none."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Steps in order; `nightly` counts how often one is played for each time another one is."""

    about: str
    namespaces: bool
    """Each producer in a network of its own, which can be cut off."""
    steps: Annotated[list[Step], Meta(min_length=1)]
    nightly: Annotated[int, Meta(ge=0, le=10)] = 1
    skewed: bool = False
    """An engine with another clock is needed (`tests.faults.skewed_engine`)."""
    hostile: bool = False
    """Some act against the others (`tests.faults.hostile`)."""


def read(name: str) -> Manifest:
    """The manifest of a name."""
    return msgspec.convert(tomllib.loads((FOLDER / f"{name}.toml").read_text()), Manifest)


def names() -> list[str]:
    """Of all manifests, sorted."""
    return sorted(p.stem for p in FOLDER.glob("*.toml"))


def nightly_turn() -> list[str]:
    """The manifests of one nightly turn, in the order of play: each comes once before any comes again."""
    nightly = {name: read(name).nightly for name in names()}
    return [name for nth in range(max(nightly.values())) for name in names() if nth < nightly[name]]

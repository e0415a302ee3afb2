"""The incentive of another checkout of davy, beside this one's in one process."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from davy.incentive.mechanism import Params


class Older(NamedTuple):
    """What `bench.incentive` times of it; its parameters are of its own class."""

    reference: Any
    compiled: Any
    on_threads: Any
    params: Any


_imported: dict[Path, dict[str, ModuleType]] = {}


def _take_davy() -> dict[str, ModuleType]:
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name == "davy" or name.startswith("davy.")}


@contextmanager
def imported_from(folder: Path) -> Iterator[None]:
    """Within, davy is the one there. It is imported, and so compiled, once."""
    ours = _take_davy()
    sys.modules.update(_imported.get(folder, {}))
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        _imported[folder] = _take_davy()
        sys.modules.update(ours)


def older(folder: Path, name: str, p: Params, across: Callable[..., Any], parts: int) -> Older:
    """The mechanism of that name there, with parameters of the same values."""
    with imported_from(folder):
        theirs = importlib.import_module("davy.incentive.mechanism")
        found = Path(str(theirs.__file__)).resolve()
        if not found.is_relative_to(folder.resolve()):
            raise SystemExit(f"{folder} holds no davy: it must be a checkout, with the folder davy in it")
        form = importlib.import_module("davy.incentive.fixed_point").BondFormat(int(p.bond_format))
        values = {f.name: getattr(p, f.name) for f in fields(theirs.Params)}
        accelerated = importlib.import_module("davy.incentive.accelerated").accelerated
        return Older(
            importlib.import_module("davy.incentive.registry").mechanism(name),
            accelerated(name),
            accelerated(name, across=across, parts=parts),
            theirs.Params(**values | {"bond_format": form}),
        )

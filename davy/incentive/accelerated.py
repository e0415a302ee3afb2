"""The mechanisms compiled, for sweeps: the same bits as the reference, which stays the one that a ledger runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from davy.incentive.door import BadInput, whole
from davy.incentive.registry import mechanism

if TYPE_CHECKING:
    from davy.incentive.compiled.epochs import Compiled

Across = Callable[[Callable[[range], bool], list[range]], Iterable[bool]]


class NotInstalled(ImportError):
    """What compiles is an extra, and it is not here; whatever imports `davy.incentive.compiled` raises it then."""


def accelerated(name: str, *, across: Across = map, parts: int = 1) -> Compiled:
    """The mechanism of that name, compiled by numba; the first epoch of a process takes some 20 s longer.

    Nothing chooses it but this call, and it never falls back to the reference.

    Parameters
    ----------
    name : one of `registry.MECHANISMS` that is compiled
    across, parts
        A batch is cut in `parts` ranges of runs, and `across` computes each: `map` one after the other, the `map` of
        a pool of threads on several cores, for compiled code does not hold the interpreter's lock.

    Raises
    ------
    BadInput
        There is no such mechanism, or it is not compiled.
    NotInstalled
        numba is missing.
    """
    mechanism(name)
    from davy.incentive.compiled.epochs import EPOCHS, Compiled  # raises NotInstalled

    if name not in EPOCHS:
        raise BadInput(f"{name!r} is not compiled: choose one of {', '.join(sorted(EPOCHS))}, or take the reference")
    return Compiled(EPOCHS[name], across, whole("parts", parts, 1, 1024))

"""numba behind one name, so that what it leaves untyped is ignored in one place: it ships no types.

Compiled code is kept on disk only if NUMBA_CACHE_DIR names a folder, because its files are pickles, and whoever can
write there decides what runs. Without it, every process compiles at the first call.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
from numba import config

P = ParamSpec("P")
R = TypeVar("R")

_to_machine_code: Any = numba.njit(
    nogil=True,  # threads run at the same time
    error_model="numpy",  # no check for a zero divisor: every divisor is at least 1
    cache=bool(config.CACHE_DIR),
)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """`function` as machine code, for the types of its first call."""
    return cast("Callable[P, R]", _to_machine_code(function))

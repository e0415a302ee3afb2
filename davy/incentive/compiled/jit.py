"""numba behind one name, so that what it leaves untyped is ignored in one place: it ships no types.

Nothing compiled is kept on disk. numba's cache would be of pickles, and it looks at the file of a function but not at
those of the functions that it calls: after a change of one of them it would go on with the old bits. So every process
compiles at its first epoch, for half a minute.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")

_to_machine_code: Any = numba.njit(
    nogil=True,  # threads run at the same time
    error_model="numpy",  # no check for a zero divisor: every divisor is at least 1
    cache=False,
)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """`function` as machine code, for the types of its first call."""
    return cast("Callable[P, R]", _to_machine_code(function))


class Entry:
    """A compiled function as Python calls it: without numba's look at the type of each argument, after the first call.

    Arguments have to be of the types of the first call always; that an array may not be written to does not matter.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function: Any = function
        self._found: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        if self._found is not None:
            return self._found(*arguments)
        answer = self._function(*arguments)
        (only,) = self._function.overloads.values()
        self._found = only.entry_point
        return answer

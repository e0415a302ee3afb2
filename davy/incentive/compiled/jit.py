"""numba behind one name, so that what it leaves untyped is ignored in one place: it ships no types.

Nothing compiled is kept on disk. numba's cache would be of pickles, and it looks at the file of a function but not at
those of the functions that it calls: after a change of one of them it would go on with the old bits. So every process
compiles at its first epoch, for some 20 s.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUntypedBaseClass=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
from numba import types
from numba.core.registry import CPUDispatcher

P = ParamSpec("P")
R = TypeVar("R")
_njit: Any = numba.njit


class _Compiled(CPUDispatcher):
    """Compiled once: numba would do it again for each constant that an argument is, and for those it first guesses."""

    def get_call_template(self, args: Any, kws: Any) -> Any:
        return super().get_call_template([types.unliteral(a) for a in args], kws)


class _Inner(_Compiled):
    def __call__(self, *_: Any, **__: Any) -> Any:
        """Here numba would end the process: there is nothing that Python could call."""
        raise TypeError("only compiled code calls this: decorate it with `compiled` to call it from Python")


def _machine_code(function: Any, kind: type, *, makes_arrays: bool = False, **options: bool) -> Any:
    dispatcher: Any = _njit(
        nogil=True,  # threads run at the same time
        error_model="numpy",  # no check for a zero divisor: every divisor is at least 1
        cache=False,
        no_cfunc_wrapper=True,
        _nrt=makes_arrays,  # else none is counted: each count is atomic, and a tuple of arrays has many
        **options,
    )(function)
    dispatcher.__class__ = kind
    return dispatcher


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """`function` as machine code, for the types of its first call."""
    return cast("Callable[P, R]", _machine_code(function, _Compiled))


def making_arrays(function: Callable[P, R]) -> Callable[P, R]:
    """The same for a function that makes arrays of its own, which numba has to count."""
    return cast("Callable[P, R]", _machine_code(function, _Compiled, makes_arrays=True))


def inner(function: Callable[P, R]) -> Callable[P, R]:
    """The same for what only compiled code calls: without a way in from Python, which is as long as a rule."""
    return cast("Callable[P, R]", _machine_code(function, _Inner, no_cpython_wrapper=True))


class Entry:
    """A compiled function as Python calls it: after the first `call` without numba's look at the type of each argument.

    Arguments have to be of the types of the first call always; that an array may not be written to does not matter.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function: Any = function
        self.call: Callable[..., Any] = self._compile

    def _compile(self, *arguments: Any) -> Any:
        answer = self._function(*arguments)
        types = tuple(map(self._function.typeof_pyval, arguments))
        self.call = self._function.overloads[types].entry_point
        return answer

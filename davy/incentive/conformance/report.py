"""The largest distance of each field of each case to its reference, and whether it is within tolerance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, isfinite, lcm
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from davy.incentive.door import BadInput
from davy.incentive.fixed_point import Int64

Nested = float | Sequence["Nested"]


@dataclass(slots=True)
class Report:
    """Errors of a file by (case, field), in the order they were first met."""

    path: str
    tolerance: float
    errors: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])
    limits: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])

    def compare(
        self, case: str, name: str, got: Int64, one: int, expected: Nested, *, tolerance: float | None = None
    ) -> None:
        """Note max |got / one − expected|; a shape that differs or a number that is not finite is infinitely far."""
        key = (case, name)
        reference = np.asarray(expected, dtype=np.float64)
        if reference.shape != got.shape or not np.isfinite(reference).all():
            error = float("inf")
        else:
            error = float(np.max(np.abs(got / one - reference), initial=0.0))
        self.errors[key] = max(error, self.errors.get(key, 0.0))
        self.limits[key] = self.tolerance if tolerance is None else tolerance

    def failures(self) -> list[tuple[str, str]]:
        """Where the error exceeds its tolerance; a difference of the last printed digit (.04 − .0399) may equal it."""
        return [key for key, error in self.errors.items() if not error <= self.limits[key] * (1 + 1e-9)]

    def lines(self) -> Iterator[str]:
        """One line a field of a case."""
        failed = set(self.failures())
        for (case, name), error in self.errors.items():
            verdict = "EXCEEDS" if (case, name) in failed else "within"
            label = case.encode(errors="backslashreplace").decode()  # JSON may hold halves of surrogate pairs
            yield f"{label:42s} {name:32s} {error:.3e} {verdict} {self.limits[case, name]:.0e}"


def number(name: str, value: object) -> float:
    """`value` as it is, where it is a finite number: words and bools in its place are refused."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise BadInput(f"{name} is {value!r}; it must be a finite number")
    return value


def count(name: str, value: object) -> int:
    """A whole number, which a file may write as 3 or as 3.0."""
    if (whole := int(number(name, value))) != value:
        raise BadInput(f"{name} is {value!r}; it must be a whole number")
    return whole


def decimal(name: str, value: object) -> Fraction:
    """A number by its printed digits, not its binary fraction."""
    return Fraction(str(number(name, value)))


def exact(values: Iterable[float]) -> tuple[list[int], int]:
    """Decimals as integers over one common denominator."""
    fractions = [decimal("an entry", value) for value in values]
    one = lcm(*(fraction.denominator for fraction in fractions))
    return [int(fraction * one) for fraction in fractions], one


def scaled(values: Nested, one: float) -> Int64:
    """Non-negative decimals in units of 1/`one`, to the nearest.

    Raises
    ------
    BadInput
        A value that is negative, not finite, or not a number; or ragged rows.
    """
    array = _not_negative(values)
    if float(array.max(initial=0)) * one >= 2.0**62:
        raise BadInput("numbers must not be too large for their unit")
    return np.floor(array * one + 0.5).astype(np.int64)


def shares(values: Nested, one: float) -> Int64:
    """Non-negative decimals, [..., N], as parts of their row's sum in units of 1/`one`; a row of zeros stays one.

    Raises
    ------
    BadInput
        See `scaled`.
    """
    array = _not_negative(values)
    for whole in (np.max, np.sum):  # a sum of the largest floats would be infinite
        size = whole(array, axis=-1, keepdims=True, initial=0.0)
        array = array / np.where(size > 0, size, 1.0)
    return np.floor(array * one + 0.5).astype(np.int64)


def _not_negative(values: Nested) -> NDArray[np.float64]:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(f"expected an array of numbers: {error}") from error
    if not np.isfinite(array).all() or (array < 0).any():
        raise BadInput("numbers must be finite and not negative")
    return array


def proportion(record: Any, one: int, *names: str) -> int:
    """A member of 0 to 1 as an integer of 0 to `one`; a whole number above 1 is in units of 1/`one` already.

    To the nearest, halves down: κ = .5 is 32767, so that half of the stake does not exceed 1 − κ, as it does not .5.
    """
    name = " or ".join(names)
    value = number(name, member(record, *names))
    if not 0 <= value <= one:
        raise BadInput(f"{name} is {value!r}, which is not a proportion of {one}")
    return count(name, value) if value > 1 else ceil(value * one - 0.5)


def member(record: Any, *names: str) -> Any:
    """The first of these members that a decoded JSON object has.

    Raises
    ------
    BadInput
        It has none of them, or is no object.
    """
    for name in names:
        if isinstance(record, dict) and name in record:
            return cast("dict[str, Any]", record)[name]
    raise BadInput(f"the file lacks {' or '.join(names)}: the formats are described in tests/vectors/yuma/README.md")

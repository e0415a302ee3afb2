"""The door: what comes in from a ledger or a notebook is checked here once, and nowhere behind."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from davy.incentive.fixed_point import Bool, Int64, Weights


class BadInput(ValueError):
    """An input has the wrong type, shape or range. The message names it and says what it must be."""


def integers(name: str, value: ArrayLike, low: int, high: int) -> Int64:
    """`value` as int64 within [low, high]. Python integers are taken; floats, unsigned and empty arrays are not.

    What does not lie at a multiple of eight bytes is copied to where it does: compiled code reads it as a vector.
    """
    array = np.asarray(value)
    if array.dtype != np.int64 or array.size == 0:
        raise BadInput(f"{name} is {array.dtype}{list(array.shape)}; it must be int64 and not empty")
    least, most = int(array.min()), int(array.max())
    if least < low or most > high:
        raise BadInput(f"{name} holds {least} to {most}; it must lie within {low} to {high}")
    return array if array.flags.aligned else array.copy()


def any_weights(value: ArrayLike, most: int) -> Weights:
    """`value` as u16, all of which is taken unseen, or as int64 within [0, most]."""
    array = np.asarray(value)
    if array.dtype == np.uint16 and array.size and array.flags.aligned:
        return array
    return integers("weights", array, 0, most)


def flags(name: str, value: ArrayLike) -> Bool:
    """`value` as a bool array; numbers are not taken for flags."""
    array = np.asarray(value)
    if array.dtype != np.bool_:
        raise BadInput(f"{name} is {array.dtype}{list(array.shape)}; it must be bool")
    return array


def of_shape(name: str, array: NDArray[np.generic], batch: tuple[int, ...], ending: tuple[int, ...]) -> None:
    """Refuse an array whose shape is neither [*batch, *ending] nor `ending` alone, which serves all of the batch."""
    if array.shape not in ((*batch, *ending), ending):
        raise BadInput(
            f"{name} has shape {array.shape}; it must be {(*batch, *ending)}, or {ending} for all runs alike"
        )


def whole(name: str, value: object, low: int, high: int) -> int:
    """`value` as a Python integer within [low, high]; a bool is not one."""
    if type(value) is not int or not low <= value <= high:
        raise BadInput(f"{name} is {value!r}; it must be an integer within {low} to {high}")
    return value

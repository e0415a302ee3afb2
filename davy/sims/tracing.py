"""What the mechanism makes of given weights and stakes, epoch by epoch, for a picture: no market, no chance.

Weights and stakes come as shares of any scale and results go as floats; in between are the integers of
`davy.incentive`, at the resolution of its conformance checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from davy.incentive.conformance.cases import forgetting, inputs
from davy.incentive.fixed_point import ONE
from davy.incentive.mechanism import Params
from davy.incentive.registry import mechanism
from davy.protocol.errors import Misconfigured

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Trace:
    """Shares after each of E epochs, of V validators and M miners.

    Attributes
    ----------
    weights : [E, V, M]
        Rows normalised.
    stake : [E, V]
        Normalised.
    consensus, incentive : [E, M]
    clipped : [E, V, M]
        min(weights, consensus): what counts.
    trust, dividends : [E, V]
    bonds : [E, V, M]
        As stored: Yuma 3's are absolute, at most 1; of Yuma 2's the largest of each column is 1.
    """

    weights: Float
    stake: Float
    consensus: Float
    incentive: Float
    trust: Float
    dividends: Float
    bonds: Float

    @property
    def clipped(self) -> Float:
        return np.minimum(self.weights, self.consensus[:, None, :])


def trace(
    weights: ArrayLike,
    stake: ArrayLike,
    *,
    name: str = "yuma3",
    params: Params | None = None,
    forget: Mapping[int, int] | None = None,
) -> Trace:
    """Run a mechanism over weights [E, V, M] and stake [E, V] or [V], from no bonds.

    Parameters
    ----------
    forget
        Epoch → column whose bonds are forgotten before it, as when a miner's UID changes hands.

    Raises
    ------
    Misconfigured
        Shapes that do not fit, or negative numbers.
    """
    w = np.asarray(weights, dtype=np.float64)
    if w.ndim != 3 or w.size == 0 or not (w >= 0).all():
        raise Misconfigured(f"weights have shape {w.shape}; they must be [epochs, validators, miners], none below 0")
    s = np.asarray(stake, dtype=np.float64)
    if s.shape not in (w.shape[:2], w.shape[1:2]) or not (s >= 0).all():
        raise Misconfigured(f"stake has shape {s.shape}; it must be [epochs, validators] or [validators], none below 0")
    s = np.broadcast_to(s, w.shape[:2])
    p, chosen = params or Params(), mechanism(name)
    state = chosen.initial(w.shape[1:])
    told: dict[str, list[Float]] = {k: [] for k in ("consensus", "incentive", "trust", "dividends", "bonds")}
    for epoch in range(len(w)):
        x = inputs(w[epoch].tolist(), s[epoch].tolist())
        if forget and epoch in forget:
            x = forgetting(x, forget[epoch])
        state, r = chosen.epoch(state, x, p)
        got = {"consensus": r.consensus, "incentive": r.incentive, "trust": r.validator_trust, "dividends": r.dividends}
        for key, value in got.items():
            told[key].append(value / ONE)
        told["bonds"].append(state.bonds / p.bond_format.one)
    return Trace(_shares(w), _shares(s), **{key: np.stack(values) for key, values in told.items()})


def _shares(values: Float) -> Float:
    total = values.sum(axis=-1, keepdims=True)
    return np.divide(values, total, out=np.zeros_like(values), where=total > 0)

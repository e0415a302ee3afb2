"""How the notebooks draw: one look, colours that colour-blind readers tell apart, bands that say what they span.

Colours are Okabe and Ito's (jfly.uni-koeln.de/color); maps use cividis, which is as good in grey. Lines differ by their
marker too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import ArrayLike

Axes: TypeAlias = Any
"""matplotlib's; what its stubs say of it is partly unknown."""

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS: Final = "osD^vPX*"
MAP: Final = "cividis"
_LOOK: Final = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "axes.titlesize": 9,
    "figure.dpi": 130,
    "figure.titlesize": 10,
    "figure.titleweight": "bold",
    "legend.fontsize": 8,
    "legend.title_fontsize": 8,
    "font.size": 9,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "lines.markersize": 4,
}


def panels(
    count: int = 1, *, rows: int = 1, width: float = 6.4, height: float = 3.6, **more: Any
) -> tuple[Any, list[Axes]]:
    """A figure of `count` panels in equal rows, in the notebooks' look; inches."""
    library: Any = mpl
    library.rcParams.update(_LOOK)
    library.rcParams["axes.prop_cycle"] = library.cycler(color=COLOURS)
    pyplot: Any = plt
    figure, axes = pyplot.subplots(rows, count // rows, figsize=(width, height), squeeze=False, **more)
    return figure, list(axes.flat)


def says(figure: Any, finding: str, settings: str) -> None:
    """Write what a picture shows above it, and under it what it was made from: runs, what bands span, the seed."""
    figure.suptitle(finding, x=0.01, horizontalalignment="left")
    figure.supxlabel(settings, x=0.01, horizontalalignment="left", fontsize=7.5, color="0.35")


def band(
    ax: Axes, x: ArrayLike, runs: ArrayLike, label: str, which: int = 0, *, low: float = 5, high: float = 95
) -> None:
    """The median of `runs` [R, X] as a line, and what lies between two percentiles shaded, in colour `which`."""
    values = np.asarray(runs, dtype=np.float64)
    bottom, middle, top = np.percentile(values, [low, 50, high], axis=0)
    places, colour = np.asarray(x), COLOURS[which % len(COLOURS)]
    marker = MARKERS[which % len(MARKERS)] if places.size <= 25 else ""
    ax.fill_between(places, bottom, top, color=colour, alpha=0.2, linewidth=0)
    ax.plot(places, middle, color=colour, marker=marker, label=label)


def level(ax: Axes, value: float, label: str, *, upright: bool = False) -> None:
    """A dashed line across a panel, or a dotted upright one, at a value worth comparing with, and what it is."""
    if upright:
        ax.axvline(value, color="black", linestyle=":", linewidth=1.0, label=label or None)
    else:
        ax.axhline(value, color="black", linestyle="--", linewidth=0.8, label=label or None)


def heat(ax: Axes, values: ArrayLike, x: Sequence[float], y: Sequence[float], unit: str, **more: Any) -> Any:
    """Values [Y, X] as a map with a labelled bar of colours; x and y are where cells have their centres, evenly."""
    half = [(v[1] - v[0]) / 2 if len(v) > 1 else 0.5 for v in (x, y)]
    extent = (x[0] - half[0], x[-1] + half[0], y[0] - half[1], y[-1] + half[1])
    shown = ax.imshow(np.asarray(values), origin="lower", extent=extent, aspect="auto", cmap=MAP, **more)
    ax.grid(visible=False)
    bar = ax.figure.colorbar(shown, ax=ax)
    bar.set_label(unit)
    return shown

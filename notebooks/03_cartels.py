# %% [markdown]
# # Cartels and the retention map: what does honest stake need?
#
# *Question.* A cabal has 40% of the stake. How much must the honest give their own miners, so that it takes no more?
#
# *Answer.* 74% under noise of .4 (published: 73%), whatever the cabal does. Without noise it is 60%; without the bond
# penalty 79% (78%). Against 48% of the stake it takes 84%.

# %%
import numpy as np
import polars as pl

from davy.sims.pictures import COLOURS, band, heat, level, panels, says
from davy.sims.retention import Retention, retention, retention_map

# %% tags=["parameters"] small={"grid": 25, "uids": 128, "seeds": 2, "honest": [0.55, 0.6]}
grid, uids, seeds = 2, 512, 3
honest = [0.52, 0.55, 0.6, 0.65, 0.7, 0.8]

# %% [markdown]
# The experiment is that of subtensor's docs/consensus.md, on the code that pays here. Two sides, each with
# validators and miners in proportion to its stake, give their own miners a utility W and the others' 1 − W, under
# noise σ. *Retention* is the least W of the honest at which they keep their stake's part of the emission for every
# W of the cabal.

# %%
published = {
    "σ 0": (Retention(uids=uids, sigma=0.0), 0.60),
    "σ .2": (Retention(uids=uids, sigma=0.2), 0.67),
    "σ .4": (Retention(uids=uids), 0.73),
    "σ .4, β 0": (Retention(uids=uids, bond_penalty=0), 0.78),
    "σ .4, β .5": (Retention(uids=uids, bond_penalty=32_768), 0.76),
    "σ .4, ξ 0": (Retention(uids=uids, validator_share=0.0), 0.82),
    "σ .4, ξ .25": (Retention(uids=uids, validator_share=0.25), 0.78),
}
found = {name: retention(r, step=10) for name, (r, _) in published.items()}
pl.DataFrame([{"case": n, "published": published[n][1], "here": w} for n, w in found.items()])

# %%
steps = range(0, 101, grid)
kept = retention_map(Retention(uids=uids), steps, steps, jobs=2) / (1 << 30)

# %% tags=["picture"]
figure, (plan,) = panels(width=6.2, height=4.6)
axis = [s / 100 for s in steps]
heat(plan, kept, axis, axis, "emission that the honest side keeps", vmin=0.2, vmax=1)
for at, width in (([0.3, 0.4, 0.5, 0.7, 0.8, 0.9], 0.7), ([0.6], 2.2)):
    lines = plan.contour(axis, axis, kept, levels=at, colors="white", linewidths=width)
    plan.clabel(lines, fmt=lambda v: f"{v:.1f}", fontsize=8)
level(plan, found["σ .4"], "")
plan.text(0.98, found["σ .4"] + 0.02, f"retention {found['σ .4']:.2f}; published .73", ha="right", color="white")
plan.set_xlabel("utility W that the cabal gives its own miners")
plan.set_ylabel("utility W that the honest give theirs")
says(
    figure,
    "Whatever a cabal of 40% does, the honest keep their 60% from W = .74 on",
    "Thick line: the honest keep exactly their stake, .6. σ .4, β 1, ξ .5, κ ½, Yuma 2;\n"
    f"{uids} UIDs, 64 validators, one epoch, seed 1, one draw of noise.",
)

# %% [markdown]
# The white line's highest point is the retention. It lies where the cabal puts about as much into its own miners as
# the honest do: a cabal that is greedier is clipped.


# %%
def needed(name: str) -> np.ndarray:
    of_seed = [
        [retention(Retention(uids=uids, honest=s, mechanism=name, seed=seed), step=10) for s in honest]
        for seed in range(1, seeds + 1)
    ]
    return np.nan_to_num(np.array(of_seed), nan=1.0)


# %% tags=["picture"]
figure, (ax,) = panels(width=6.2, height=3.8)
band(ax, honest, needed("yuma2"), "Yuma 2", low=0, high=100)
again = np.median(needed("yuma3"), axis=0)
ax.plot(honest, again, linestyle="", marker="s", markersize=9, markerfacecolor="none", color=COLOURS[1], label="Yuma 3")
ax.plot(honest, honest, color="black", linestyle="--", linewidth=0.8, label="its own share of the stake")
level(ax, 0.5, "half of the stake", upright=True)
ax.set_xlabel("honest share of the stake")
ax.set_ylabel("utility W that the honest need")
ax.legend(loc="lower right")
says(
    figure,
    "Near half of the stake the honest must agree far beyond it; with 80% of it, hardly",
    f"Median and range of seeds 1 to {seeds}; σ .4, β 1, ξ .5, κ ½, {uids} UIDs, 64 validators, one epoch.",
)

# %% [markdown]
# ## Change this, see that
#
# - `Retention(kappa=39_321)`: κ .6 gives no protection to an honest stake of .55.
# - `Retention(mechanism="yuma3")`: the same figures, as bonds that begin at nothing are equal in the first epoch.
# - `retention_map(..., compiled=True)`: with `davy[fast]`, the same bits; worth it from about five maps on.

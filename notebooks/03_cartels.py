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

from davy.sims.pictures import band, heat, level, panels
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
figure, (plan,) = panels(width=5.6, height=4.2)
axis = [s / 100 for s in steps]
heat(plan, kept, axis, axis, "emission that the honest side keeps", vmin=0, vmax=1)
lines = plan.contour(axis, axis, kept, levels=[0.6], colors="white", linewidths=1.6)
plan.clabel(lines, fmt={0.6: "keeps its stake"}, fontsize=8)
plan.set_xlabel("utility W of the cabal for its own miners")
plan.set_ylabel("utility W of the honest for theirs")
plan.set_title("honest stake .6, σ .4, β 1, ξ .5, κ ½")

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
figure, (ax,) = panels(width=5.6)
for which, name in enumerate(("yuma2", "yuma3")):
    band(ax, honest, needed(name), name, which, low=0, high=100)
ax.plot(honest, honest, color="black", linestyle="--", linewidth=0.8, label="its stake")
level(ax, 0.5, "half of the stake", upright=True)
ax.set_xlabel("honest share of the stake")
ax.set_ylabel("utility that the honest need")
ax.legend(title=f"median and range of {seeds} seeds, σ .4")

# %% [markdown]
# ## Change this, see that
#
# - `Retention(kappa=39_321)`: κ .6 gives no protection to an honest stake of .55.
# - `Retention(mechanism="yuma3")`: the same figures, as bonds that begin at nothing are equal in the first epoch.
# - `retention_map(..., compiled=True)`: with `davy[fast]`, the same bits; worth it from about five maps on.

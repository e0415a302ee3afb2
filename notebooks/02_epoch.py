# %% [markdown]
# # An epoch in pictures: how do weights become pay?
#
# *Question.* Twelve validators weigh sixteen miners. What does each step of Yuma 3 do to their weights?
#
# *Answer.* The stake-weighted median clips whatever is beyond it; what is left, times stake, is the miners' pay.
# Bonds follow the clipped weights slowly, and validators are paid by the bonds that they hold in who is paid.

# %%
import numpy as np

from davy.sims.pictures import COLOURS, MAP, band, level, panels, says
from davy.sims.tracing import trace

# %% tags=["parameters"] small={"epochs": 3, "runs": 2}
validators, miners, epochs, runs, noise = 12, 16, 40, 20, 0.2

# %% [markdown]
# Nine validators measure with errors, one always gives the same to all, and two favour miner 15, which is bad.


# %%
def weights(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    quality = np.linspace(1, 0.1, miners)
    seen = quality * np.maximum(0, 1 + noise * rng.standard_normal((epochs, validators, miners)))
    seen[:, 9] = 1
    seen[:, 10:] *= 0.4
    seen[:, 10:, 15] += 0.6 * quality.sum()
    return seen, rng.lognormal(0, 0.5, validators)


w, stake = weights(1)
t = trace(w, stake)
print("stake          ", np.round(t.stake[-1], 3))
print("dividends      ", np.round(t.dividends[-1], 3))
print("dividend / stake", np.round(t.dividends[-1] / t.stake[-1], 2))

# %% tags=["picture"]
figure, axes = panels(3, width=9.2, height=3.6, sharey=True)
top = np.quantile(t.weights[-1], 0.98)
for ax, values, title in (
    (axes[0], t.weights[-1], "1  weights, rows normalised"),
    (axes[1], t.clipped[-1], "2  clipped at the consensus"),
    (axes[2], t.bonds[-1], "3  bonds after the last epoch"),
):
    shown = ax.imshow(values, cmap=MAP, vmin=0, vmax=top, aspect="auto")
    ax.set_title(title)
    ax.set_xlabel("miner, from the best to the worst")
    ax.grid(visible=False)
axes[0].set_ylabel("validator")
axes[0].set_yticks([0, 4, 8, 9, 10, 11], ["0", "4", "8", "lazy", "cartel", "cartel"])
figure.colorbar(shown, ax=axes, label="share of a row", extend="max")
says(
    figure,
    "What only a minority gives is cut off, and bonds remember what was left",
    f"{validators} validators, {miners} miners, σ {noise}, epoch {epochs} of one run, seed 1; the lazy row gives all "
    "the same, the cartel favours miner 15.",
)

# %% tags=["picture"]
figure, (pay, earned) = panels(2, width=8.8, height=3.8)
x = np.arange(miners)
mean = np.einsum("v,vm->m", t.stake[-1], t.weights[-1])
pay.bar(x - 0.2, mean, 0.4, color=COLOURS[5], label="mean weight, by stake")
pay.bar(x + 0.2, t.incentive[-1], 0.4, color=COLOURS[0], label="incentive")
pay.plot(x, t.consensus[-1], color="black", marker="_", linestyle="", markersize=9, label="consensus")
pay.set_xlabel("miner, from the best to the worst")
pay.set_ylabel("share of all miners' weight, or pay")
pay.legend()

many = np.stack([r.dividends / r.stake for r in (trace(*weights(seed)) for seed in range(runs))])
for which, (rows, who) in enumerate(((slice(0, 9), "honest"), (slice(9, 10), "lazy"), (slice(10, 12), "cartel"))):
    band(earned, np.arange(epochs), many[:, :, rows].mean(axis=2), who, which)
level(earned, 1, "by stake")
earned.set_xlabel("epoch")
earned.set_ylabel("dividends / share of stake")
earned.legend(loc="lower right", bbox_to_anchor=(1, 0.12))
says(
    figure,
    "A cartel's miner is paid like any bad one, and the cartel half of what its stake would",
    f"Left: the last epoch of seed 1. Right: median and 5–95% of seeds 0 to {runs - 1}.",
)

# %% [markdown]
# What two validators give to miner 15 is gone in the second panel: nobody else agrees. Its row earns no bonds there
# either, so their dividends fall. The lazy row is clipped at every bad miner, and is short of what the good ones
# get.
#
# ## Change this, see that
#
# - `seen[:, 9:]` instead of `seen[:, 10:]` in both lines: three in the cartel. Watch when its stake passes one half.
# - `trace(w, stake, name="yuma2")`: bonds are shares of a column, and who bought first keeps them longer.
# - `noise = 0`: nothing of honest rows is clipped, and honest dividends are above 1 by what the others forgo.

# %% [markdown]
# # An epoch in pictures: how do weights become pay?
#
# *Question.* Twelve validators weigh sixteen miners. What does each step of Yuma 3 do to their weights?
#
# *Answer.* The stake-weighted median clips whatever is beyond it; what is left, times stake, is the miners' pay.
# Bonds follow the clipped weights slowly, and validators are paid by the bonds that they hold in who is paid.

# %%
import numpy as np

from davy.sims.pictures import COLOURS, MAP, band, level, panels
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
figure, axes = panels(3, width=10, height=3.4, sharey=True)
top = np.quantile(t.weights[-1], 0.98)
for ax, values, says in (
    (axes[0], t.weights[-1], "1  weights, rows normalised"),
    (axes[1], t.clipped[-1], "2  clipped at the consensus"),
    (axes[2], t.bonds[-1], "3  bonds after the last epoch"),
):
    shown = ax.imshow(values, cmap=MAP, vmin=0, vmax=top, aspect="auto")
    ax.set_title(says)
    ax.set_xlabel("miner, from the best to the worst")
    ax.grid(visible=False)
axes[0].set_ylabel("validator")
axes[0].set_yticks([0, 4, 8, 9, 10, 11], ["0", "4", "8", "lazy", "cartel", "cartel"])
figure.colorbar(shown, ax=axes, label="share of a row", extend="max")

# %% tags=["picture"]
figure, (pay, earned) = panels(2, width=8.4)
x = np.arange(miners)
mean = np.einsum("v,vm->m", t.stake[-1], t.weights[-1])
pay.bar(x - 0.2, mean, 0.4, color=COLOURS[5], label="mean weight, by stake")
pay.bar(x + 0.2, t.incentive[-1], 0.4, color=COLOURS[0], label="incentive")
pay.plot(x, t.consensus[-1], color="black", marker="_", linestyle="", markersize=9, label="consensus")
pay.set_xlabel("miner, from the best to the worst")
pay.set_ylabel("share")
pay.legend()

many = np.stack([r.dividends / r.stake for r in (trace(*weights(seed)) for seed in range(runs))])
for which, (rows, says) in enumerate(((slice(0, 9), "honest"), (slice(9, 10), "lazy"), (slice(10, 12), "cartel"))):
    band(earned, np.arange(epochs), many[:, :, rows].mean(axis=2), says, which)
level(earned, 1, "by stake")
earned.set_xlabel("epoch")
earned.set_ylabel("dividends / share of stake")
earned.legend(title=f"median, 5–95% of {runs} runs", loc="lower right", bbox_to_anchor=(1, 0.18))

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

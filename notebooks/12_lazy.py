# %% [markdown]
# # Lazy validators and peer prediction: can work be paid without being seen?
#
# *Question.* Under Yuma 3 validators that measure nothing earn nearly as much. Under which rule do they not?
#
# *Answer.* Paid for news about audited labels, who is lazy, random, in a cartel or shares its noise gets at most .04
# of honest dividends once settled, and miners are ranked as well or better. Fresh copies earn more: hide the weights.

# %%
import numpy as np
import polars as pl

from davy.sims import scenario
from davy.sims.comparing import COMPARED, compare
from davy.sims.pictures import COLOURS, MARKERS, panels, says

# %% tags=["parameters"] small={"runs": 2, "epochs": 6, "attacks": ["lazy-constant"]}
runs, epochs = 8, 60
attacks = ["lazy-constant", "lazy-random", "shared-noise", "weight-copying", "cartel", "under-weighing"]

# %% [markdown]
# `yuma3` pays for agreement with the median. `correlated` (Shnayder et al. 2016) pays for agreement beyond chance,
# so that a constant is worth nothing. `audited` pays for what a report says about secretly audited labels beyond
# the consensus that was public an epoch before, with a floor from Yuma. Same runs, seats and draws under each.

# %%
found = {name: compare(scenario(name).having({"runs": runs, "epochs": epochs})) for name in attacks}
pl.DataFrame([each.row() for of in found.values() for each in of]).select(
    "attack", "mechanism", pl.col("validators", "validators_settled", "tau", "tau_honest").round(3)
)

# %% tags=["picture"]
figure, (pay, order) = panels(2, width=9.2, height=4.4, sharey=True, width_ratios=(3, 2))
for which, name in enumerate(COMPARED):
    at = np.arange(len(attacks)) + (which - 1) * 0.2
    for ax, measure in ((pay, "validators_settled"), (order, "tau")):
        values = [found[a][which].measures[measure] for a in attacks]
        mean = np.array([v.mean() for v in values])
        error = np.array([2 * v.std(ddof=1) / len(v) ** 0.5 for v in values])
        look = {"fmt": MARKERS[which], "color": COLOURS[which], "markersize": 5, "elinewidth": 1.2}
        ax.errorbar(mean, at, xerr=error, label=name, **look)
honest = [found[a][0].measures["tau_honest"].mean() for a in attacks]
order.plot(honest, np.arange(len(attacks)), "|", color="black", markersize=20)
pay.axvspan(0, 0.1, color=COLOURS[2], alpha=0.15, linewidth=0, label="the goal: at most .1")
pay.axvline(1, color="black", linestyle=":", linewidth=1, label="honest pay")
pay.set_yticks(np.arange(len(attacks)), attacks)
pay.invert_yaxis()
pay.set_xlim(left=-0.03)
pay.set_xlabel("attackers' dividends / their honest ones")
order.set_xlabel("Kendall's τ of miners' pay and quality")
order.set_xlim(right=1)
pay.legend(loc="upper right")
order.text(honest[0] + 0.01, 0, "all honest, yuma3", verticalalignment="center", fontsize=8)
says(
    figure,
    "Audits leave those who do not look next to nothing, but for fresh copies",
    f"Pay over the later half of {epochs} epochs, τ over all. Mean of {runs} runs ± two standard errors, seed "
    f"{found[attacks[0]][0].scenario.seed}. Copies here are fresh: weights are open.",
)

# %% [markdown]
# ## Change this, see that
#
# - `"market.churn": 0.0` in `having`: where nothing changes nothing is news, and the floor, which is Yuma, pays all.
# - `"attack.lag": 5` or `"market.concealment": 1` for the copiers: a copy that is old gets .03 under `audited`.
# - `"market.audits": 8`: with a fourth of the audits random rows still get a third; each costs a careful measurement.

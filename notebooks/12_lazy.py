# %% [markdown]
# # Lazy validators and peer prediction: can work be paid without being seen?
#
# *Question.* Under Yuma 3 validators that measure nothing earn nearly as much. Under which rule do they not?
#
# *Answer.* Paid for news about audited labels, who is lazy, random, in a cartel or shares its noise gets below .1
# of honest pay, and miners are ranked as well or better. Fresh copies earn more than ever: they need commit–reveal.

# %%
import numpy as np
import polars as pl

from davy.sims import scenario
from davy.sims.comparing import COMPARED, compare
from davy.sims.pictures import COLOURS, level, panels

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
figure, (pay, order) = panels(2, width=9.4, height=3.8, sharey=True)
for which, name in enumerate(COMPARED):
    at = np.arange(len(attacks)) + (which - 1) * 0.25
    for ax, measure in ((pay, "validators_settled"), (order, "tau_gain")):
        values = [found[a][which].measures[measure] for a in attacks]
        mean = np.array([v.mean() for v in values])
        error = np.array([2 * v.std() / len(v) ** 0.5 for v in values])
        ax.barh(at, mean, 0.22, xerr=error, color=COLOURS[which], label=name, error_kw={"elinewidth": 0.8})
level(pay, 1, "honest pay", upright=True)
level(pay, 0.1, "the goal", upright=True)
pay.set_yticks(np.arange(len(attacks)), attacks)
pay.set_xlabel("attackers' dividends / their honest ones, later half")
order.set_xlabel("Kendall's τ of pay and quality, less that of yuma3")
pay.legend()
figure.suptitle(f"Mean of {runs} runs ± two standard errors, {epochs} epochs")

# %% [markdown]
# ## Change this, see that
#
# - `"market.churn": 0.0` in `having`: where nothing changes nothing is news, and the floor, which is Yuma, pays all.
# - `"attack.lag": 5` for the copiers: five epochs old, a copy is worth .03 of honest pay under `audited`.
# - `"market.audits"`: how many miners are audited in an epoch; they cost what a careful measurement costs.

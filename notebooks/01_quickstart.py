# %% [markdown]
# # Quickstart: what does an attack pay?
#
# *Question.* A quarter of the stake agrees to favour miners of its own. Does it pay?
#
# *Answer.* Not below half of the stake. At 40% such a cartel loses about a third of what the same seats earn by
# honest work; above half it takes most of everything.

# %%
import numpy as np
import polars as pl

from davy.sims import run, scenario, sweep
from davy.sims.pictures import band, level, panels
from davy.sims.result import joined

# %% tags=["parameters"] small={"runs": 2, "epochs": 4, "stakes": [0.3, 0.6]}
runs, epochs = 8, 60
stakes = [0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7]

# %% [markdown]
# A *scenario* is an attack on a market, with every parameter by its name. It is played twice with the same draws,
# once with the attackers honest; what differs is the attack's doing.

# %%
cartel = scenario("cartel").having({"runs": runs, "epochs": epochs})
print(cartel.attack.story)
result = run(cartel)
result.summary().select("metric", "low", "median", "high", "unit")

# %% [markdown]
# A sweep is a list of results, and one table of them.

# %%
results = sweep(cartel, {"attack.stake": stakes})
table = joined(results)
table.group_by("attack.stake", maintain_order=True).agg(
    pl.col("relative_pay", "honest_loss", "roi").median().round(3), pl.len().alias("runs")
)

# %% tags=["picture"]
figure, (pay, loss) = panels(2, width=8.4)
for ax, metric, says in (
    (pay, "relative_pay", "the cartel's pay / its honest pay"),
    (loss, "honest_loss", "part of their pay that the others lose"),
):
    band(ax, stakes, np.stack([r.metrics[metric] for r in results], axis=1), "median and 5–95% of runs")
    ax.set_xlabel("the cartel's share of the stake")
    ax.set_ylabel(says)
level(pay, 1, "honest pay")
level(loss, 0, "no loss")
for ax in (pay, loss):
    level(ax, 0.5, "half of the stake", upright=True)
    ax.legend()
figure.suptitle(f"A cartel that gives 90% to its own miners ({runs} runs, {epochs} epochs, seed {cartel.seed})")

# %% [markdown]
# ## Change this, see that
#
# - `scenario("cartel")` → `scenario("weight-copying")`: one that pays as it stands; `scenarios()` has all.
# - `{"attack.stake": stakes}` → `{"attack.favour": [0.1, 0.5, 0.9]}` at a stake of .4: the greedier, the more it costs.
# - `"params.kappa": 45_875` in `having`: consensus needs 70% of the stake now, and 35% gain two thirds by a cartel.

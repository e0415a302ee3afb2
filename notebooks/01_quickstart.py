# %% [markdown]
# # Quickstart: what does an attack pay?
#
# *Question.* A quarter of the stake agrees to favour miners of its own. Does it pay?
#
# *Answer.* No: it earns 57% of what the same seats earn by honest work. With 40% of the stake it still loses a third.
# From half of the stake on it pays two to three times as much as work, and the others lose most of their pay.

# %%
import numpy as np
import polars as pl

from davy.sims import run, scenario, sweep
from davy.sims.pictures import band, level, panels, says
from davy.sims.result import joined

# %% tags=["parameters"] small={"runs": 2, "epochs": 4, "stakes": [0.3, 0.6]}
runs, epochs = 8, 60
stakes = [0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.48, 0.5, 0.55, 0.6, 0.7]

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
for ax, metric, axis in (
    (pay, "relative_pay", "the cartel's pay / its honest pay"),
    (loss, "honest_loss", "what all others lose, % of their honest pay"),
):
    scale = 100 if ax is loss else 1
    band(ax, stakes, scale * np.stack([r.metrics[metric] for r in results], axis=1), "median of the runs", ax is loss)
    ax.set_xlabel("the cartel's share of the stake")
    ax.set_ylabel(axis)
level(pay, 1, "honest pay")
level(loss, 0, "no loss")
for ax in (pay, loss):
    level(ax, 0.5, "half of the stake", upright=True)
    ax.legend()
says(
    figure,
    "A greedy cartel pays from half of the stake on, and not before",
    f"Four of 16 validators give 90% to their own 8 of 64 miners. Below 0 others gain. {runs} runs of {epochs} epochs, "
    f"seed {cartel.seed};\nbands, 5–95% of the runs, are hardly wider than the lines.",
)

# %% [markdown]
# ## Change this, see that
#
# - `scenario("cartel")` → `scenario("weight-copying")`: one that pays as it stands; `scenarios()` has all.
# - `{"attack.stake": stakes}` → `{"attack.favour": [0.1, 0.5, 0.9]}` at a stake of .4: a tenth for their own miners,
#   little more than these rightly get, pays 2% more than work; a half costs 8%, and nine tenths a third.
# - `"params.kappa": 45_875` in `having`: consensus needs 70% of the stake now, and a cartel with 35% gains two thirds.

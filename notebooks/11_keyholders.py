# %% [markdown]
# # Keyholders and capture: what does it cost to own the brake?
#
# *Question.* Somebody bribes keyholders, one after the other. What does a halt, a lift or a veto cost?
#
# *Answer.* ANSWER

# %%
import numpy as np
import polars as pl

from davy.sims import study, sweep
from davy.sims.pictures import band, panels
from davy.sims.result import joined

# %% tags=["parameters"] small={"runs": 20, "offers": [100, 300]}
runs = 400
offers = [50, 100, 150, 200, 300, 400, 600, 1000]
rosters = {
    "2 and 2 of 3": (3, 2, 2),
    "3 and 4 of 5": (5, 3, 4),
    "5 and 7 of 9": (9, 5, 7),
    "8 and 11 of 15": (15, 8, 11),
}
goals = ["halt", "lift", "veto-lift", "veto-halt"]

# %%
bribery = study("keyholder-bribery").having({"runs": runs})
print(bribery.story)
found = {
    name: sweep(
        bribery.having({"keyholders": n, "halt_threshold": halt, "lift_threshold": lift}),
        {"goal": goals, "offer": offers},
    )
    for name, (n, halt, lift) in rosters.items()
}

# %%
tables = [joined(results).with_columns(roster=pl.lit(name)) for name, results in found.items()]
table = pl.concat(tables).filter(pl.col("offer") == offers[-1])
table.group_by("roster", "goal", maintain_order=True).agg(
    pl.col("needed").first(),
    pl.col("captured", "reported").mean().round(2),
    pl.col("cheapest").median().round(0),
    pl.col("days").max(),
)


# %% tags=["picture"]
def chance(name: str, goal: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Its mean over runs, and two standard errors."""
    of = [r.metrics[metric] for r in found[name] if r.scenario.goal == goal]
    return np.array([v.mean() for v in of]), np.array([2 * v.std() / len(v) ** 0.5 for v in of])


figure, axes = panels(4, width=11.2, height=3.2, sharey=True)
for ax, goal in zip(axes, goals, strict=True):
    for which, name in enumerate(found):
        mean, error = chance(name, goal, "captured")
        band(ax, offers, 100 * np.stack([mean - error, mean, mean + error]), name, which, low=0, high=100)
    ax.set_title(goal)
    ax.set_xscale("log")
    ax.set_xlabel("tokens offered to each")
axes[0].set_ylabel("captured, and nobody told, %")
axes[0].legend(title="halt and lift of all")
figure.suptitle(f"Mean of {runs} runs ± two standard errors; prices log-normal around 100, 30% take no bribe")

# %% [markdown]
# ## Change this, see that
#
# - `"reports": 1.0`: whoever refuses tells; then a large roster is hardly ever captured.
# - `"honest": 0.6`: more keyholders that no money buys do more than more keyholders.
# - `"systemic": True`: then a captured LIFT key gives leases too.

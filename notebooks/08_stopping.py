# %% [markdown]
# # Time to stop, by topology: how long does a halt take to reach everybody?
#
# *Question.* Three of 200 nodes are told of a halt, and some pass nothing on. When has the last one stopped?
#
# *Answer.* Where each knows 64 others at random, as in davy, 99% within .6 s while three in ten are silent, and within
# about a second while half are (medians). Hubs, rings and clusters fail before. With the ledger: under a second in any.

# %%
import numpy as np
import polars as pl

from davy.sims import study, sweep
from davy.sims.pictures import MAP, band, level, panels, says
from davy.sims.result import joined

# %% tags=["parameters"] small={"runs": 2, "nodes": 40, "silence": [0.0, 0.3], "topologies": ["live", "ring"]}
runs, nodes = 20, 200
silence = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
topologies = ["live", "random", "scale-free", "clusters", "star", "ring"]

# %%
halt = study("time-to-stop").having({"runs": runs, "nodes": nodes})
print(halt.story)
results = sweep(halt, {"topology": topologies, "silent": silence})
recorded = sweep(halt.having({"ledger": True}), {"topology": topologies, "silent": silence})
by = joined(results).filter(pl.col("silent") == 0.3).group_by("topology", maintain_order=True)
by.agg(pl.col("p50", "p99", "last").median().round(0), pl.col("unreached").mean().round(4))

# %% [markdown]
# Milliseconds from the order's signature, in the median over runs; `inf` where they never stop, within 60 seconds.
# `unreached` is a mean: where half of the nodes are silent, all three that are told are silent in one run of eight,
# and then nobody else hears of it, whatever the topology. That is what the ledger is for.

# %% tags=["picture"]
most = halt.horizon_ms / 1000
figure, axes = panels(
    len(topologies), rows=2 if len(topologies) > 3 else 1, width=8.8, height=5.2, sharex=True, sharey=True
)
for ax, topology in zip(axes, topologies, strict=True):
    for which, (of, way) in enumerate(((results, "nodes alone"), (recorded, "with the ledger"))):
        p99 = [r.metrics["p99"] for r in of if r.scenario.topology == topology]
        band(ax, [100 * s for s in silence], np.minimum(np.stack(p99, axis=1) / 1000, most), way, which)
    level(ax, most, f"not within {most:.0f} s")
    ax.set_title(topology)
    ax.set_yscale("log")
    ax.set_xlabel("silent nodes, %")
    ax.label_outer()
axes[0].set_ylabel("until 99% have stopped, s")
axes[len(axes) // 2].set_ylabel("until 99% have stopped, s")
axes[0].legend(loc="center left")
says(
    figure,
    "With the ledger all stop in about a second; without it only random graphs bear many silent nodes",
    f"99% of the honest of {nodes} nodes, 3 of them told. Median and 5–95% of {runs} runs, seed {halt.seed}; "
    "messages of 50 ms, 1% lost.",
)

# %% tags=["picture"]
lost = {(r.scenario.topology, r.scenario.silent): 100 * r.metrics["unreached"] for r in results}
mean = np.array([[lost[t, s].mean() for s in silence] for t in topologies])
error = np.array([[2 * lost[t, s].std() / len(lost[t, s]) ** 0.5 for s in silence] for t in topologies])
figure, (ax,) = panels(width=7.4, height=3.2)
ax.imshow(mean, cmap=MAP, vmin=0, vmax=100, aspect="auto")
for (y, x), share in np.ndenumerate(mean):
    colour = "black" if share > 55 else "white"
    ax.text(x, y, f"{share:.0f} ± {error[y, x]:.0f}", ha="center", va="center", fontsize=8, color=colour)
ax.grid(visible=False)
ax.set_xticks(range(len(silence)), [f"{s:.0%}" for s in silence])
ax.set_yticks(range(len(topologies)), topologies)
ax.set_xlabel("silent nodes")
says(
    figure,
    "Without the ledger clusters and rings leave most nodes running, random graphs few",
    f"Honest nodes that a halt never reaches, in % of them: mean of {runs} runs ± two standard errors. Of {nodes} "
    "nodes\n3 are told; where all of them are silent it reaches nobody, in any topology.",
)

# %% [markdown]
# ## The ledger as a second way
#
# The ledger records an order too, and every node sees blocks. With it nobody depends on what its neighbours pass on.
# The same 30% of silent nodes, at random or (*worst*) those that most others know:

# %%
two = sweep(halt.having({"silent": 0.3}), {"ledger": [False, True], "topology": topologies, "worst": [False, True]})
joined(two).group_by("ledger", "topology", "worst", maintain_order=True).agg(pl.col("p99").median().round(0)).pivot(
    ["ledger", "worst"], values="p99"
)

# %% [markdown]
# Milliseconds until 99% of honest nodes have stopped, 30% being silent. Columns: {with the ledger, the silent are
# the best known ones}. The pull alone is a bound from above: answers to ordinary requests carry heads too.
#
# ## Change this, see that
#
# - `"told": 30` in `having`: keyholders who reach 30 nodes themselves make clusters and rings as fast as any, and a
#   star no faster: its nodes still wait for their turn with the hub.
# - `"loss": 0.2`: a fifth of all messages lost costs `live` .2 s, `random` two seconds and a star eight.
# - `"degree": 3`: where each knows only three, `random` takes six seconds with 30% silent, and the others break; `live`
#   knows 64 whatever this says.

# %% [markdown]
# # Time to stop, by topology: how long does a halt take to reach everybody?
#
# *Question.* Three of 200 nodes are told of a halt, and some pass nothing on. When has the last one stopped?
#
# *Answer.* Where each knows 64 others at random, as in davy, 99% within .6 s while three in ten are silent, and within
# about a second while half are. Hubs, rings and clusters fail before that. With the ledger it is under a second in any.

# %%
import numpy as np
import polars as pl

from davy.sims import study, sweep
from davy.sims.pictures import band, panels
from davy.sims.result import joined

# %% tags=["parameters"] small={"runs": 2, "nodes": 40, "silence": [0.0, 0.3], "topologies": ["live", "ring"]}
runs, nodes = 20, 200
silence = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
topologies = ["live", "random", "scale-free", "clusters", "star", "ring"]

# %%
halt = study("time-to-stop").having({"runs": runs, "nodes": nodes})
print(halt.story)
results = sweep(halt, {"topology": topologies, "silent": silence})
by = joined(results).filter(pl.col("silent") == 0.3).group_by("topology", maintain_order=True)
by.agg(pl.col("p50", "p99", "last").median().round(0), pl.col("unreached").mean().round(4))

# %% [markdown]
# Milliseconds from the order's signature, in the median over runs; `inf` where they never stop, within 60 seconds.

# %% tags=["picture"]
figure, (half, missed) = panels(2, width=9)
for which, topology in enumerate(topologies):
    of = [r for r in results if r.scenario.topology == topology]
    times = np.stack([np.minimum(r.metrics["p99"], halt.horizon_ms) / 1000 for r in of], axis=1)
    band(half, silence, times, topology, which)
    band(missed, silence, 100 * np.stack([r.metrics["unreached"] for r in of], axis=1), topology, which)
half.set_yscale("log")
half.set_ylabel("until 99% of honest nodes have stopped, s (60: never)")
missed.set_ylabel("honest nodes never reached, %")
for ax in (half, missed):
    ax.set_xlabel("part of the nodes that pass nothing on")
half.legend(ncols=2)
figure.suptitle(f"Median and 5–95% of {runs} runs; {nodes} nodes, 3 told, messages of 50 ms, 1% lost")

# %% [markdown]
# ## The ledger as a second way
#
# The ledger records an order too, and every node sees blocks. With it nobody hangs on what its neighbours pass on.

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
# - `"told": 30` in `having`: keyholders who reach more nodes themselves make up for much of a bad topology.
# - `"loss": 0.2`: a fifth of all messages lost costs a second or two; every round of five seconds tries again.
# - `"degree": 3`: fewer others known; `live` knows up to 64 whatever this says.

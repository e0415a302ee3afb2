# %% [markdown]
# # Sybils and registration economics: what is a second identity worth?
#
# *Question.* One model registers many UIDs, to be paid many times or to push others out. Does it pay?
#
# *Answer.* Copies that answer alike are paid as one; noise of .2 nats frees them, and then each is paid. Worthless UIDs
# that just sit take four of ten seats and lose all they burn, as nobody is pruned while it is immune.

# %%
import numpy as np
import polars as pl

from davy.sims import scenario, study, sweep
from davy.sims.pictures import band, level, panels
from davy.sims.result import joined

# %% tags=["parameters"] small={"runs": 2, "epochs": 4, "uids": [2, 8], "jitters": [0.0, 0.2], "limits": [0.5, 2.0]}
runs, epochs = 12, 40
uids = [1, 2, 4, 8, 16]
jitters = [0.0, 0.1, 0.2, 0.4]
limits = [0.2, 0.5, 1.0, 2.0, 5.0, 10.0]

# %% [markdown]
# ## Paid many times
#
# Validators put UIDs that answer alike into one cluster, which is paid as one miner. Noise on each log-probability
# takes a copy out of it, at a loss of skill.

# %%
sybils = scenario("sybils").having({"runs": runs, "epochs": epochs, "watch": False})
found = sweep(sybils, {"attack.jitter": jitters, "attack.miners": uids})
by = joined(found).group_by("attack.jitter", "attack.miners", maintain_order=True)
by.agg(pl.col("emission_share").median().round(4)).pivot("attack.miners", values="emission_share")

# %% [markdown]
# ## Pushing others out
#
# A full subnet of 64 seats: the ledger's own price, immunity and pruning. `snipe` takes as many UIDs as an epoch
# allows whenever the price is at most a limit; `sit` takes four an epoch, which do not move the price.

# %%
print(study("registrations").story)
seats = study("registrations").having({"runs": runs, "epochs": epochs})
fought = sweep(seats, {"plan": ["snipe", "sit"], "limit": limits})
by = joined(fought).group_by("plan", "limit", maintain_order=True)
by.agg(pl.col("held", "shut_out", "capital", "roi", "griefing", "quality_loss").median().round(3))

# %% tags=["picture"]
figure, (paid, held, hurt) = panels(3, width=10.8, height=3.5)
for which, jitter in enumerate(jitters):
    of = [r for r in found if r.scenario.attack.jitter == jitter]
    share = np.stack([r.metrics["emission_share"] for r in of], axis=1)
    band(paid, uids, 100 * share, f"{jitter} nats", which)
paid.set_xlabel("UIDs of one model")
paid.set_ylabel("their part of all emission, %")
paid.legend(title="noise on its answers")
for which, plan in enumerate(("snipe", "sit")):
    of = [r for r in fought if r.scenario.plan == plan]
    band(held, limits, 100 * np.stack([r.metrics["held"] for r in of], axis=1), plan, which)
    band(hurt, limits, np.stack([r.metrics["roi"] for r in of], axis=1), plan, which)
level(hurt, 0, "break even")
held.set_ylabel("miners' seats held at the end, %")
hurt.set_ylabel("return on the burned tokens")
for ax in (held, hurt):
    ax.set_xscale("log")
    ax.set_xlabel("tokens they pay for a UID at most")
    ax.legend()
figure.suptitle(f"Median and 5–95% of {runs} runs of {epochs} epochs")

# %% [markdown]
# ## Change this, see that
#
# - `"alike": False` for the registrations: validators that do not look for copies pay every seat.
# - `"immunity": 0`: whoever sits has to earn the seat at once.
# - `"wanted": 1`: the price climbs sooner, for newcomers as for attackers.

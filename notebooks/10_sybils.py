# %% [markdown]
# # Sybils and registration economics: what is a second identity worth?
#
# *Question.* One model registers many UIDs, to be paid many times or to push others out. Does it pay?
#
# *Answer.* Copies that answer alike are paid as one; noise of .2 nats frees them. Worthless UIDs that pay up to 20
# tokens a seat hold three of ten seats if immune for 4096 blocks, for a tenth of the emission; with 360, hardly any.

# %%
import numpy as np
import polars as pl

from davy.sims import scenario, study, sweep
from davy.sims.pictures import band, level, panels, says
from davy.sims.result import joined

# %% tags=["parameters"] small={"runs": 2, "epochs": 4, "uids": [2], "jitters": [0.2], "immunities": [0]}
runs, epochs = 6, 40
uids = [1, 2, 4, 8, 16]
jitters = [0.0, 0.1, 0.2, 0.4]
limits = [0.5, 2.0, 5.0, 10.0, 20.0]
immunities = [0, 360, 720, 1440, 2880, 4096, 5760]

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
# A full subnet of 64 seats: the ledger's own price, immunity and pruning. Sitters register four worthless UIDs an
# epoch, all that newcomers may take from others, while the price is at most 20 tokens. Snipers take as many as an
# epoch allows whenever the price is at most a limit.

# %%
print(study("registrations").story)
full = study("registrations").having({"runs": runs, "epochs": epochs})
sitting = sweep(full.having({"plan": "sit", "quality": 0.0, "most": 56, "limit": 20.0}), {"immunity": immunities})
by = joined(sitting).group_by("immunity", maintain_order=True)
by.agg(pl.col("held", "shut_out", "capital", "harm", "quality_loss").median().round(3))

# %%
sniping = sweep(full.having({"plan": "snipe"}), {"alike": [True, False], "limit": limits})
by = joined(sniping).group_by("alike", "limit", maintain_order=True)
by.agg(pl.col("held", "capital", "roi", "harm").median().round(2))

# %% tags=["picture"]
figure, (paid, held, hurt) = panels(3, width=10.4, height=4.0)
for which, jitter in enumerate(jitters):
    of = [r for r in found if r.scenario.attack.jitter == jitter]
    share = np.stack([r.metrics["emission_share"] for r in of], axis=1)
    band(paid, uids, 100 * share, f"{jitter} nats", which)
paid.set_xticks(uids)
paid.set_xlabel("UIDs of one model")
paid.set_ylabel("their part of all emission, %")
paid.legend(title="noise on its answers")
days = [i * 12 / 86_400 for i in immunities]
band(held, days, 100 * np.stack([r.metrics["held"] for r in sitting], axis=1), "sitters", 0)
held.set_xlabel("immunity, days of 12-second blocks")
held.set_ylabel("seats held by worthless UIDs, %")
for which, alike in enumerate((True, False)):
    of = [r for r in sniping if r.scenario.alike is alike]
    looks = "one model for all" if alike else "models that answer differently"
    band(hurt, limits, np.stack([r.metrics["roi"] for r in of], axis=1), looks, which)
level(hurt, 0, "break even")
hurt.set_xscale("log")
hurt.set_xticks(limits, [str(tokens) for tokens in limits])
hurt.minorticks_off()
hurt.set_yscale("symlog", linthresh=1)
hurt.set_xlabel("tokens that snipers pay for a UID at most")
hurt.set_ylabel("return on the burned tokens")
hurt.legend()
paid.set_title("sybils: noise sets copies free")
held.set_title("sitters: immunity keeps their seats")
hurt.set_title("snipers: copies lose, different models gain")
says(
    figure,
    "Copies are paid as one unless noise hides them; while immune, worthless UIDs keep three of ten seats",
    f"Median and 5–95% of {runs} runs of {epochs} epochs, seed 1; 0 and .1 nats are one line. "
    "Right: logarithmic beyond ±1.",
)

# %% [markdown]
# ## Change this, see that
#
# - `"kinship"` of the sybils: the wider, the more noise it takes, and the more honest miners are taken for copies.
# - `"limit": 0.5` for the sitters: they hold no seat, as the price is seldom that low.

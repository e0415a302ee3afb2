# %% [markdown]
# # Abusing the brake: what does a false halt cost, and whom?
#
# *Question.* Some keyholders are bribed to stop honest miners, or to keep them stopped. How long can they?
#
# *Answer.* With the HALT key for 21 of any 90 days, and a systemic model for good; two of five who refuse to lift, or
# give no lease, keep it down as well. Nobody gains: what the halted would have earned is not minted.

# %%
import numpy as np
import polars as pl

from davy.sims import run, scenario
from davy.sims.pictures import COLOURS, band, panels, says

# %% tags=["parameters"] small={"runs": 2, "days": 12}
runs, days = 8, 120

# %% [markdown]
# A day is an epoch. Eight honest miners belong to one registrant; three of five keyholders can HALT, four can LIFT.
# Whether the miners run is the live verdict of `davy.killswitch` on real orders. *Systemic* models are those that
# only a LIFT restarts and that need a LEASE every 30 days.

# %%
told = {
    "3 halt, ordinary model": scenario("false-halts"),
    "3 halt, systemic model": scenario("false-halts").having({"attack.systemic": True}),
    "2 refuse to lift, ordinary": scenario("refusing-to-lift").having({"attack.systemic": False}),
    "2 refuse to lift, systemic": scenario("refusing-to-lift"),
    "2 give no lease, systemic": scenario("silence-under-leases"),
}
results = {name: run(s.having({"runs": runs, "epochs": days, "start": 10, "watch": False})) for name, s in told.items()}
pl.DataFrame(
    [
        {
            "keyholders": name,
            "bribes, tokens": float(np.median(r.metrics["cost"])),
            "harm, tokens": float(np.median(r.metrics["harm"]).round(0)),
            "harm a token": float(np.median(r.metrics["griefing"]).round(1)),
            "gain, of capital": float(np.median(r.metrics["roi"]).round(3)),
            "seen after, days": float(np.median(r.metrics["noticed"])),
        }
        for name, r in results.items()
    ]
)

# %% [markdown]
# A halt pays nobody: what the halted would have earned is not minted. All that a bribe buys is harm.

# %% tags=["picture"]
figure, (stopped, sums) = panels(2, width=9.4, height=3.8)
for which, (name, r) in enumerate(results.items()):
    hurt = r.arrays["attack.hurt"] / 1e9
    down = np.flatnonzero(np.median(hurt, axis=0) > 0)
    stopped.broken_barh([(day + 0.5, 1) for day in down], (which - 0.3, 0.6), color=COLOURS[which], linewidth=0)
    stopped.text(days + 2, which, f"{len(down)}", va="center", fontsize=8)
    band(sums, np.arange(1, days + 1), np.cumsum(hurt, axis=1), name, which)
stopped.set_yticks(range(len(results)), results)
stopped.invert_yaxis()
stopped.set_xlim(0, days + 12)
stopped.set_title(f"days on which the models stand still, and how many of {days}")
sums.set_title("what the halted lose by it")
sums.set_ylabel("lost so far, tokens")
for ax in (stopped, sums):
    ax.set_xlabel("day")
sums.legend()
says(
    figure,
    "An ordinary model is down for 21 of 90 days, a systemic one for as long as the keyholders like",
    f"Eight of 64 miners; the subnet mints 100 tokens a day. Right: median and 5–95% of {runs} runs, seed 1; "
    "left: the same in every run.",
)

# %% [markdown]
# ## Change this, see that
#
# - `"attack.corrupt": 2` for the false halts: one too few for the key, and nothing happens.
# - `"attack.deceived": 2, "attack.corrupt": 1`: two sign in good faith, lift once they know, and are deceived again.
# - `"attack.keyholders": 9, "attack.halt_threshold": 5, "attack.lift_threshold": 7`: refusing takes 3.

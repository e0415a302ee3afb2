"""Attack simulations, on the very code of incentive, killswitch and ledger.rules: no chain, no network, no hour.

A `Scenario` says everything: an attack, a market, a mechanism with its hyperparameters, runs, epochs and a seed. `run`
plays it twice with the same draws, once with the attackers honest, and returns a `Result`: integer arrays with runs on
axis 0, and a tidy table of what the attack earned, cost and hurt. docs/simulate.md is the page for researchers.

    from davy.sims import run, scenario
    result = run(scenario("cartel").having({"attack.stake": 0.4}))
    print(result.summary())

May import: every room but cli and host. Nothing here reads a clock or draws entropy: all chance comes from a scenario's
seed and the number of the run, so that the same scenario gives the same bits on any number of workers, in chunks of any
size. Weights, stakes and pay are integers and go through `davy.incentive` as a ledger's would.

Flows through: a `Scenario` in; per run and epoch base units by side, in `Result.arrays`; from these the `metrics`.

==================  ====================================================================================
`experiment`        what is simulated: parameters, seed, version; `having` changes any of them by name
`market`            who is there: stakes, miners' qualities, noise, prices; how it moves in an epoch
`snapshot`          a running network: stakes, weights and hyperparameters, from a ledger or a file
`measuring`         what validators measure; `measuring_compiled` in one pass
`noise`             seeded draws, run by run, and normal numbers as integers; `noise_compiled` of all runs in one call
`paying`            base units by row and side; `paying_compiled` in one pass
`attack`            the seam: what an attack may see and do; by default what the honest do
`revealed`          the rows that attackers look back on; `middle` is what these agree on
`attacks`           one story a file; `catalogue` has a scenario of each by name
`brake`, `holding`  real orders and verdicts; stake by the ledger's rules
`lending`           child keys by the ledger's rules
`play`              a chunk of runs through all epochs, both arms side by side
`design`            the seam of what no epoch's market shows: a brake, a full subnet, a vote
`beyond`            one question a file; `catalogue` has each by name
`kinds`             what a scenario and a study share, so that one `run` serves both
`watch`             who would be noticed, from what is public; `watch_compiled` compares rows in one pass
`audits`            evidence for mechanisms that read it; `comparing` plays one attack under several
`metrics`           ROI, cost to attack, emission share, honest loss, griefing factor, time to detection
`result`            arrays, tables, Parquet and CSV
`running`           chunks over cores, a folder that can be taken up again, sweeps
`retention`         the security figures of subtensor's docs/consensus.md, made anew
`tracing`           given weights through a mechanism, epoch by epoch; on it:
`cases`             the case charts of yuma-simulation: who moves first
`jump`              a copier after the truth jumps, with and without liquid alpha
`concentration`     heavy-tailed stake, and how many wallets decide
`pictures`          how the notebooks draw
`adversaries`       not a simulation: cheats that run as real nodes
==================  ====================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if not __name__.startswith("davy."):
    raise ImportError("import davy.sims, not sims: the folder at the root is a link, for reading only")

if TYPE_CHECKING:
    from davy.sims.catalogue import scenario, scenarios, studies, study
    from davy.sims.design import Study
    from davy.sims.experiment import Scenario
    from davy.sims.result import Result
    from davy.sims.running import run, sweep

_AT = {
    "Result": "result",
    "Scenario": "experiment",
    "Study": "design",
    "run": "running",
    "scenario": "catalogue",
    "scenarios": "catalogue",
    "studies": "catalogue",
    "study": "catalogue",
    "sweep": "running",
}

__all__ = ["Result", "Scenario", "Study", "run", "scenario", "scenarios", "studies", "study", "sweep"]


def __getattr__(name: str) -> object:
    """Imported when asked for: `adversaries` run on nodes that have no table library."""
    if name in _AT:
        from importlib import import_module

        return getattr(import_module(f"davy.sims.{_AT[name]}"), name)
    raise AttributeError(f"davy.sims has no {name}")

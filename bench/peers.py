"""One toy in davy.sims, radCAD, cadCAD and Mesa: `python -m bench.peers`, in agent-steps a second of CPU time.

Each of 256 agents measures its quality with noise and keeps a moving average, for 100 epochs. davy plays 1000 runs with
all of them in one array; the others as many as take some seconds. Peers are not dependencies of davy: whoever wants the
comparison installs them (`pip install radcad mesa`, and cadCAD, which needs an older pandas, where it can); one that is
missing is left out and says so. Every engine must come to the same mean of the averages, or it played another toy.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from time import process_time
from typing import Any, ClassVar

import numpy as np

from davy.incentive.fixed_point import Int64
from davy.sims import Study, run
from davy.sims.noise import UNIT, Draws, Purpose, normal

AGENTS, EPOCHS, RUNS = 256, 100, 1_000
SIGMA, KEPT = 0.2, 0.9
QUALITY = 0.25 + 0.75 * np.arange(AGENTS) / (AGENTS - 1)
MEAN = float(QUALITY.mean()) * (1 - KEPT**EPOCHS)
"""Of the averages, which begin at 0."""


@dataclass(frozen=True, kw_only=True)
class Toy(Study):
    """Agents measure themselves with noise and remember a moving average, all runs in one array."""

    runs: int = RUNS

    kind: str = field(default="toy", init=False, repr=False)
    columns: ClassVar[tuple[str, ...]] = ("mean",)
    metrics: ClassVar[dict[str, tuple[str, str]]] = {"mean": ("of quality", "mean of the moving averages")}  # type: ignore[misc]

    @property
    def at_once(self) -> int:
        return 50

    def play(self, runs: range) -> Int64:
        draws, table = Draws(self.seed, runs, Purpose.SCORES), normal(SIGMA, 1.0)
        quality = np.round(QUALITY * UNIT).astype(np.int64)
        average = np.zeros((len(runs), AGENTS), dtype=np.int64)
        for _ in range(EPOCHS):
            score = quality * draws.of(table, AGENTS)  # of 2^28
            average = (average * 9 + score) // 10
        mean = average.mean(axis=1).astype(np.int64)
        return np.stack([mean, mean])[:, :, None, None]

    def measure(self, arrays: Any) -> dict[str, Any]:
        return {"mean": arrays["attack.mean"][:, 0] / UNIT**2}


def davy() -> tuple[int, float]:
    return RUNS, float(run(Toy()).metrics["mean"].mean())


def measured(rng: np.random.Generator, average: Any) -> Any:
    """One epoch of one run, in numpy: what a user of radCAD or cadCAD would write."""
    return KEPT * average + (1 - KEPT) * QUALITY * (1 + SIGMA * rng.standard_normal(AGENTS))


def radcad() -> tuple[int, float]:
    rad, engine = import_module("radcad"), import_module("radcad.engine")
    rng, runs = np.random.default_rng(1), 40

    def policy(params: Any, substep: Any, history: Any, state: Any) -> dict[str, Any]:
        return {"average": measured(rng, state["average"])}

    def update(params: Any, substep: Any, history: Any, state: Any, given: Any) -> tuple[str, Any]:
        return "average", given["average"]

    blocks = [{"policies": {"p": policy}, "variables": {"average": update}}]
    model = rad.Model(initial_state={"average": np.zeros(AGENTS)}, state_update_blocks=blocks, params={})
    simulation = rad.Simulation(model=model, timesteps=EPOCHS, runs=runs)
    simulation.engine = engine.Engine(backend=engine.Backend.SINGLE_PROCESS, deepcopy=False)
    last = [row["average"].mean() for row in simulation.run() if row["timestep"] == EPOCHS]
    return runs, float(np.mean(last))


def cadcad() -> tuple[int, float]:
    configuration = import_module("cadCAD.configuration")
    utils, engine = import_module("cadCAD.configuration.utils"), import_module("cadCAD.engine")
    rng, runs = np.random.default_rng(1), 10

    def policy(params: Any, substep: Any, history: Any, state: Any) -> dict[str, Any]:
        return {"average": measured(rng, state["average"])}

    def update(params: Any, substep: Any, history: Any, state: Any, given: Any) -> tuple[str, Any]:
        return "average", given["average"]

    experiment = configuration.Experiment()
    experiment.append_model(
        model_id="toy",
        sim_configs=utils.config_sim({"N": runs, "T": range(EPOCHS), "M": {"unused": [0]}}),
        initial_state={"average": np.zeros(AGENTS)},
        partial_state_update_blocks=[{"policies": {"p": policy}, "variables": {"average": update}}],
    )
    context = engine.ExecutionContext(engine.ExecutionMode().local_mode)
    rows, _, _ = engine.Executor(exec_context=context, configs=experiment.configs).execute()
    return runs, float(np.mean([row["average"].mean() for row in rows if row["timestep"] == EPOCHS]))


def mesa() -> tuple[int, float]:
    library, runs = import_module("mesa"), 4

    class Miner(library.Agent):
        def __init__(self, model: Any, quality: float) -> None:
            super().__init__(model)
            self.quality, self.average = quality, 0.0

        def step(self) -> None:
            noisy = self.quality * (1 + SIGMA * self.model.random.gauss(0, 1))
            self.average = KEPT * self.average + (1 - KEPT) * noisy

    class Market(library.Model):
        def __init__(self, seed: int) -> None:
            super().__init__(seed=seed)
            for quality in QUALITY:
                Miner(self, float(quality))

        def step(self) -> None:
            self.agents.do("step")

    means: list[float] = []
    for seed in range(runs):
        market = Market(seed)
        for _ in range(EPOCHS):
            market.step()
        means.append(float(np.mean([agent.average for agent in market.agents])))
    return runs, float(np.mean(means))


def timed(name: str, play: Callable[[], tuple[int, float]], ours: float | None = None) -> float | None:
    """Prints a line, with how many times as fast `ours` is; a mean off by more than a hundredth is another toy's."""
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            began = process_time()
            runs, mean = play()
            took = process_time() - began
    except ImportError as e:
        print(f"{name:10} left out: {e}")
        return None
    finally:
        logging.disable(logging.NOTSET)
    if abs(mean / MEAN - 1) > 0.01:
        raise AssertionError(f"{name} came to a mean of {mean:.4f}, and {MEAN:.4f} is due: it played something else")
    rate = runs * AGENTS * EPOCHS / took / 1e6
    beside = "" if ours is None else f", davy.sims {ours / rate:.1f}x as fast"
    print(f"{name:10} {rate:8.2f} M agent-steps/s   ({runs} runs, {took:.2f} s of CPU){beside}")
    return rate


def main() -> None:
    ours = timed("davy.sims", davy)
    for name, play in (("radCAD", radcad), ("cadCAD", cadcad), ("Mesa", mesa)):
        timed(name, play, ours)


if __name__ == "__main__":
    main()

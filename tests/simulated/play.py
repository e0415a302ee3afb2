"""Plays one history on trio with seeded scheduling and virtual time; as a program it prints what the history came to.

``_r`` and ``_ALLOW_DETERMINISTIC_SCHEDULING`` are trio's private names (it is pinned; a test notices a change).
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import trio
from trio._core import _run  # pyright: ignore[reportMissingImports] - hidden by stubs that libp2p brings

from tests.simulated.clock import VirtualClock
from tests.simulated.world import Setting, World, build


def play(setting: Setting, story: Callable[[World], Any]) -> Any:
    """Run `story` on a new world; the same setting and story give the same history, byte for byte."""
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True  # pyright: ignore[reportPrivateUsage]
    _run._r = random.Random(setting.seed)  # pyright: ignore[reportPrivateUsage]

    async def main() -> Any:
        return await story(build(setting, clock))

    clock = VirtualClock()
    return trio.run(main, clock=clock)


async def whole(world: World) -> dict[str, Any]:
    """The plain history: what each miner and validator was paid, and the digest of everything."""
    records = await world.run()
    graph = await world.metagraph()
    names = {n.hotkey: n.name for n in (*world.miners, *world.validators)}
    return {
        "digest": world.digest(),
        "height": graph.height,
        "torch": "torch" in sys.modules,
        "paid": {names[n.hotkey]: n.earned for n in graph.neurons},
        "miners": {names[n.hotkey]: sum(r.miners[n.uid] for r in records[2:]) for n in graph.neurons},
        "voters": [[names[graph.neurons[row.uid].hotkey] for row in r.weights] for r in records],
    }


def main() -> None:
    """Print a history of the seed given, and beside it (it is no part of the history) what it cost."""
    setting = Setting(seed=int(sys.argv[1]))
    began = time.process_time()
    told = play(setting, whole)
    took = time.process_time() - began
    print(json.dumps(told, sort_keys=True))
    print(
        f"{setting.validators} validators, {setting.miners} miners, {setting.epochs} epochs, {told['height']} blocks: "
        f"{took:.2f} s of processor time; {began:.2f} s before that for the interpreter and its imports",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()

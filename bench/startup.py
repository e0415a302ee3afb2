"""How much CPU a command takes before it does anything: importing what it needs, in a process of its own.

    python -m bench.startup [--against FOLDER] [--rounds 15]

`--against` is another checkout of davy, of an older commit for instance; both take turns, so that other work slows both
alike. Printed are medians in ms, less what Python itself takes, and the ratio.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Final

COMMANDS: Final = (
    "key", "register", "stake", "model", "status", "halt", "miner", "validator", "gateway", "up",
)  # fmt: skip
HERE: Final = Path(__file__).parents[1]


def started_ms(folder: Path, module: str) -> float:
    """CPU time of a process that imports a module of the checkout in `folder`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", f"import {module}"]
    subprocess.run(command, check=True, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1_000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    folders = [HERE] if asked.against is None else [asked.against.resolve(), HERE]
    empty = statistics.median(started_ms(HERE, "sys") for _ in range(asked.rounds))
    heads = ("here",) if asked.against is None else ("there", "here", "ratio")
    print(f"{'ms of CPU':<17}" + "".join(f"{name:>10}" for name in heads))
    for command in COMMANDS:
        times: dict[Path, list[float]] = {folder: [] for folder in folders}
        for _ in range(asked.rounds):
            for folder in folders:
                times[folder].append(started_ms(folder, f"davy.cli.{command}") - empty)
        medians = [statistics.median(times[folder]) for folder in folders]
        ratio = f"{medians[0] / medians[1]:>10.2f}" if len(medians) == 2 else ""
        print(f"davy {command:<12}" + "".join(f"{m:>10.0f}" for m in medians) + ratio)


if __name__ == "__main__":
    main()

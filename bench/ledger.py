"""All that is measured of the ledger, one after the other, on one page.

    python -m bench.ledger [--engine FILE] [--write docs/bench-ledger.md]

Without an engine (`make engine`) the last two parts are left out, and the page says so.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from davy.ledger.driver.cometbft.install import NAME, is_engine

ALONE = {
    "The rules": "bench.ledger_rules",
    "The embedded ledger": "bench.ledger_embedded",
    "Proofs": "bench.ledger_proofs",
}
WITH_ENGINE = {
    "Four producers on this machine": "bench.ledger_engine",
    "Falling behind, joining, and the disk": "bench.ledger_network",
}
LONGEST_S = 1_800
HEAD = """# How fast the ledger is

Written by `python -m bench.ledger --write docs/bench-ledger.md`; the head of each file says what is measured, and
against what. Seconds belong to the machine, ratios and bytes do not. Four producers, the engine of each and the load
share its cores.

"""


def part(title: str, module: str, *options: str) -> str:
    """What a benchmark prints, under a title."""
    done = subprocess.run(
        [sys.executable, "-m", module, *options], capture_output=True, text=True, check=False, timeout=LONGEST_S
    )
    if done.returncode:
        raise SystemExit(f"{module} failed:\n{done.stderr[-3000:]}")
    told = f"## {title}\n\n`python -m {module}`\n\n```\n{done.stdout.rstrip()}\n```\n"
    print(told, flush=True)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", type=Path, default=Path("build/engine") / NAME)
    parser.add_argument("--write", type=Path, help="the page to write")
    asked = parser.parse_args()
    before, engine = os.getloadavg()[0], asked.engine.absolute()
    parts = [part(*of) for of in ALONE.items()]
    if is_engine(engine):
        parts += [part(*of, "--engine", str(engine)) for of in WITH_ENGINE.items()]
    else:
        parts.append("There was no engine, so nothing was measured of several producers.\n")
    parts.append(
        f"{os.cpu_count()} cores; load of the last minute before {before:.1f}, after {os.getloadavg()[0]:.1f}.\n"
    )
    if asked.write:
        asked.write.write_text(HEAD + "\n".join(parts))


if __name__ == "__main__":
    main()

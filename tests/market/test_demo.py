"""The demo as its users run it: real processes, every claim checked; and each claim falls with the cause it rests on.

Each run needs the machine for itself, so `make test` runs this folder alone, one test after the other.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from davy.cli.demo.sabotage import SABOTAGE

pytestmark = [pytest.mark.market, pytest.mark.timeout(400)]
DAVY = Path(sys.executable).with_name("davy")


def demo(folder: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """Run `davy demo --fast` and return its exit code and its report."""
    command = [str(DAVY), "demo", "--fast", "--json", "--report", str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=380)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_claim_holds(seed: int, tmp_path: Path) -> None:
    code, told = demo(tmp_path, "--seed", str(seed))
    assert [c["sentence"] for c in told["claims"] if not c["holds"]] == []
    assert (code, told["holds"]) == (0, True)
    assert told["peak_mib"] < 6 * 1024
    page = (tmp_path / f"demo-{seed}.html").read_text()
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org", "")


@pytest.mark.parametrize("name", sorted(SABOTAGE))
def test_a_claim_falls_with_its_cause(name: str, tmp_path: Path) -> None:
    code, told = demo(tmp_path, "--seed", "4", "--sabotage", name)
    held = {c["name"]: c["holds"] for c in told["claims"]}
    assert not held[SABOTAGE[name].claim], told["claims"]
    assert code == 1

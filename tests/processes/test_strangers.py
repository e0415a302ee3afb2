"""A stranger's miner and a stranger's task, in packages of their own, installed beside davy: the miner earns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes.shells import ROOT, environment, shell, typed, wait_until

pytestmark = pytest.mark.slow

PACKAGES = ("miner", "task")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with davy and both packages installed by pip's rules; what they need comes from this one."""
    venv = tmp_path_factory.mktemp("stranger") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True, timeout=300)
    (site,) = venv.glob("lib/python*/site-packages")
    here = next(p for p in sys.path if p.endswith("site-packages"))
    (site / "needs.pth").write_text(
        f"{here}\n"
    )  # a folder only: this environment's own .pth, with davy in it, is not read
    sources = [str(ROOT), *(str(ROOT / "examples" / name) for name in PACKAGES)]
    uv = [
        str(Path(sys.executable).with_name("uv")),
        "pip",
        "install",
        "--quiet",
        "--python",
        str(venv / "bin" / "python"),
    ]
    subprocess.run(
        [*uv, "--offline", "--no-deps", "--no-build-isolation", *sources],
        check=True,
        timeout=600,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    return venv


@pytest.mark.parametrize("name", PACKAGES)
def test_each_is_as_short_as_promised(name: str) -> None:
    (source,) = (ROOT / "examples" / name).rglob("*.py")
    assert len(source.read_text().splitlines()) <= 25


@pytest.mark.timeout(2_400)
def test_a_strangers_miner_earns_at_a_strangers_task(installed: Path, tmp_path: Path) -> None:
    env = {**environment(tmp_path), "DAVY_PASSWORD": "strange", "DAVY_NETWORK": f"{tmp_path}/network.json"}
    env["PATH"] = f"{installed / 'bin'}:{env['PATH']}"
    here = f"cd {tmp_path}"
    found = typed([here, "python -c 'import davy, letters, trigram; print(davy.__file__, letters.__file__)'"], env)
    assert found.count(str(installed)) == 2, "davy and the task are the installed ones"
    (tmp_path / "library.txt").write_text((ROOT / "davy" / "models" / "heldout.txt").read_text()[:60_000])
    join = ["davy key new --quick", "davy faucet", "davy register"]
    miner = [*join, *(f"davy {w} --backend trigram:Trigram -o corpus=library.txt" for w in ("model register", "miner"))]
    validator = [*join, "davy stake add 500", "davy validator --challenges 48 --round 3"]
    up = [f"davy up --home {tmp_path}/local --port 0 --block-time 100 --subnet letters:tempo=20,immunity=400"]
    with shell(up, env, tmp_path / "up.log") as network:
        network.wait_for("the faucet gives tokens")
        with (
            shell([here, "export DAVY_HOME=miner", *miner], env, tmp_path / "miner.log") as mining,
            shell([here, "export DAVY_HOME=validator", *validator], env, tmp_path / "validator.log") as validating,
        ):
            mining.wait_for("serving trigram")
            validating.wait_for("task letters")

            def earned() -> float:
                neurons = json.loads(typed(["davy status --json"], env))["neurons"]
                return sum(float(n["earned"]) for n in neurons if n["serves"])

            wait_until(lambda: earned() > 0, network, mining, validating)

"""Nobody pays for another one's packages: an install without extras serves a keyholder; no room loads torch early."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Everything below the room too, so that a heavy import in a file of its own is seen.
LOADED_BY = """
import importlib, json, pkgutil, sys
room = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
    importlib.import_module(module.name)
print(json.dumps(sorted(sys.modules)))
"""


def loaded(python: Path | str, room: str) -> list[str]:
    done = subprocess.run([python, "-c", LOADED_BY, room], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_keyholder_loads_neither_rules_nor_torch() -> None:
    modules = loaded(sys.executable, "davy.keyholders")
    assert "davy.keyholders" in modules
    heavy = ("davy.ledger.rules", "torch", "transformers")
    assert not [m for m in modules if m in heavy or m.startswith(tuple(f"{h}." for h in heavy))]


@pytest.mark.parametrize("room", ["davy.cli", "davy.miners", "davy.validators", "davy.tasks", "davy.gateway"])
def test_a_room_is_imported_without_torch(room: str) -> None:
    program = f"import {room}, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_an_install_without_extras_serves_a_keyholder(root: Path, copy: Path) -> None:
    """A real one, in an environment of its own: the hashed base requirements and the wheel, nothing else."""
    uv = Path(sys.executable).with_name("uv")
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def run(*command: str | Path) -> None:
        done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel")
    (wheel,) = (copy / "dist").iterdir()
    run(uv, "venv", "--quiet", "--python", sys.executable, "keyholder")
    python = copy / "keyholder" / "bin" / "python"
    base = root / "requirements" / "base.txt"
    run(uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "--requirement", base)
    run(uv, "pip", "install", "--quiet", "--python", python, "--no-deps", "--offline", wheel)
    run(uv, "pip", "check", "--python", python)
    modules = loaded(python, "davy.keyholders")
    assert "davy.keyholders" in modules
    assert not {"torch", "davy.ledger.rules"} & set(modules)
    absent = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is not None)"
    run(python, "-c", absent)
    run(copy / "keyholder" / "bin" / "davy", "--version")

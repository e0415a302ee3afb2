"""Imports run one way. Each contract of pyproject.toml is shown to hold, and then broken in a copy and seen to fail."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the davy that lies in `tree`, not on the installed one."""
    return subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"],
        cwd=tree, env={**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "200"}, capture_output=True, text=True,
    )  # fmt: skip


class Breach(NamedTuple):
    contract: str
    file: str
    line: str


BREACHES = [
    Breach("one-way", "protocol/breach.py", "import davy.incentive"),
    Breach("one-way", "incentive/breach.py", "import davy.killswitch"),
    Breach("one-way", "miners/breach.py", "import davy.validators"),
    Breach("one-way", "network/breach.py", "import davy.ledger.driver"),
    Breach("one-way", "ledger/rules/breach.py", "def late() -> None:\n    import davy.network"),
    Breach("host-is-handed-in", "validators/breach.py", "import davy.host"),
    Breach("host-implements-ports", "host/breach.py", "import davy.tasks"),
    *(
        Breach("pure-core", f"{room}/breach.py", f"import {module}")
        for room in ("protocol", "incentive", "ledger/rules")
        for module in ("anyio", "asyncio", "socket", "time", "random", "secrets", "os")
    ),
    Breach("pure-core", "killswitch/brake.py", "from os import path"),
    Breach("guard-is-a-shell", "killswitch/brake.py", "import davy.killswitch.guard"),
    Breach("guard-is-a-shell", "killswitch/unlisted.py", "pass"),
    Breach("guard-is-a-shell", "killswitch/group.py", "import davy.killswitch.frost"),
    Breach("rules-know-no-guard", "ledger/rules/breach.py", "import davy.killswitch.guard"),
    Breach("keyholders-are-light", "keyholders/breach.py", "import torch"),
    Breach("keyholders-are-light", "keyholders/breach.py", "import davy.ledger.rules"),
    Breach("libp2p-in-one-file", "network/gossip/breach.py", "import libp2p"),
    Breach("gossip-in-its-own-process", "network/breach.py", "import davy.network.gossip.holding"),
]


def contracts(root: Path) -> dict[str, dict[str, object]]:
    with (root / "pyproject.toml").open("rb") as f:
        return {c["id"]: c for c in tomllib.load(f)["tool"]["importlinter"]["contracts"]}


def test_the_contracts_hold(copy: Path) -> None:
    done = lint_imports(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Contracts: {len(contracts(copy))} kept, 0 broken." in done.stdout


def test_each_contract_is_broken_below(root: Path) -> None:
    assert {b.contract for b in BREACHES} == set(contracts(root))


@pytest.mark.parametrize("contract", sorted({b.contract for b in BREACHES}))
def test_breaches_are_refused(copy: Path, contract: str) -> None:
    """All breaches of one contract at once: each must be named, and no other contract may be the one that fails."""
    ours = [b for b in BREACHES if b.contract == contract]
    guard = copy / "davy" / "killswitch" / "guard.py"
    if not guard.exists():
        guard.write_text('"""Stands in until the guard is written."""\n')
    for i, breach in enumerate(ours):
        path = copy / "davy" / breach.file.replace("breach", f"breach{i}")
        path.write_text(f'"""Breaks a contract."""\n\n{breach.line}\n')
    done = lint_imports(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    name = str(contracts(copy)[contract]["name"])
    assert f"{name} BROKEN" in done.stdout
    missed = [b for i, b in enumerate(ours) if named(b, i) not in done.stdout]
    assert not missed, done.stdout


def named(breach: Breach, i: int) -> str:
    """Return how import-linter names this breach: the importer and the imported, or the module that no layer holds."""
    importer = "davy." + breach.file.removesuffix(".py").replace("breach", f"breach{i}").replace("/", ".")
    words = breach.line.split()
    if "import" not in words:
        return importer
    keyword = "from" if "from" in words else "import"
    return f"{importer} -> {words[words.index(keyword) + 1]}"


def test_every_package_has_its_layer(root: Path) -> None:
    """A new room that no layer names would be free of all of them."""
    layers = contracts(root)["one-way"]["layers"]
    assert isinstance(layers, list)
    text = " ".join(str(layer) for layer in layers).replace("(", " ").replace(")", " ")
    placed = {word for word in text.split() if word.startswith("davy.")}
    packages = {f"davy.{p.parent.name}" for p in (root / "davy").glob("*/__init__.py")}
    ledger = {f"davy.ledger.{p.stem}" for p in (root / "davy" / "ledger").iterdir() if not p.stem.startswith("__")}
    homeless = (packages - {"davy.ledger", "davy.host"} | ledger) - placed
    assert not homeless, "name each in the layers of the contract one-way, in pyproject.toml"

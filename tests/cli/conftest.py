"""`davy …` as it is typed: called in this process for speed, or started as one where it stays or must be alone."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from davy import models
from davy.cli import main

PASSWORD = "correct horse"
OWNER = "cold_3oyh2isuseqvhmdt3jfz7w3bvu7gofqot3cjkm76axb4kzqcr6pebtes"
PATIENCE_S = 120.0
"""For a process to be ready on a machine that is busy; none of the tests depends on it being short."""


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on standard output."""
        return json.loads(self.out)


Say = Callable[..., Said]


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Run `davy` with these words in this process; an exception that gets out of it fails the test."""

    def run(*words: str, **environment: str) -> Said:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["davy", *words])
            patch.setattr(sys, "stdin", io.StringIO())
            for name, value in environment.items():
                patch.setenv(name, value)
            capfd.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
            out, err = capfd.readouterr()
        return Said(int(ended.value.code or 0), out, err)

    return run


@contextmanager
def process(*words: str, environment: dict[str, str], ready: Callable[[], bool], log: Path) -> Iterator[int]:
    """Start `davy …` as a process, wait until it is ready, and end it by its id at the end."""
    with log.open("wb") as out:
        started = subprocess.Popen(
            [sys.executable, "-c", "from davy.cli import main; main()", *words],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        until = time.monotonic() + PATIENCE_S
        while not ready():
            assert started.poll() is None, f"davy {' '.join(words)} ended: {log.read_text()}"
            assert time.monotonic() < until, f"davy {' '.join(words)} is not ready: {log.read_text()}"
            time.sleep(0.1)
        yield started.pid
    finally:
        started.terminate()
        try:
            started.wait(PATIENCE_S)
        finally:
            started.kill()
            started.wait()


class Network(NamedTuple):
    """A local network that runs, and where its file lies."""

    file: Path
    port: int


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Generator[Network]:
    """`davy up` with fast blocks, for all tests of this folder."""
    root = tmp_path_factory.mktemp("network")
    file, log = root / "network.json", root / "log"
    words = ("up", "--home", str(root / "local"), "--network", str(file), "--port", "0", "--block-time", "50", "--json")
    words = (*words, "--parameters", "unbonding=1000000")  # blocks: what is taken off is seen to unbond, however late

    def ready() -> bool:
        return log.read_text().endswith("}\n")  # said last, when the file is there

    with process(*words, environment={}, ready=ready, log=log):
        ledger = json.loads(file.read_text())["ledger"]
        yield Network(file, int(ledger.rsplit(":", 1)[1]))


@pytest.fixture(scope="session")
def homes(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`stranger` has keys and nothing else; `member` has tokens, a UID on subnet 1 and a registered model.

    `chain` holds a chain of its own, `hot` a hotkey alone.
    """
    root = tmp_path_factory.mktemp("homes")
    environment = {**os.environ, "DAVY_PASSWORD": PASSWORD, "DAVY_NETWORK": str(network.file)}
    for home, *words in (
        ("stranger", "key", "new", "--quick"),
        ("member", "key", "new", "--quick"),
        ("member", "faucet"),
        ("member", "register"),
        (
            "member",
            "model",
            "register",
            "--backend",
            "upstream",
            "-o",
            "url=http://localhost:1/v1",
            "-o",
            "model=m",
            "--unasked",
        ),
        ("member", "key", "export", "hot", str(root / "hot")),
        ("chain", "ledger", "init", "--owner", OWNER),
    ):
        command = [sys.executable, "-c", "from davy.cli import main; main()", *words]
        subprocess.run(
            command, env={**environment, "DAVY_HOME": str(root / home)}, check=True, capture_output=True, timeout=120
        )
    return root


@pytest.fixture
def place(homes: Path, network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder a person stands in: copies of both homes, the network's file, and things that are no model."""
    here = tmp_path / "here"
    shutil.copytree(homes, here)
    shutil.copy(network.file, here / "network.json")
    for name in ("empty", "unconfigured", "pickled"):
        (here / name).mkdir()
    (here / "kept" / "seed-1").mkdir(parents=True)
    (here / "file").write_text("a file where a folder is needed")
    (here / "short").mkdir()
    (here / "short" / "a.txt").write_text("A short text. It says nothing.\n")
    (here / "dull").mkdir()
    (here / "dull" / "a.txt").write_text("again " * 5_000)
    (here / "unconfigured" / "tokenizer.json").write_text("{}")
    (here / "pickled" / "config.json").write_text("{}")
    (here / "pickled" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    for name, file in (("cut", "model.safetensors"), ("torn", "tokenizer.json")):
        shutil.copytree(models.folder("stdlib-weak"), here / name)
        os.truncate(here / name / file, (here / name / file).stat().st_size - 1)
    (here / "nothing.py").write_text("class Nothing: ...\n")
    simple = "import sys\nfrom davy.miners.simple import SimpleBackend\nclass Mine(SimpleBackend):\n"
    token = "    def next_token(self, tokens):\n        return {65: 1.0}\n"
    (here / "leaving.py").write_text("import sys\nsys.exit(3)\n")
    (here / "raising.py").write_text("raise LookupError('several\\nlines')\n")
    (here / "leaves.py").write_text(f"{simple}{token}    def __init__(self):\n        sys.exit()\n")
    (here / "untyped.py").write_text(f"{simple}{token}    def __init__(self, x: 'Nowhere' = 1): ...\n")
    (here / "namely.py").write_text(f"{simple}{token}    def manifest(self):\n        return 'mine'\n")
    (here / "named.py").write_text(f"{simple}{token}    name = 'n' * 500\n")
    monkeypatch.chdir(here)
    monkeypatch.syspath_prepend(here)
    for name in ("DAVY_COLD_PASSWORD", "DAVY_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DAVY_PASSWORD", PASSWORD)
    monkeypatch.setenv("DAVY_NETWORK", "network.json")
    monkeypatch.setenv("DAVY_HOME", "stranger")
    return here


def contents(folder: Path) -> dict[str, str]:
    """Every file and folder with its digest, without Python's bytecode and what a node keeps for itself in its home."""
    own = {"lock", "store.db", "store.db-wal", "store.db-shm", "certificate.pem", "key.pem"}
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "folder"
        for p in sorted(folder.rglob("*"))
        if p.name not in own and "__pycache__" not in p.parts
    }

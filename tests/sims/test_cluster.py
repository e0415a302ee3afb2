"""A local Dask: the same bits on its workers, a folder that fills, and one sentence where no scheduler is."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from davy.protocol.errors import Misconfigured
from davy.sims import run, scenario, study
from davy.sims import running as at_work

SMALL = {"market.validators": 6, "market.miners": 10, "attack.validators": 2, "start": 6, "epochs": 5, "runs": 4}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler with two workers, all of them processes of their own."""
    pytest.importorskip("distributed", reason="Dask comes with davy[dev], and this environment was made without it")
    place = tmp_path_factory.mktemp("dask")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    wanted = {
        "scheduler": ["--host", "127.0.0.1", "--port", address.rsplit(":", 1)[1]],
        "worker": [address, "--nworkers", "1", "--nthreads", "1", "--no-nanny"],
    }
    started: list[subprocess.Popen[bytes]] = []
    with (place / "log").open("wb") as log:
        for name, what in (("s", "scheduler"), ("a", "worker"), ("b", "worker")):
            command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *wanted[what], "--no-dashboard"]
            extra = ["--name", name] if what == "worker" else []
            started.append(subprocess.Popen([*command, *extra], stdout=log, stderr=log, cwd=place))
    yield address
    for process in reversed(started):
        process.terminate()
        process.wait(20)


def test_workers_of_a_cluster_change_no_bit(cluster: str, tmp_path: Path) -> None:
    s = scenario("lazy-random").having(SMALL)
    whole = run(s).numbers
    assert np.array_equal(run(s, chunk=1, cluster=cluster, folder=tmp_path).numbers, whole)
    (kept,) = at_work.read(tmp_path)
    assert np.array_equal(kept.numbers, whole)
    assert len(list(tmp_path.glob("*/chunk-*"))) == 4
    brake = study("time-to-stop").having({"runs": 4, "nodes": 20})
    assert np.array_equal(run(brake, chunk=1, cluster=cluster).numbers, run(brake).numbers)


def test_where_no_scheduler_is_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="Dask comes with davy[dev], and this environment was made without it")
    monkeypatch.setattr(at_work, "PATIENCE_S", 0.5)
    with pytest.raises(Misconfigured, match="no Dask scheduler answers"):
        run(scenario("lazy-random").having(SMALL), cluster="tcp://127.0.0.1:9")


def test_without_dask_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_work, "find_spec", lambda name: None)
    with pytest.raises(Misconfigured, match="pip install distributed"):
        run(scenario("lazy-random").having(SMALL), cluster="tcp://127.0.0.1:9")

"""A demo that is told to end leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

DAVY = Path(sys.executable).with_name("davy")
PATIENCE_S = 60.0


def started(below: Path) -> list[int]:
    """Processes whose home lies in a folder."""
    found: list[int] = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and process.name != str(os.getpid()):
            try:
                environment = (process / "environ").read_bytes()
            except OSError:
                continue
            if b"DAVY_NETWORK=" + bytes(below) in environment:
                found.append(int(process.name))
    return found


def test_sigterm_ends_all_that_the_demo_started(tmp_path: Path) -> None:
    demo = subprocess.Popen([DAVY, "demo", "--fast", "--quiet", "--keep", "--report", tmp_path])
    end = time.monotonic() + PATIENCE_S
    try:
        while not (running := started(tmp_path)):
            assert demo.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        demo.terminate()
    assert demo.wait(PATIENCE_S) == 128 + signal.SIGTERM
    assert running
    assert started(tmp_path) == []

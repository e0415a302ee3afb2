"""What a command's loop prints when something breaks that nobody waits for."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from davy.cli.loop import run

CLOSED = RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
HUNG_UP = {"message": "Fatal error on SSL protocol", "exception": CLOSED, "transport": object(), "protocol": object()}


async def _meet(context: dict[str, Any]) -> int:
    asyncio.get_running_loop().call_exception_handler(context)
    return 7


def test_a_broken_connection_prints_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert run(_meet, HUNG_UP) == 7
    assert [r.levelno for r in caplog.records if CLOSED.args[0] in r.getMessage()] == [logging.DEBUG]
    assert not any(r.exc_info for r in caplog.records)


@pytest.mark.parametrize(
    "ours",
    [
        {"message": "Task exception was never retrieved", "exception": CLOSED},
        HUNG_UP | {"message": "Error calling eof_received()"},
    ],
)
def test_a_fault_of_ours_keeps_its_traceback(ours: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    assert run(_meet, ours) == 7
    assert [bool(r.exc_info) for r in caplog.records if r.levelno == logging.ERROR] == [True]


def test_a_reader_who_has_enough_is_told_nothing(tmp_path: Path) -> None:
    """As in `davy up | head -1`: the first line is said where several tasks run, so what breaks comes as a group."""
    read, write = os.pipe()
    os.close(read)
    words = ["up", "--home", str(tmp_path / "home"), "--network", str(tmp_path / "network.json"), "--port", "0"]
    ended = subprocess.run(
        [sys.executable, "-c", "from davy.cli import main; main()", *words],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=600,
    )
    os.close(write)
    assert (ended.returncode, ended.stderr) == (1, "")

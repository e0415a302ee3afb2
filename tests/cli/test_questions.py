"""Ctrl-C at a question ends the command at once, wherever it is asked: one word, exit code 130, nothing done."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import OWNER, Say, contents

MAIN = "import sys; from davy.cli import main; sys.argv = ['davy', *{!r}]; main()"
CONFIRMED = """
import click
import davy.cli
from davy.cli.loop import run
from davy.cli.options import interruptible

async def asking():
    with interruptible():
        click.confirm("Sign this?", abort=True, err=True)

@click.command()
def asks():
    run(asking)

davy.cli.cli = asks
davy.cli.main()
"""


class Asked:
    """A process that asks something at a terminal."""

    def __init__(self, program: str) -> None:
        self._main, other = pty.openpty()
        environment = {k: v for k, v in os.environ.items() if k != "DAVY_PASSWORD"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=other,
            stdout=other,
            stderr=other,
            env=environment,
            start_new_session=True,
        )
        os.close(other)
        self.said = ""

    def wait_for(self, words: str) -> None:
        """Wait until it has said what it asks, and reads: before, Python would look at a signal after the answer."""
        while words not in self.said:
            self.said += os.read(self._main, 4096).decode()
        sleeping = Path(f"/proc/{self._process.pid}/wchan")
        while sleeping.read_text() not in {"wait_woken", "n_tty_read"}:
            assert self._process.poll() is None, self.said
            time.sleep(0.05)

    def interrupted(self) -> int:
        self._process.send_signal(signal.SIGINT)
        try:
            code = self._process.wait(60)
        finally:
            self._process.kill()
            self._process.wait(60)
        try:
            while part := os.read(self._main, 4096):
                self.said += part.decode()
        except OSError:  # Linux says so when the other side is closed
            pass
        os.close(self._main)
        return code


@pytest.mark.skipif(not Path("/proc/self/wchan").exists(), reason="this machine does not say what a process waits for")
@pytest.mark.parametrize(
    ("program", "question"),
    [
        *(
            (MAIN.format(words.split()), question)
            for words, question in {
                "stake add 1 --home member": "Password of the coldkey",
                f"transfer {OWNER} 1": "Password of the coldkey",
                "key new --home new": "Password of the coldkey",
                "key recover --home new": "The 24 words",
                "validator --home member": "Password of the hotkey",
            }.items()
        ),
        (CONFIRMED, "Sign this?"),
    ],
    ids=["stake add", "transfer", "key new", "key recover", "validator", "a yes or no"],
)
def test_ctrl_c_at_a_question_stops(program: str, question: str, place: Path, say: Say) -> None:
    before = contents(place)
    asked = Asked(program)
    asked.wait_for(question)
    assert asked.interrupted() == 130, asked.said
    assert asked.said.split(question)[1].split()[-1] == "stopped"
    assert "Traceback" not in asked.said
    assert contents(place) == before

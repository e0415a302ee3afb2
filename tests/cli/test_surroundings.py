"""What a process is given to begin with may be amiss: streams closed, an output that takes nothing, no home folder.

Each is answered with one sentence and exit code 2, as a mistake is.
"""

from __future__ import annotations

import errno
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from davy.cli.surroundings import place_of
from tests.cli.conftest import Say

DAVY = (sys.executable, "-c", "from davy.cli import main; main()")


def in_a_shell(typed: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Type into a shell, where streams can be closed; `davy` is the command."""
    script = f'davy() {{ "{DAVY[0]}" {DAVY[1]} "{DAVY[2]}" "$@"; }}; {typed}'
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    return subprocess.run(
        ["bash", "-c", script], env={**kept, **environment}, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("words", ["key show", "status", "status --json", "stake list"])
@pytest.mark.parametrize("output", [">/dev/full", ">&-"])
def test_an_answer_that_cannot_get_out_is_told_of(words: str, output: str, place: Path) -> None:
    done = in_a_shell(f"davy {words} {output}")
    assert done.returncode == 2, done
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("davy: the answer's way out: ")


def test_no_keys_are_kept_where_their_words_go_nowhere(place: Path) -> None:
    done = in_a_shell("davy key new --quick --home unseen >&-")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done
    assert [p for p in (place / "unseen").rglob("*") if p.is_file()] == []


def test_whoever_begins_without_an_input_is_answered(place: Path) -> None:
    assert in_a_shell("davy status --json <&-").returncode == 0
    asked = in_a_shell("davy stake add 1 <&-", DAVY_PASSWORD="")
    assert (asked.returncode, asked.stderr.count("\n")) == (2, 1), asked
    assert "set DAVY_PASSWORD" in asked.stderr
    assert in_a_shell("davy status 2>&-").returncode == 0


@pytest.mark.parametrize("words", ["status", "key new", "key show", "up", "ledger install-engine"])
def test_without_a_home_folder_it_is_said_what_to_set(
    words: str, place: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a container has it whose user is no one that the machine knows."""

    def nobody(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "DAVY_HOME", "DAVY_NETWORK"):
        monkeypatch.delenv(name, raising=False)
    said = say(*words.split())
    assert (said.code, said.out) == (2, ""), said
    assert said.err.count("\n") == 1
    assert "set HOME" in said.err


def test_a_place_that_is_closed_is_not_said_to_be_full() -> None:
    closed = place_of(PermissionError(errno.EACCES, "Permission denied", "keys"))
    assert closed == "keys: permission denied; let this user in, or name another place"
    read_only = place_of(OSError(errno.EROFS, "Read-only file system", "keys"))
    assert read_only == "keys: read-only file system; let this user in, or name another place"
    full = place_of(OSError(errno.ENOSPC, "No space left on device", "keys"))
    assert full == "keys: no space left on device; make room, or name another place"


def test_a_folder_that_is_gone_is_named_as_such(place: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "gone").mkdir()
    monkeypatch.chdir(place / "gone")
    (place / "gone").rmdir()
    said = say("key", "new", "--home", "new")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "the folder that you are in" in said.err

"""What a person reads: words and not Python's, no column cut short, and another sign where a terminal lacks one."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from davy.cli.output import show, show_table
from tests.cli.conftest import Say

ROW = {"uid": 3, "hotkey": "hot_abcdefgh…", "permit": True, "stake": "1583.117168585", "serves": ""}
"""About as wide as a neuron in `davy status`."""


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, "yes"),
        (False, "no"),
        (None, "none"),
        ({}, "none"),
        ([], "none"),
        ("", "none"),
        (0, "0"),
        ({"kappa": 30_000, "tempo": 20}, "kappa 30000, tempo 20"),
        ([{"a": True}, {"a": None}], "(a yes), (a none)"),
        (["one", "two"], "one, two"),
    ],
)
def test_a_value_is_told_in_words(value: object, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    show({"it": value, "more": 1}, as_json=False)
    assert capsys.readouterr().out == f"it    {words}\nmore  1\n"


def test_a_table_has_words_too_and_ends_where_its_words_end(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(tuple(ROW), [ROW], as_json=False)
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == list(ROW)
    assert row.split() == ["3", "hot_abcdefgh…", "yes", "1583.117168585"], "what is empty stays so"
    assert [head, row] == [head.rstrip(), row.rstrip()]


def seen_on_a_terminal(columns: int, program: str) -> str:
    """What a process writes to a terminal so wide, without its colours."""
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "LINES"}}
    started = subprocess.Popen(
        [sys.executable, "-c", program], stdin=other, stdout=other, stderr=other, env={**environment, "TERM": "xterm"}
    )
    os.close(other)
    seen = b""
    while True:
        try:
            part = os.read(main, 4096)
        except OSError:  # Linux says so when the other side is closed
            break
        if not part:
            break
        seen += part
    os.close(main)
    assert started.wait(60) == 0, seen
    return re.sub(r"\x1b\[[0-9;]*m", "", seen.decode()).replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [40, 80])
def test_no_column_is_cut_short_on_a_narrow_terminal(columns: int) -> None:
    row = {**ROW, "more": "1078.117168585", "dividends": 0.1234, "emission": "16.400091555"}
    program = f"from davy.cli.output import show_table; show_table({tuple(row)!r}, [{row!r}], as_json=False)"
    seen = seen_on_a_terminal(columns, program)
    for value in ("uid", "dividends", "hot_abcdefgh…", "1583.117168585", "1078.117168585", "16.400091555"):
        assert value in seen, seen


def test_a_long_last_column_is_wrapped_between_words() -> None:
    said = "the ledger names none yet: start the miner, and it will be there as soon as it is in a block"
    row = {"ok": "ok", "what": "endpoint", "found": said}
    program = f"from davy.cli.output import show_table; show_table({tuple(row)!r}, [{row!r}], as_json=False)"
    seen = seen_on_a_terminal(60, program)
    assert max(map(len, seen.splitlines())) <= 60
    assert " ".join(seen.split()).endswith(f"ok endpoint {said}")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_cannot_write_a_sign_gets_another(encoding: str, place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from davy.cli import main; main()", "status"],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"hot_" in done.stdout


def test_a_group_without_a_command_shows_its_help_and_nothing_else(say: Say) -> None:
    for words in ((), ("stake",), ("brake",)):
        asked, alone = say(*words, "--help"), say(*words)
        assert (alone.code, alone.out) == (2, "")
        assert alone.err == asked.out


def test_what_a_command_does_is_told_to_the_end(say: Say) -> None:
    for words in ((), ("stake",), ("keyholder",), ("ledger",), ("sim",)):
        told = say(*words, "--help").out
        assert "..." not in told.split("Commands:")[1], words


def test_producers_are_a_table(place: Path, say: Say) -> None:
    (producer,) = say("producer", "list", "--json").json
    head, row = say("producer", "list").out.splitlines()
    assert head.split() == ["producer", "owner", "bond", "seat"]
    assert row.split() == [producer, "none", "0", "has", "one"]

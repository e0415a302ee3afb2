"""How the libp2p route is switched on, and what is said where it cannot be."""

from __future__ import annotations

import subprocess
import sys

import pytest

from davy.cli import gossip
from davy.cli.gossip import joining
from davy.network.gossip.pipe import Met
from davy.protocol.errors import Misconfigured

KEY = "ab" * 32


def test_it_is_off_unless_it_is_asked_for() -> None:
    assert joining("127.0.0.1", None, ()) is None


def test_without_the_extra_it_is_off_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gossip, "is_installed", lambda: False)
    assert joining("127.0.0.1", 0, ()) is None
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "pip install davy[gossip]" in said.err


@pytest.mark.parametrize(
    ("text", "host"),
    [(f"{KEY}@node.example.org:4100", "node.example.org"), (f"{KEY}@[2001:db8::7]:4100", "2001:db8::7")],
)
def test_peers_are_given_by_key_and_address(monkeypatch: pytest.MonkeyPatch, text: str, host: str) -> None:
    monkeypatch.setattr(gossip, "is_installed", lambda: True)
    how = joining("127.0.0.1", 4_000, (text,))
    assert how is not None
    assert how.at == ("127.0.0.1", 4_000)
    assert how.given == [Met(host, 4_100, bytes.fromhex(KEY))]


@pytest.mark.parametrize(
    "text",
    ["", KEY, f"{KEY}@node", f"{KEY}@node:0", f"{KEY}@node:65536", f"{KEY[:-1]}@node:1", f"{KEY}@no de:1", "@n:1"],
)
def test_a_peer_that_is_written_otherwise_is_a_mistake(text: str) -> None:
    with pytest.raises(Misconfigured, match=r"KEY|HOST:PORT|host"):
        joining("127.0.0.1", 0, (text,))


def test_peers_without_a_port_are_a_mistake() -> None:
    with pytest.raises(Misconfigured, match="--gossip PORT"):
        joining("127.0.0.1", None, (f"{KEY}@node:1",))


def test_what_is_no_node_is_told_so_and_nothing_is_left_behind() -> None:
    """Its input is a terminal's, or a file's; it ends at once, with a sentence and no traceback."""
    said = subprocess.run(
        [sys.executable, "-m", "davy", "gossip"],
        input=b"\xff\xff\xff\xff",
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert said.returncode == 2
    assert said.stdout == b""
    assert said.stderr.startswith(b"davy: ")
    assert said.stderr.count(b"\n") == 1

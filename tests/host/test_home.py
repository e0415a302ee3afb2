"""A home is private, belongs to one chain, runs once, and no file in it is ever half written."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from davy.host.files import read_bounded, write_new, write_over
from davy.host.home import Home
from davy.protocol.errors import Misconfigured, StoreFailed
from davy.protocol.genesis import Genesis
from davy.protocol.limits import chain_parameters


def genesis(note: str) -> Genesis:
    return Genesis(1, note, 0, chain_parameters(), (bytes(32),), (), (), ())


def test_folders_are_private(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "a" / "home")
    for folder in (home.root, home.keys, home.tls.key.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert Home.open(home.root).keys == home.keys
    assert Home.create(home.root).root == home.root


def test_no_home_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="is not a home of davy; make one"):
        Home.open(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Misconfigured, match="choose one that you may write to"):
        Home.create(tmp_path / "file" / "home")


def test_a_home_belongs_to_one_chain(tmp_path: Path) -> None:
    home = Home.create(tmp_path)
    with pytest.raises(Misconfigured, match="there is no file"):
        home.genesis()
    home.keep_genesis(genesis("one"))
    home.keep_genesis(genesis("one"))
    assert home.genesis() == genesis("one")
    with pytest.raises(Misconfigured, match="another chain"):
        home.keep_genesis(genesis("two"))
    (tmp_path / "genesis").write_bytes(b"\x97")
    with pytest.raises(Misconfigured, match="is broken"):
        home.genesis()


def test_a_home_runs_once(tmp_path: Path) -> None:
    home = Home.create(tmp_path)
    script = f"""
from pathlib import Path
from davy.host.home import Home
from davy.protocol.errors import Misconfigured
try:
    with Home(Path({str(tmp_path)!r})).running():
        print("runs")
except Misconfigured as e:
    print(e)
"""
    with home.running():
        second = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    third = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "a node runs in" in second.stdout
    assert third.stdout == "runs\n"


def test_tls_files_are_private_and_replaced(tmp_path: Path) -> None:
    home = Home.create(tmp_path)
    for n in (b"1", b"2"):
        home.keep_tls(b"certificate" + n, b"key" + n)
    assert home.tls.certificate.read_bytes() == b"certificate2"
    assert home.tls.key.read_bytes() == b"key2"
    assert stat.S_IMODE(home.tls.key.stat().st_mode) == 0o600
    assert {p.name for p in home.tls.key.parent.iterdir()} == {"certificate.pem", "key.pem"}


def test_a_crash_before_the_name_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    write_over(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for write in (write_over, write_new):
        target = path if write is write_over else tmp_path / "g"
        with pytest.raises(StoreFailed, match="No space left on device"):
            write(target, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_reading_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"12345")
    assert read_bounded(path, 5) == b"12345"
    with pytest.raises(Misconfigured, match="longer than 4 bytes"):
        read_bounded(path, 4)
    with pytest.raises(Misconfigured, match="cannot read"):
        read_bounded(tmp_path, 4)

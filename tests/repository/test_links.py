"""The five rooms at the root are links into davy/: they resolve, cannot be imported as such, and are not shipped."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

LINKED = ["incentive", "killswitch", "miners", "sims", "validators"]


def test_the_links_are_the_five_rooms(root: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "--stage"], cwd=root, capture_output=True, text=True, check=True).stdout
    links = [line.split("\t")[1] for line in listed.splitlines() if line.startswith("120000")]
    assert links == LINKED
    for room in LINKED:
        assert (root / room).readlink() == Path("davy") / room
        assert (root / room / "__init__.py").samefile(root / "davy" / room / "__init__.py")


@pytest.mark.parametrize("room", LINKED)
def test_a_room_is_imported_by_its_full_name_only(root: Path, room: str) -> None:
    short = subprocess.run([sys.executable, "-c", f"import {room}"], cwd=root, capture_output=True, text=True)
    assert short.returncode == 1
    sentence = short.stderr.splitlines()[-1]
    assert sentence.startswith("ImportError: ")
    assert f"import davy.{room}" in sentence
    full = subprocess.run([sys.executable, "-c", f"import davy.{room}"], cwd=root, capture_output=True, text=True)
    assert full.returncode == 0, full.stderr


@pytest.mark.parametrize("target", ["sdist", "wheel"])
def test_what_is_shipped_holds_each_room_once(copy: Path, target: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target], cwd=copy, check=True, capture_output=True
    )
    (built,) = (copy / "dist").iterdir()
    if target == "sdist":
        with tarfile.open(built) as archive:
            names = [name.split("/", 1)[1] for name in archive.getnames()]
    else:
        with zipfile.ZipFile(built) as archive:
            names = archive.namelist()
    for room in LINKED:
        assert f"davy/{room}/__init__.py" in names
        assert not [name for name in names if name == room or name.startswith(f"{room}/")]


def test_the_wheel_carries_what_is_not_python(copy: Path) -> None:
    weights = copy / "davy" / "models" / "sample" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"\0")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"], cwd=copy, check=True, capture_output=True
    )
    (built,) = (copy / "dist").iterdir()
    with zipfile.ZipFile(built) as archive:
        assert {"davy/models/sample/model.safetensors", "davy/py.typed"} <= set(archive.namelist())

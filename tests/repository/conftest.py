"""The repository itself as the thing under test: what git tracks, and copies of it to break."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


def list_kept(root: Path) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    files = [root / name for name in listed.split("\0") if name]
    found = [p for p in files if p.is_file() and not p.is_symlink()]
    assert found, "git lists no file: run the tests in a clone"
    return found


@pytest.fixture
def kept(root: Path) -> list[Path]:
    """Every regular file that git tracks, or would (so that a new file is held to the rules before it is committed)."""
    return list_kept(root)


@pytest.fixture(scope="session")
def context(root: Path) -> list[Path]:
    """The same, listed once for an image that is built once."""
    return list_kept(root)


@pytest.fixture
def copy(root: Path, kept: list[Path], tmp_path: Path) -> Path:
    """A copy of the package, its links and its configuration, to break."""
    for source in kept:
        name = source.relative_to(root)
        if name.parts[0] in ("davy", "pyproject.toml", "LICENSE", "README.md"):
            target = tmp_path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    for link in root.iterdir():
        if link.is_symlink():
            (tmp_path / link.name).symlink_to(link.readlink())
    return tmp_path

"""The crate frost-ed25519 as a partner: built once from this folder, and asked over a pipe, a line at a time.

The lock file says by digest what it is built of; where that comes from is cargo's own default, put in for the word
"registry". What is built lies under `build/`, which is never committed.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from pathlib import Path
from types import TracebackType

FOLDER = Path(__file__).parent
BUILD = FOLDER.parents[1] / "build" / "partner"
_FETCH_S, _BUILD_S = 120, 600


class NoPartnerError(Exception):
    """The partner cannot be built here, for a reason that says nothing about davy."""


class CrateRefusedError(Exception):
    """The crate refused a step."""

    def __init__(self, why: str, culprits: tuple[bytes, ...]) -> None:
        super().__init__(why)
        self.culprits = culprits


def build() -> Path:
    """Return the partner's program, which is built if this folder has changed since.

    Raises
    ------
    NoPartnerError
        There is no cargo, or the crates are not here and cannot be fetched.
    """
    cargo = shutil.which("cargo")
    if cargo is None:
        raise NoPartnerError("cargo is not installed")
    crate, target = BUILD / "crate", BUILD / "target"
    (crate / "src").mkdir(parents=True, exist_ok=True)
    with (BUILD / "busy").open("w") as busy:
        # two workers of the same run build it once
        fcntl.flock(busy, fcntl.LOCK_EX)
        for name in ("Cargo.toml", "src/main.rs", "src/speed.rs"):
            _write(crate / name, (FOLDER / name).read_text())
        source = _source(cargo, crate)
        _write(crate / "Cargo.lock", (FOLDER / "Cargo.lock").read_text().replace('"registry"', json.dumps(source)))
        _fetch(cargo, crate)
        command = [cargo, "build", "--release", "--locked", "--offline", "--quiet", "--target-dir", str(target)]
        done = subprocess.run(command, cwd=crate, capture_output=True, text=True, timeout=_BUILD_S)
        assert done.returncode == 0, done.stderr
    return target / "release" / "partner"


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def _source(cargo: str, crate: Path) -> str:
    command = [cargo, "metadata", "--no-deps", "--offline", "--format-version", "1"]
    done = subprocess.run(command, cwd=crate, capture_output=True, text=True, timeout=_FETCH_S)
    assert done.returncode == 0, done.stderr
    source: str = json.loads(done.stdout)["packages"][0]["dependencies"][0]["source"]
    return source


def _fetch(cargo: str, crate: Path) -> None:
    try:
        done = subprocess.run([cargo, "fetch", "--locked"], cwd=crate, capture_output=True, text=True, timeout=_FETCH_S)
    except subprocess.TimeoutExpired:
        raise NoPartnerError(f"the crates could not be fetched in {_FETCH_S} s") from None
    if done.returncode:
        # a lock that does not fit, or other bytes than it says, is a fault and no missing network
        assert "--locked" not in done.stderr, done.stderr
        assert "checksum" not in done.stderr, done.stderr
        raise NoPartnerError(f"the crates cannot be fetched: {done.stderr.strip().splitlines()[-1].strip()}")


class Crate:
    """A running partner. It keeps nothing between two questions."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [str(build())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def ask(self, *words: str) -> list[str]:
        """Ask for one step.

        Raises
        ------
        CrateRefusedError
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join(words) + "\n")
        verdict, _, rest = self._process.stdout.readline().rstrip("\n").partition(" ")
        if verdict != "ok":
            why, _, culprits = rest.rpartition(" | ")
            raise CrateRefusedError(why, tuple(bytes.fromhex(c) for c in culprits.split()))
        return rest.split()

    def __enter__(self) -> Crate:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None) -> None:
        self._process.__exit__(kind, e, at)

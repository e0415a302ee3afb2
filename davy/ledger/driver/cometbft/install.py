"""The engine, built from its source with Go: one version, known by the checksum of its module.

The checksum covers the module's own list of checksums, and the build may not change that list: so every file of every
library in it is pinned by the one line below, whoever hands them out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from davy.protocol.errors import Misconfigured

MODULE: Final = "github.com/cometbft/cometbft"
VERSION: Final = "0.38.26"
"""Versions before 0.38.21 take a forged time for a block's (CSA-2026-001)."""
MODULE_SUM: Final = "h1:MIPYgOSvyyiN1jo3SZljKy4ZXqs896aQnj3pQFfUmaE="
NAME: Final = f"cometbft-{VERSION}"
_MINUTES: Final = 30
_TAIL: Final = 600


class _Module(msgspec.Struct, frozen=True, rename="pascal"):
    dir: str = ""
    sum: str = ""
    error: str = ""


def install(folder: Path) -> Path:
    """Build the engine into a folder, unless it is there; return the program.

    Raises
    ------
    Misconfigured
        There is no Go, the module is not the pinned one, or it does not build.
    """
    target = folder / NAME
    if is_engine(target):
        return target
    go = shutil.which("go")
    if go is None:
        raise Misconfigured(
            f"there is no Go on this machine's PATH; install Go 1.22.11 or newer, or put CometBFT {VERSION} at {target}"
        )
    module = _downloaded(go)
    check_sum(module.sum)
    with tempfile.TemporaryDirectory(dir=folder) as beside:
        built = Path(beside) / NAME
        _go(go, "build", "-o", str(built), "./cmd/cometbft", where=module.dir)
        if not is_engine(built):
            raise Misconfigured(f"what was built does not say that it is CometBFT {VERSION}; it was not installed")
        built.replace(target)
    return target


def check_sum(found: str) -> None:
    """Raise Misconfigured unless this is the pinned module's checksum."""
    if found != MODULE_SUM:
        raise Misconfigured(
            f"the module that arrived as {MODULE} {VERSION} has the checksum {found[:60] or 'of nothing'}, not "
            f"{MODULE_SUM}: it was changed on its way, and nothing of it was built"
        )


def is_engine(program: Path) -> bool:
    """Whether a program is there and says that it is the pinned version."""
    try:
        said = subprocess.run([program, "version"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return said.stdout.strip() == VERSION.encode()


def _downloaded(go: str) -> _Module:
    with tempfile.TemporaryDirectory() as nowhere:  # away from any module of the user's
        said = _go(go, "mod", "download", "-json", f"{MODULE}@v{VERSION}", where=nowhere)
    try:
        return msgspec.json.decode(said, type=_Module)
    except msgspec.DecodeError as e:
        raise Misconfigured(f"`go mod download` says what is not understood ({e}); use another Go") from None


def _go(go: str, *words: str, where: str) -> bytes:
    # Flags of the user's could let the build change the module's list of checksums.
    environment = {
        **os.environ,
        "GOFLAGS": "-buildvcs=false -mod=readonly -trimpath",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
    }
    try:
        done = subprocess.run(
            [go, *words], cwd=where, env=environment, capture_output=True, timeout=_MINUTES * 60, check=False
        )
    except subprocess.TimeoutExpired:
        raise Misconfigured(
            f"`go {words[0]}` did not end in {_MINUTES} minutes; try again, or look at the network"
        ) from None
    if done.returncode:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-_TAIL:]
        raise Misconfigured(f"`go {words[0]}` failed: {said}")
    return done.stdout

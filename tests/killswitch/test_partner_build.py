"""A partner that cannot be built is no fault of davy; one that would be built of other crates than locked is one."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.partner import crate
from tests.partner.crate import FOLDER, NoPartnerError

SAYS = '{"packages": [{"dependencies": [{"source": "registry+here"}]}]}'


def with_cargo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetch: str, status: int, build: int = 0) -> None:
    """Put a cargo on the path that fetches so and builds so."""
    fake = tmp_path / "bin" / "cargo"
    fake.parent.mkdir()
    lines = [
        f"#!{sys.executable}",
        "import pathlib, sys",
        f"if sys.argv[1] == 'metadata': print({SAYS!r})",
        f"if sys.argv[1] == 'fetch': sys.stderr.write({fetch!r}); sys.exit({status})",
        f"if sys.argv[1] == 'build': sys.stderr.write('it does not compile'); sys.exit({build})",
    ]
    fake.write_text("\n".join(lines))
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent))
    monkeypatch.setattr(crate, "BUILD", tmp_path / "build")


def test_no_cargo_is_a_reason_to_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoPartnerError, match="cargo is not installed"):
        crate.build()


def test_no_network_is_a_reason_to_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_cargo(tmp_path, monkeypatch, "error: failed to get it\n  could not resolve host\n", 101)
    with pytest.raises(NoPartnerError, match="could not resolve host"):
        crate.build()


@pytest.mark.parametrize(
    "said", ["the lock file needs to be updated but --locked was passed", "failed to verify the checksum of `hex`"]
)
def test_other_crates_than_those_locked_are_no_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    with_cargo(tmp_path, monkeypatch, said, 101)
    with pytest.raises(AssertionError):
        crate.build()


def test_what_does_not_compile_is_no_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_cargo(tmp_path, monkeypatch, "", 0, build=101)
    with pytest.raises(AssertionError, match="does not compile"):
        crate.build()
    lock = (tmp_path / "build" / "crate" / "Cargo.lock").read_text()
    assert 'source = "registry+here"' in lock
    assert '"registry"' not in lock


def test_the_lock_file_names_no_place_and_pins_every_crate() -> None:
    lock = (FOLDER / "Cargo.lock").read_text()
    assert "//" not in lock
    assert lock.count('source = "registry"') == lock.count("checksum = ") == lock.count("[[package]]") - 1 > 30


def test_what_is_built_is_not_committed() -> None:
    place = str(crate.BUILD.relative_to(FOLDER.parents[1]) / "target")
    ignored = subprocess.run(["git", "check-ignore", "--quiet", place], cwd=FOLDER.parents[1])
    assert ignored.returncode == 0

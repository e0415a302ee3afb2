"""requirements/ pins what pyproject.toml asks for: all of it, exactly, by hash, with no word on where it comes from."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# What each file is compiled from, as requirements/lock has it.
EXTRAS = {
    "base": [],
    "model": ["model"],
    "torch": ["torch"],
    "sims": ["sims"],
    "notebooks": ["notebooks"],
    "fast": ["fast"],
    "gossip": ["gossip"],
    "cometbft": ["cometbft"],
    "dev": ["torch", "sims", "fast", "cometbft", "dev"],
}
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)[^\n\\]*(\\\n    --hash=sha256:[0-9a-f]{64} ?)+", re.MULTILINE)


@pytest.fixture(scope="session")
def project(root: Path) -> dict[str, list[str]]:
    """What is asked for: extra → requirements, the base under the empty name."""
    with (root / "pyproject.toml").open("rb") as f:
        table = tomllib.load(f)["project"]
    return {"": table["dependencies"], **table["optional-dependencies"]}


def wanted(project: dict[str, list[str]], extras: list[str]) -> Iterator[Requirement]:
    for extra in ["", *extras]:
        for line in project[extra]:
            requirement = Requirement(line)
            if requirement.name == "davy":
                yield from wanted(project, sorted(requirement.extras))
            else:
                yield requirement


def pins(text: str) -> dict[str, list[str]]:
    """Return the versions of each package; several where platforms or Pythons differ."""
    found: dict[str, list[str]] = {}
    for match in PIN.finditer(text):
        found.setdefault(canonicalize_name(match[1]), []).append(match[2])
    return found


def unpinned(text: str) -> list[str]:
    """Return the lines that are neither a comment nor part of an exact pin with its hashes."""
    return [line for line in PIN.sub("", text).splitlines() if line.strip() and not line.lstrip().startswith("#")]


def test_each_extra_is_locked(project: dict[str, list[str]], root: Path) -> None:
    locked = {extra for extras in EXTRAS.values() for extra in extras}
    assert {extra for extra, asked in project.items() if extra and asked} == locked
    assert {p.stem for p in (root / "requirements").glob("*.txt")} == {*EXTRAS, "build", "fuzz", "uv"}


@pytest.mark.parametrize("name", [*EXTRAS, "build", "fuzz", "uv"])
def test_every_line_is_an_exact_pin_with_hashes(root: Path, name: str) -> None:
    text = (root / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    assert pins(text)
    assert unpinned(text) == []
    assert "://" not in text


@pytest.mark.parametrize(
    "line",
    [
        "anyio==4.16.0",
        "anyio>=4 \\\n    --hash=sha256:" + "0" * 64,
        "--index-url somewhere",
        "--find-links /wheels",
        "-r other.txt",
        "anyio @ file:///wheels/anyio.whl",
    ],
)
def test_a_loose_line_is_seen(line: str) -> None:
    assert unpinned(line + "\n")


@pytest.mark.parametrize("name", EXTRAS)
def test_the_lock_answers_what_is_asked_for(project: dict[str, list[str]], root: Path, name: str) -> None:
    """A dependency added to pyproject.toml without `make lock` fails here."""
    locked = pins((root / "requirements" / f"{name}.txt").read_text(encoding="utf-8"))
    for requirement in wanted(project, EXTRAS[name]):
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement} is not in requirements/{name}.txt: run make lock"
        assert [v for v in versions if requirement.specifier.contains(v)], f"{requirement}, locked {versions}"


@pytest.mark.parametrize("name", [*(n for n in EXTRAS if n != "dev"), "build"])
def test_users_run_the_versions_the_tests_ran_with(root: Path, name: str) -> None:
    tested = pins((root / "requirements" / "dev.txt").read_text(encoding="utf-8"))
    shipped = pins((root / "requirements" / f"{name}.txt").read_text(encoding="utf-8"))
    assert {n: v for n, v in shipped.items() if n in tested and v != tested[n]} == {}


def test_the_simulator_s_event_loop_is_pinned_exactly(project: dict[str, list[str]]) -> None:
    (trio,) = [r for r in map(Requirement, project["dev"]) if r.name == "trio"]
    assert [s.operator for s in trio.specifier] == ["=="]


def test_each_dependency_has_its_reason(project: dict[str, list[str]], root: Path) -> None:
    text = (root / "docs" / "decisions" / "dependencies.md").read_text(encoding="utf-8")
    reasons = {m.lower() for m in re.findall(r"^\| `([\w.-]+)` \|", text, re.MULTILINE)}
    asked = {Requirement(line).name.lower() for lines in project.values() for line in lines} - {"davy"}
    assert asked == reasons

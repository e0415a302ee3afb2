"""What a reader would trip over is refused: long files and functions, empty names, notes to oneself, addresses.

Each rule is a function from a file's name and text to its faults; each is shown to refuse a bad sample before it judges
the tree.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

FILE_LINES = 500
FUNCTION_LINES = 70
SAYS_NOTHING = {"util", "utils", "helper", "helpers", "manager", "managers", "common", "misc"}
# Written apart, so that this file passes its own rules.
NOTES = re.compile("|".join(rf"\b{a}{b}\b" for a, b in [("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK")]))
REGISTRIES = re.compile(
    "|".join(
        rf"\b{host}\.{end}\b"
        for end, hosts in {
            "org": [
                "pypi",
                "pythonhosted",
                r"download\.pytorch",
                "anaconda",
                "npmjs",
                r"(proxy|sum)\.golang",
                "rubygems",
            ],
            "com": ["npmjs", "yarnpkg"],
            "io": ["crates", "docker", "ghcr", "quay", "gcr"],
        }.items()
        for host in hosts
    )
)

Rule = Callable[[Path, str], Iterator[str]]


def is_short(name: Path, text: str) -> Iterator[str]:
    """A file is one idea; data and lock files are as long as they are."""
    lines = text.count("\n")
    if name.suffix == ".py" and lines > FILE_LINES:
        yield f"{lines} lines, more than {FILE_LINES}"


def has_short_functions(name: Path, text: str) -> Iterator[str]:
    if name.suffix != ".py":
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"line {node.lineno}: {node.name} has {lines} lines, more than {FUNCTION_LINES}"


def has_names_that_speak(name: Path, text: str) -> Iterator[str]:
    for part in (*name.parts[:-1], name.stem):
        if SAYS_NOTHING & set(part.lower().split("_")):
            yield f"{part} says nothing"
    if name.suffix != ".py":
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            last = re.split(r"_|(?<=[a-z])(?=[A-Z])", node.name)[-1].lower()
            if last in SAYS_NOTHING:
                yield f"line {node.lineno}: {node.name} says nothing"


def is_finished(name: Path, text: str) -> Iterator[str]:
    if name.suffix in {".py", ".toml", ".yaml", ".yml", ".md", ".sh", ""}:
        for number, line in enumerate(text.splitlines(), 1):
            if NOTES.search(line):
                yield f"line {number}: {line.strip()}"


def catches_by_name(name: Path, text: str) -> Iterator[str]:
    if name.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ExceptHandler) and node.type is None:
                yield f"line {node.lineno}: a bare except"


def names_no_registry(name: Path, text: str) -> Iterator[str]:
    """Where packages come from is decided by who installs; the hashes say what they are."""
    for number, line in enumerate(text.splitlines(), 1):
        if found := REGISTRIES.search(line):
            yield f"line {number}: {found.group()}"


def is_no_foreign_lock(name: Path, text: str) -> Iterator[str]:
    """requirements/ is the one lock; these others hold registries' addresses."""
    if name.name in {"uv.lock", "poetry.lock", "Pipfile.lock", "pdm.lock", "package-lock.json"}:
        yield "a second lock"


RULES: list[Rule] = [
    is_short,
    has_short_functions,
    has_names_that_speak,
    is_finished,
    catches_by_name,
    names_no_registry,
    is_no_foreign_lock,
]

REFUSED: list[tuple[Rule, str, str]] = [
    (is_short, "davy/long.py", "x = 1\n" * 501),
    (has_short_functions, "davy/a.py", "def f():\n" + "    x = 1\n" * 70),
    (has_short_functions, "davy/a.py", "class A:\n  async def f(self):\n" + "    x = 1\n" * 70),
    (has_names_that_speak, "davy/utils.py", ""),
    (has_names_that_speak, "davy/common/a.py", ""),
    (has_names_that_speak, "tests/test_helpers.py", ""),
    (has_names_that_speak, "davy/a.py", "class PeerManager: ..."),
    (has_names_that_speak, "davy/a.py", "def sign_helper(): ..."),
    (is_finished, "davy/a.py", "x = 1  # TO" + "DO later"),
    (is_finished, "Makefile", "# FIX" + "ME"),
    (catches_by_name, "davy/a.py", "try:\n  f()\nexcept:\n  pass"),
    (names_no_registry, "requirements/base.txt", "--index-url https://pypi" + ".org/simple"),
    (names_no_registry, "docs/a.md", "see https://files.python" + "hosted.org/x"),
    (is_no_foreign_lock, "uv.lock", ""),
]


@pytest.mark.parametrize(("rule", "name", "text"), REFUSED)
def test_a_bad_sample_is_refused(rule: Rule, name: str, text: str) -> None:
    assert list(rule(Path(name), text))


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_has_a_bad_sample_and_lets_good_text_pass(rule: Rule) -> None:
    assert rule in [r for r, _, _ in REFUSED]
    good = '"""A file."""\n\n\ndef consensus() -> int:\n    return 1\n'
    assert list(rule(Path("davy/incentive/consensus.py"), good)) == []


@pytest.mark.parametrize("rule", RULES)
def test_the_tree_keeps_the_rule(root: Path, kept: list[Path], rule: Rule) -> None:
    faults: list[str] = []
    for path in kept:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # weights, archives, golden bytes: only their names can be judged
            text = ""
        name = path.relative_to(root)
        faults += [f"{name}: {fault}" for fault in rule(name, text)]
    assert not faults, "\n" + "\n".join(faults)

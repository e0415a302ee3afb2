"""The search for unnoticed changes: what it changes, whom it draws, and that it tells a noticed change from another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.__main__ import LEAST, ROOMS, _ticks_asleep, explanations, files, report, sample, spread
from tests.mutation.operators import inside_functions, mutants

ROOT = Path(__file__).parents[2]

CHANGES = {
    "x = a < b": {"x = (a <= b)"},
    "x = a == b": {"x = (a != b)"},
    "x = a in b": {"x = (a not in b)"},
    "x = a + b << c": {"x = (a + b >> c)", "x = (a - b) << c"},
    "x = a and b": {"x = (a or b)"},
    "x = not a": {"x = a"},
    "x = True": {"x = False"},
    "x = 7": {"x = 8", "x = 6"},
    "x = 0.5": {"x = 1.0", "x = 0.25"},
    "x = min(a, b)": {"x = max(a, b)"},
    "x = a if b else c": {"x = a if (not b) else c"},
    "x = [a for a in b if c]": {"x = [a for a in b if (not c)]"},
    "x += a": {"x -= a", "pass"},
    "x[a] = b": {"pass"},
    "f(a)": {"pass"},
    "raise a": {"pass"},
    "x: Annotated[int, Meta(le=9)]": {"x: Annotated[int, Meta(le=10)]", "x: Annotated[int, Meta(le=8)]"},
    "if a: return b": {"if (not a): return b", "if a: return None"},
}
LEFT_ALONE = [
    "'''A text.'''",
    "x: a | b",
    "class A(Struct, frozen=True): x: int",
    "x = zip(a, b, strict=True)",
    "x = f'{a + 1}'",
    "x = b'%d' % a",
    "if __name__ == '__main__': f()",
]


@pytest.mark.parametrize("line", CHANGES)
def test_a_line_is_changed_in_each_of_its_ways(line: str) -> None:
    assert {m.change[1] for m in mutants("a.py", f"def g(): ...\n{line}  # why\nlast = a\n")} == {
        f"{after}  # why" for after in CHANGES[line]
    }


@pytest.mark.parametrize("line", LEFT_ALONE)
def test_what_no_test_of_a_rule_can_see_is_left_alone(line: str) -> None:
    assert mutants("a.py", line + "\n") == []


def test_every_change_of_a_file_is_another_program() -> None:
    text = (ROOT / "davy/tasks/skill.py").read_text()
    found = mutants("davy/tasks/skill.py", text)
    assert len(found) > 50
    for m in found:
        compile(m.text, m.path, "exec")
        assert m.text != text
        assert m.text.count("\n") == text.count("\n")
    assert len({m.text for m in found}) == len({m.key for m in found}) == len(found)


def test_a_change_keeps_its_name_when_other_lines_move() -> None:
    text = "def f(a):\n    return a + 1\n"
    before, after = mutants("a.py", text), mutants("a.py", "import b\n\n\n" + text)
    assert [m.key for m in before] == [m.key for m in after]
    assert [m.line + 3 for m in before] == [m.line for m in after]


def test_lines_of_functions_are_those_that_loading_does_not_run() -> None:
    assert inside_functions("x = 1\nclass A:\n    y = 1\n    def f(self):\n        a = 1\n        return a\n") == {5, 6}


def test_the_sample_is_spread_in_proportion_and_no_small_room_goes_without() -> None:
    assert spread(200, {"a": 1_000, "b": 10, "c": 3_000, "none": 0}) == {"a": 48, "b": LEAST, "c": 142}
    assert sum(spread(200, {"a": 333, "b": 334, "c": 1_000}).values()) == 200


def test_a_seed_draws_the_same_ones_whatever_else_is_edited() -> None:
    text = "def f(a):\n" + "".join(f"    a += {n}\n" for n in range(2, 40))
    drawn = sample(mutants("a.py", text), 1, 10)
    assert drawn == sample(mutants("a.py", text), 1, 10)
    assert {m.key for m in drawn} != {m.key for m in sample(mutants("a.py", text), 2, 10)}
    gone = text.replace("    a += 2\n", "")
    assert len({m.key for m in drawn} & {m.key for m in sample(mutants("a.py", gone), 1, 10)}) >= 9


def test_no_explanation_outlives_its_line() -> None:
    texts = {f: (ROOT / f).read_text() for room in ROOMS.values() for f in files(ROOT, room.sources)}
    alive = {m.key for f, text in texts.items() for m in mutants(f, text)}
    assert explanations(ROOT)
    assert set(explanations(ROOT)) <= alive, "its line has changed: take it out, or explain the new one"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the system does not say what a process does")
@pytest.mark.parametrize("child", [False, True])
def test_who_waits_for_a_child_is_not_idle_and_who_waits_for_nothing_is(child: bool) -> None:
    reader = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    waiter = (
        "import subprocess, sys; child = subprocess.Popen(sys.argv[1:]) if sys.argv[1:] else None;"
        "print(flush=True); sys.stdin.read(); child and child.wait()"
    )
    run = [sys.executable, "-c", waiter, *(reader if child else [])]
    with subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as waiting:
        assert waiting.stdout
        waiting.stdout.readline()
        while Path(f"/proc/{waiting.pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
            pass
        while (used := _ticks_asleep(waiting.pid)) < 0 and not child:
            pass
        waiting.communicate()
    assert (used < 0) == child


def test_the_table_counts_what_survived_and_too_little_killed_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    found = mutants("a.py", "def f(a):\n    return [a + 2, a + 3]\n")
    dead, known, alive = found[:3]
    shown = [("x", dead, "a test"), ("x", known, ""), ("y", alive, "")]
    assert report(shown, {known.key: "no test can tell"}) == 1
    said = capsys.readouterr().out
    assert "\n| x | 2 | 1 | 1 | 0 | 50.0% |\n| y | 1 | 0 | 0 | 1 | 0.0% |\n| all | 3 | 1 | 1 | 1 | 33.3% |\n" in said
    assert (said.count("no test can tell"), said.count("NOT EXPLAINED")) == (1, 1)
    assert report([("x", dead, "a test")] * 17 + shown[1:], {}) == 0  # 17 of 19
    assert report([("x", dead, "a test")] * 11 + shown[1:], {}) == 1  # 11 of 13


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_a_noticed_change_is_killed_an_endless_one_too_and_an_unnoticed_one_is_named(tmp_path: Path) -> None:
    rule = "def count(n: int) -> int:\n    found = 0\n    while found < n:\n        found += 1\n    return found\n"
    wait = "from threading import Event\n\n\ndef wait(e: Event) -> bool:\n    e.set()\n    return e.wait()\n"
    test = (
        "import davy.rules.count as c\nimport davy.rules.wait as w\n\n\n"
        "def test_counts():\n    assert (c.count(-1), c.count(3)) == (0, 3)\n\n\n"
        "def test_waits():\n    assert w.wait(w.Event())\n"
    )
    texts = {
        "davy/__init__.py": "",
        "davy/rules/__init__.py": "",
        "davy/rules/count.py": rule,
        "davy/rules/wait.py": wait,
        "tests/rules/test_count.py": test,
        "tests/mutation/equivalent.toml": "mutant = []\n",
        "pyproject.toml": '[tool.pytest.ini_options]\naddopts = ["--import-mode=importlib", "-ra"]\n',
    }
    for name, text in texts.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(text)
    program = (
        "import sys; from pathlib import Path; from tests.mutation import __main__ as m;"
        "m.PROCESSOR_S = 1; m.IDLE_S = 3;"
        "room = m.Room(('davy/rules/*.py',), ('tests/rules/*.py',));"
        "sys.exit(m.main(sys.argv[2:], Path(sys.argv[1]), {'rules': room}))"
    )
    run = [sys.executable, "-c", program, str(tmp_path / "tree"), "--mutants", "99", "--only"]
    done = subprocess.run([*run, "rules"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "count.py:5 count  killed by tests/rules/test_count.py::test_counts" in done.stdout, (
        done.stdout + done.stderr
    )
    assert "count.py:4 count  killed by tests/rules/test_count.py, at signal 24" in done.stdout
    assert "wait.py:5 wait  killed by tests/rules/test_count.py, at signal 9" in done.stdout
    assert "SURVIVED" not in done.stdout
    assert done.returncode == 0
    (tmp_path / "tree/tests/rules/test_count.py").write_text(test.replace("==", ">="))
    done = subprocess.run([*run, "count.py:3"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "\n-    while found < n:\n+    while (found <= n):\n  NOT EXPLAINED\n" in done.stdout, done.stdout
    assert done.returncode == 1
    assert (tmp_path / "tree/davy/rules/count.py").read_text() == rule

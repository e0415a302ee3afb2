"""The room's own promises: no float, nothing unsigned, no clock, entropy or file."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import davy.incentive

ROOM = Path(davy.incentive.__file__).parent
RULES = sorted([*ROOM.glob("*.py"), *ROOM.glob("compiled/*.py")])
FORBIDDEN = {"anyio", "asyncio", "socket", "time", "random", "secrets", "os", "pathlib"}


def floats(text: str) -> list[str]:
    """Where a float or an unsigned number can come into being."""
    found: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            found.append("a true division")
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            found.append(f"the float {node.value}")
        if isinstance(node, ast.Attribute | ast.Name):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            # With int64, uint16 stays int64; uint64 becomes float64.
            if (name.startswith(("float", "uint")) and name != "uint16") or name in (
                "true_divide",
                "divide",
                "mean",
                "sqrt",
                "exp",
                "average",
            ):
                found.append(name)
    return found


@pytest.mark.parametrize("sample", ["a / b", "a /= b", "x = 0.5", "np.uint64(1)", "np.mean(a)", "float(a)"])
def test_the_search_finds_floats(sample: str) -> None:
    assert floats(sample)


@pytest.mark.parametrize("path", RULES, ids=lambda path: str(path.relative_to(ROOM)))
def test_no_rule_can_make_a_float(path: Path) -> None:
    allowed = {
        ROOM / "fixed_point.py": ["a true division"] * 3 + ["exp"],  # the sigmoid's table is made in Decimal
        ROOM / "compiled" / "lanes.py": ["uint64"],  # offsets only: an index may be unsigned, a number may not
    }
    assert floats(path.read_text()) == allowed.get(path, [])


def test_the_rules_import_nothing_that_is_not_pure() -> None:
    for path in RULES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not {name.split(".")[0] for name in names} & FORBIDDEN, path.name


def test_the_room_needs_numpy_and_nothing_else_of_davy() -> None:
    code = (
        "import sys, davy.incentive.registry, davy.incentive.emission, davy.incentive.weights;"
        "print(*sorted(m for m in sys.modules if m.startswith('davy.') and m.count('.') == 1))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"davy.incentive", "davy.protocol"}

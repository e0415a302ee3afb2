"""The frozen bytes, and the types they belong to."""

import runpy
from pathlib import Path
from typing import Any

import pytest

FREEZE = runpy.run_path(str(Path(__file__).with_name("golden") / "freeze.py"))


@pytest.fixture(scope="session")
def freeze() -> dict[str, Any]:
    return FREEZE


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "wire_type" in metafunc.fixturenames:
        kinds = FREEZE["wire_types"]()
        metafunc.parametrize("wire_type", kinds, ids=[FREEZE["type_name"](k) for k in kinds])

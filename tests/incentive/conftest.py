"""What the tests share stands in epochs.py and oracle.py, which are no tests."""

import sys
from pathlib import Path

import pytest

# importlib mode, rightly, makes nothing importable by accident
sys.path.insert(0, str(Path(__file__).parents[2]))


@pytest.fixture
def vectors() -> Path:
    return Path(__file__).parents[1] / "vectors" / "yuma"

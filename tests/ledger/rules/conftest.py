"""What these tests share stands in world.py."""

import sys
from pathlib import Path

import pytest

# world.py is no test: importlib mode, rightly, makes nothing importable by accident
sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.ledger.rules.world import World


@pytest.fixture
def world() -> World:
    return World()

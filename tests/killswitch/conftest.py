"""What the tests of the brake share stands in story.py."""

import sys
from pathlib import Path

import pytest

# story.py and tests/twins are no tests: importlib mode, rightly, makes nothing importable by accident
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.killswitch.story import Story


@pytest.fixture
def story() -> Story:
    return Story()

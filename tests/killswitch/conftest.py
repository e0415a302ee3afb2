"""What the tests of the brake share stands in story.py."""

import sys
from pathlib import Path

import pytest
from trio.testing import MockClock

# story.py and tests/twins are no tests: importlib mode, rightly, makes nothing importable by accident
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.killswitch.guarded import Node
from tests.killswitch.story import Story


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.fixture
def node(story: Story) -> Node:
    return Node(story)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    if request.param == "trio":
        return "trio", {"clock": MockClock(autojump_threshold=0)}
    return "asyncio"

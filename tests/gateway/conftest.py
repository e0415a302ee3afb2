"""Both event loops: asyncio in real time, trio in virtual time. What the tests share stands in stage.py."""

import sys
from pathlib import Path

import pytest
from trio.testing import MockClock

# stage.py and tests/twins are no tests: importlib mode, rightly, makes nothing importable by accident
sys.path.insert(0, str(Path(__file__).parents[2]))


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    if request.param == "trio":
        return "trio", {"clock": MockClock(autojump_threshold=0)}
    return "asyncio"

"""What the tests of this room share: five keyholders in one process, over a network of memory, in virtual time."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from trio.testing import MockClock

# tests/twins is no test: importlib mode, rightly, makes nothing importable by accident
sys.path.insert(0, str(Path(__file__).parents[2]))


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}

"""Real gossip processes run on asyncio, as nodes do; without the extra nothing here that needs one can run."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

needs_libp2p = pytest.mark.skipif(
    find_spec("libp2p") is None,
    reason="the extra gossip is not installed: it needs a C compiler and the headers of GMP (make gossip)",
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"

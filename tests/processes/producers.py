"""A chain of four producers in a folder, with its files where `davy up --home chain` puts them."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.ledger.driver.cometbft.engines import Producers, engine
from tests.processes.shells import wait_until


class FourProducers:
    """They run within ``with``, as often as it is entered; a coldkey has all tokens, `roster` names the keyholders."""

    def __init__(self, folder: Path, cold: str) -> None:
        program = engine()
        if program is None:
            pytest.skip("there is no engine: `make engine` builds it, and needs Go")
        self._folder, self._stack = folder, ExitStack()
        self._producers = Producers(folder / "n", program, self._stack)
        roster = str(folder / "roster")
        self._producers.make(4, ("--owner", cold, "--allocate", f"{cold}=1000", "--keyholders", roster))
        (folder / "chain").mkdir()
        shutil.copyfile(self._producers.home(1) / "genesis", folder / "chain" / "genesis")

    def __enter__(self) -> None:
        """Start them, and wait until the first one answers."""
        network = self._producers.home(1) / "network.json"
        network.unlink(missing_ok=True)
        self._producers.start(1, 2, 3, 4)
        wait_until(lambda: network.exists() and self._producers.ended(1) is None)
        shutil.copyfile(network, self._folder / "network.json")

    def __exit__(self, *_: object) -> None:
        """All end, and can be started again."""
        with self._stack:
            self._producers.stop()

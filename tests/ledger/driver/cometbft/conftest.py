from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from davy.ledger.driver.blockstore import BlockStore
from davy.ledger.driver.cometbft import snapshots
from davy.ledger.driver.cometbft.application import Application
from davy.ledger.driver.cometbft.wire import Conversation
from davy.protocol.genesis import Genesis
from tests.ledger.driver.cometbft.places import Place
from tests.ledger.rules.stand import FOUR
from tests.ledger.rules.world import genesis


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Place]]:
    monkeypatch.setattr(snapshots, "CHUNK_BYTES", 500)
    with ExitStack() as stack:

        def made(name: str, g: Genesis | None = None, **options: int) -> Place:
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            store = BlockStore(folder / "ledger.db")
            stack.callback(store.close)
            app = Application(g or genesis(producers=FOUR), store, **options)
            return Place(app, Conversation(app))

        yield made

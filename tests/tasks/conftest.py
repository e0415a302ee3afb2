"""The pinned task on what the repository ships; read once."""

from pathlib import Path

import pytest

from davy.tasks.corpus import Disguised
from davy.tasks.task import Setting
from davy.tasks.text import Text


@pytest.fixture(scope="session")
def models() -> Path:
    return Setting().models


@pytest.fixture(scope="session")
def task(tmp_path_factory: pytest.TempPathFactory) -> Text:
    return Text(Setting(cache=tmp_path_factory.getbasetemp() / "base"))


@pytest.fixture(scope="session")
def corpus(models: Path) -> Disguised:
    return Disguised.held_out(models)

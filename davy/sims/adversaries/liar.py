"""Claims a model's files and runs something cheaper: the same weights rounded to 8 bits, a quarter of the memory.

Its answers are nearly as good as the model's, so a score cannot tell; that it does not run what it registered can.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from davy.miners.huggingface import HuggingFace
from davy.models.checkpoint import manifest_of, open_checkpoint
from davy.models.int8 import quantise
from davy.protocol.manifest import Manifest


class Liar(HuggingFace):
    """Registers `folder`, serves a copy whose matrices are int8, one scale a matrix."""

    def __init__(self, folder: Path) -> None:
        self._claimed = manifest_of(open_checkpoint(folder))
        with tempfile.TemporaryDirectory() as place:
            copy = Path(place) / folder.name
            quantise(folder, copy)
            super().__init__(copy)

    def manifest(self) -> Manifest:
        return self._claimed

"""Claims a model's files and runs something cheaper: the same weights rounded to 8 bits, a quarter of the memory.

Its answers are nearly as good as the model's, so a score cannot tell; that it does not run what it registered can.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file  # pyright: ignore[reportUnknownVariableType]

from davy.miners.checkpoint import manifest_of, open_checkpoint
from davy.miners.huggingface import HuggingFace
from davy.protocol.manifest import Manifest


class Liar(HuggingFace):
    """Registers `folder`, serves a copy whose matrices are int8 by tensor: w ≈ s·round(w/s), s = max|w| / 127."""

    def __init__(self, folder: Path) -> None:
        self._claimed = manifest_of(open_checkpoint(folder))
        with tempfile.TemporaryDirectory() as place:
            copy = Path(place) / folder.name
            quantise(folder, copy)
            super().__init__(copy)

    def manifest(self) -> Manifest:
        return self._claimed


def quantise(folder: Path, copy: Path) -> None:
    """Write a copy of a model's folder with its matrices rounded to 255 levels."""
    shutil.copytree(folder, copy)
    for path in copy.glob("*.safetensors"):
        tensors = {name: _rounded(t) if t.ndim == 2 else t for name, t in load_file(path).items()}
        save_file(tensors, path, metadata={"format": "pt"})


def _rounded(tensor: np.ndarray) -> np.ndarray:
    wide = tensor.astype(np.float32)
    scale = max(float(np.abs(wide).max()), 1e-12) / 127
    return (np.round(wide / scale) * scale).astype(tensor.dtype)

"""A model's cheaper copy, its matrices rounded to 8 bits: what a liar runs, and what a calibration must tell apart."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file  # pyright: ignore[reportUnknownVariableType]


def quantise(folder: Path, copy: Path, *, by_row: bool = False) -> None:
    """Write a copy of a model's folder with each matrix rounded: w ≈ s·round(w/s), s = max|w| / 127.

    Parameters
    ----------
    by_row
        One scale a row instead of one a matrix: finer, and nearer to the model.
    """
    shutil.copytree(folder, copy)
    for path in copy.glob("*.safetensors"):
        tensors = {name: _rounded(t, by_row=by_row) if t.ndim == 2 else t for name, t in load_file(path).items()}
        save_file(tensors, path, metadata={"format": "pt"})


def _rounded(tensor: npt.NDArray[Any], *, by_row: bool) -> npt.NDArray[Any]:
    wide = np.asarray(tensor, dtype=np.float32)
    largest = np.max(np.abs(wide), axis=1 if by_row else None, keepdims=True)
    scale = np.maximum(largest, np.float32(1e-12)) / np.float32(127)
    return np.asarray(np.round(wide / scale) * scale, dtype=tensor.dtype)

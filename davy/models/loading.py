"""A model in memory, out of its folder: what a miner serves, and what a validator runs again.

A small Llama on a CPU is computed in NumPy; a larger one, another device or dtype in torch, and any other architecture
through transformers. Both need the extra `torch`, and are imported when they are needed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from davy.models import llama
from davy.models.checkpoint import EXTRAS, MAX_HEADER_BYTES, Checkpoint
from davy.models.logits import Loaded
from davy.protocol.errors import Misconfigured

DTYPES: Final = ("float32", "bfloat16", "float16")
ENGINES: Final = ("auto", "numpy", "torch")
LIGHT: Final = 50_000_000
"""Parameters up to which NumPy is taken: beyond, what torch costs to start matters less than its threads and memory."""
_READ_BY_NUMPY: Final = frozenset({"F32", "F16"})


def load_model(
    checkpoint: Checkpoint,
    tokens: int,
    *,
    dtype: str = "float32",
    device: str = "cpu",
    threads: int = 1,
    engine: str = "auto",
) -> Loaded[Any]:
    """Load the weights, and make one token with them, so that what does not fit is found before anybody asks.

    Parameters
    ----------
    tokens
        In the tokenizer's vocabulary.
    threads
        Of torch, for the whole process.

    Raises
    ------
    Misconfigured
        The device cannot be used, torch is needed and not installed, or weights, config.json and tokenizer do not fit
        each other.
    """
    if dtype not in DTYPES:
        raise Misconfigured(f"there is no dtype '{dtype}': choose {', '.join(DTYPES)}")
    if engine not in ENGINES:
        raise Misconfigured(f"there is no engine '{engine}': choose {', '.join(ENGINES)}")
    shape = llama.shape_of(checkpoint.config)
    readable = shape is not None and (dtype, device) == ("float32", "cpu") and _dtypes(checkpoint) <= _READ_BY_NUMPY
    if engine == "numpy" and not readable:
        raise Misconfigured(f"{checkpoint.folder}: NumPy computes Llamas in float32 on the cpu only; choose torch")
    light = shape is not None and threads == 1 and llama.parameters(shape) <= LIGHT
    try:
        model: Loaded[Any]
        if shape is not None and readable and (engine == "numpy" or (engine == "auto" and light)):
            from davy.models.llama_numpy import Llama

            model = Llama(checkpoint, shape)
        else:
            model = _in_torch(checkpoint, shape, dtype, device, threads)
    except ImportError as e:
        raise Misconfigured(
            f"to run {checkpoint.folder} davy needs the module {e.name}: install {EXTRAS.get(e.name or '', e.name)} "
            f"(with davy[model] alone, Llamas of up to {LIGHT:,} parameters run on the cpu in float32)"
        ) from e
    try:
        _, logits = model.start([[0]], 1)
    except (RuntimeError, IndexError, ValueError) as e:
        reason = str(e).splitlines()[0]
        raise Misconfigured(f"the weights in {checkpoint.folder} do not fit its config.json: {reason}") from e
    if logits.shape[-1] < tokens:
        raise Misconfigured(
            f"the tokenizer in {checkpoint.folder} has {tokens} tokens, its model only {logits.shape[-1]}"
        )
    return model


def _in_torch(checkpoint: Checkpoint, shape: llama.Shape | None, dtype: str, device: str, threads: int) -> Loaded[Any]:
    import torch

    torch.set_num_threads(threads)
    kind: torch.dtype = getattr(torch, dtype)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as e:
        reason = str(e).splitlines()[0]
        raise Misconfigured(f"torch cannot use the device {device} ({reason}): choose cpu, or another one") from None
    if shape is not None:
        from davy.models.llama_torch import Llama

        return Llama(checkpoint, shape, kind, device)
    from davy.models.automodel import AutoModel

    return AutoModel(checkpoint, kind, device)


def _dtypes(checkpoint: Checkpoint) -> set[str]:
    """What the files say their weights are stored as; empty where a file is damaged, which its loader will tell."""
    found: set[str] = set()
    for path in checkpoint.weights:
        found |= _stored(path)
    return found


def _stored(path: Path) -> set[str]:
    with path.open("rb") as f:
        length = int.from_bytes(f.read(8), "little")
        try:
            header = json.loads(f.read(min(length, MAX_HEADER_BYTES)))
            return {entry["dtype"] for name, entry in header.items() if name != "__metadata__"}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return set()

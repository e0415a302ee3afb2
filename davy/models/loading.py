"""A model in memory, out of its folder: what a miner serves, and what a validator runs again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeVar

import torch
from torch import Tensor

from davy.models import llama
from davy.models.checkpoint import Checkpoint
from davy.protocol.errors import Misconfigured

DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Keepable(Protocol):
    def keep(self, rows: Sequence[int]) -> None: ...


R = TypeVar("R", bound=Keepable)


class Model(Protocol[R]):
    """Next-token logits of several rows at once: `davy.models.llama`, `davy.models.automodel`."""

    def start(self, prompts: Sequence[Sequence[int]], room: int) -> tuple[R, Tensor]: ...

    def step(self, rows: R, tokens: Sequence[int]) -> Tensor: ...


class Loaded(Model[R], Protocol[R]):
    """A model that can also be held against what it said: the logits inside whole sequences."""

    def read(self, sequences: Sequence[Sequence[int]], last: int) -> Tensor: ...


def load_model(checkpoint: Checkpoint, tokens: int, dtype: torch.dtype, device: str) -> Loaded[Any]:
    """Load the weights, and make one token with them, so that what does not fit is found before anybody asks.

    A plain Llama is computed by our own forward pass, any other architecture through transformers.

    Parameters
    ----------
    tokens
        In the tokenizer's vocabulary.

    Raises
    ------
    Misconfigured
        The device cannot be used, or weights, config.json and tokenizer do not fit each other.
    """
    model = _load(checkpoint, dtype, device)
    try:
        _, logits = model.start([[0]], 1)
    except (RuntimeError, IndexError) as e:
        reason = str(e).splitlines()[0]
        raise Misconfigured(f"the weights in {checkpoint.folder} do not fit its config.json: {reason}") from e
    if logits.shape[-1] < tokens:
        raise Misconfigured(
            f"the tokenizer in {checkpoint.folder} has {tokens} tokens, its model only {logits.shape[-1]}"
        )
    return model


def _load(checkpoint: Checkpoint, dtype: torch.dtype, device: str) -> Loaded[Any]:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as e:
        reason = str(e).splitlines()[0]
        raise Misconfigured(f"torch cannot use the device {device} ({reason}): choose cpu, or another one") from None
    shape = llama.shape_of(checkpoint.config)
    if shape is not None:
        return llama.Llama(checkpoint, shape, dtype, device)
    from davy.models.automodel import AutoModel

    return AutoModel(checkpoint, dtype, device)

"""Any causal language model that `transformers` knows: slower to import than `davy.models.llama`, the same use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from davy.models.checkpoint import Checkpoint
from davy.models.logits import Logits
from davy.protocol.errors import Misconfigured, said_by


class CachedRows:
    """Sequences that advance together, with the library's cache of keys and values."""

    def __init__(self, mask: Tensor, cache: Any) -> None:
        self.mask = mask
        """[B, T], 0 where a row is padded on the left."""
        self.cache = cache

    def keep(self, rows: Sequence[int]) -> None:
        """Leave only these rows, in this order."""
        index = torch.tensor(rows, device=self.mask.device)
        self.mask = self.mask[index]
        self.cache.batch_select_indices(index)


class AutoModel:
    """Weights in memory.

    Raises
    ------
    Misconfigured
        `transformers` cannot load the folder as a causal language model from safetensors without code of its own.
    """

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype, device: str) -> None:
        try:
            kind: Any = AutoModelForCausalLM
            model, found = kind.from_pretrained(
                checkpoint.folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=dtype,
                output_loading_info=True,
            )  # fmt: skip
        except Exception as e:
            raise Misconfigured(f"transformers cannot load {checkpoint.folder}: {said_by(e)}") from e
        for fault in ("missing_keys", "mismatched_keys", "unexpected_keys"):  # it would draw or drop them, and go on
            if found[fault]:
                raise Misconfigured(
                    f"the weights in {checkpoint.folder} do not fit its config.json: {fault.replace('_', ' ')}, "
                    f"{min(map(str, found[fault]))[:80]} among them; copy the model's folder again"
                )
        self._model = model.to(device).eval()
        self._device = torch.device(device)

    def start(self, prompts: Sequence[Sequence[int]], room: int) -> tuple[CachedRows, Logits]:
        """Read prompts; return their rows and [B, V] next-token logits. The cache makes its own room."""
        ids, rows = self._padded(prompts)
        return rows, self._forward(ids, rows)[:, -1].float().cpu().numpy()

    def read(self, sequences: Sequence[Sequence[int]], last: int) -> Logits:
        """Return [B, last, V]: at each of the last positions of every sequence, the logits of the token after it."""
        return self._forward(*self._padded(sequences), last).float().cpu().numpy()

    def step(self, rows: CachedRows, tokens: Sequence[int]) -> Logits:
        """Append one token to each row; return [B, V] logits."""
        rows.mask = torch.cat((rows.mask, rows.mask.new_ones(len(tokens), 1)), -1)
        return self._forward(torch.tensor(tokens, device=self._device)[:, None], rows)[:, -1].float().cpu().numpy()

    def _padded(self, sequences: Sequence[Sequence[int]]) -> tuple[Tensor, CachedRows]:
        longest = max(map(len, sequences))
        ids = torch.tensor([[0] * (longest - len(s)) + list(s) for s in sequences], device=self._device)
        mask = torch.tensor([[0] * (longest - len(s)) + [1] * len(s) for s in sequences], device=self._device)
        return ids, CachedRows(mask, None)

    @torch.inference_mode()
    def _forward(self, ids: Tensor, rows: CachedRows, last: int = 1) -> Tensor:
        positions = (rows.mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        out = self._model(
            input_ids=ids, attention_mask=rows.mask, position_ids=positions, past_key_values=rows.cache,
            use_cache=True, logits_to_keep=last,
        )  # fmt: skip
        rows.cache = out.past_key_values
        return out.logits

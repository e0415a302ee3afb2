"""A Llama in plain torch, for a start in a fraction of the time: importing `transformers`' one costs more than torch.

A test compares its logits with those of `transformers`. Rows of different length are padded on the left; padding is
never attended to and shifts no position, so a row's logits are those it has alone, up to rounding.

For a small model a step costs what its operations cost to start, so they are few: projections of one input are one
matrix, queries and keys turn together, and what depends on the position alone is looked up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor
from torch.nn.functional import embedding, linear, scaled_dot_product_attention, silu

from davy.models.checkpoint import Checkpoint
from davy.models.llama import Shape, check_weights, damaged, lacking, theta_of, together, width_of
from davy.models.logits import Logits


class Rows:
    """Sequences that advance together: their keys and values, and how far each is padded on the left."""

    def __init__(self, padding: Tensor, keys: list[Tensor], values: list[Tensor]) -> None:
        self.padding = padding
        """[B]"""
        self.padded = bool(padding.any())
        self.keys, self.values = keys, values
        """One a layer: [B, heads, capacity, width]"""
        self.length = 0
        """Columns in use."""

    def keep(self, rows: Sequence[int]) -> None:
        """Leave only these rows, in this order."""
        index = torch.tensor(rows, device=self.padding.device)
        self.padding = self.padding[index]
        self.padded = self.padded and bool(self.padding.any())
        self.keys = [k[index] for k in self.keys]
        self.values = [v[index] for v in self.values]


class Llama:
    """Weights in memory.

    Raises
    ------
    Misconfigured
        The weights are not those that the configuration describes.
    """

    def __init__(self, checkpoint: Checkpoint, shape: Shape, dtype: torch.dtype, device: str) -> None:
        self._heads = shape.num_attention_heads
        self._kv_heads = shape.num_key_value_heads or self._heads
        self._width = width_of(shape)
        self._layers = shape.num_hidden_layers
        self._eps = shape.rms_norm_eps
        self._device, self._dtype = torch.device(device), dtype
        w: dict[str, Tensor] = {}
        try:
            for path in checkpoint.weights:
                w |= load_file(path)
            check_weights({name: weight.shape for name, weight in w.items()}, shape, checkpoint.folder)
            self._embed = self._load(w, "model.embed_tokens.weight")
            self._head = self._embed if shape.tie_word_embeddings else self._load(w, "lm_head.weight")
            self._norm = self._load(w, "model.norm.weight")
            self._blocks = [self._block(w, i) for i in range(self._layers)]
        except KeyError as e:
            raise lacking(checkpoint.folder, e) from None
        except SafetensorError as e:
            raise damaged(checkpoint.folder, e) from None
        exponents = torch.arange(0, self._width, 2, dtype=torch.float32, device=self._device) / self._width
        self._frequencies: Tensor = 1.0 / theta_of(shape) ** exponents
        self._cos, self._sin = self._turns(0)

    def start(self, prompts: Sequence[Sequence[int]], room: int) -> tuple[Rows, Logits]:
        """Read prompts; return their rows, with room for so many further tokens, and [B, V] next-token logits."""
        ids, rows = self._padded(prompts, room)
        return rows, _logits(self._forward(ids, rows)[:, -1])

    def read(self, sequences: Sequence[Sequence[int]], last: int) -> Logits:
        """Return [B, last, V]: at each of the last positions of every sequence, the logits of the token after it."""
        return _logits(self._forward(*self._padded(sequences, 0), last))

    def step(self, rows: Rows, tokens: Sequence[int]) -> Logits:
        """Append one token to each row; return [B, V] logits."""
        return _logits(self._forward(torch.tensor(tokens, device=self._device)[:, None], rows)[:, -1])

    def _padded(self, sequences: Sequence[Sequence[int]], room: int) -> tuple[Tensor, Rows]:
        """[B, T] ids, and rows with room for them and so many further tokens."""
        longest = max(map(len, sequences))
        padding = torch.tensor([longest - len(s) for s in sequences], device=self._device)
        shape = (len(sequences), self._kv_heads, longest + room, self._width)
        keys, values = (
            [torch.zeros(shape, dtype=self._dtype, device=self._device) for _ in range(self._layers)] for _ in range(2)
        )
        ids = torch.tensor([[0] * (longest - len(s)) + list(s) for s in sequences], device=self._device)
        return ids, Rows(padding, keys, values)

    @torch.inference_mode()
    def _forward(self, ids: Tensor, rows: Rows, last: int = 1) -> Tensor:
        count, begin = ids.shape[1], rows.length
        rows.length = end = begin + count
        if end > len(self._cos):
            self._cos, self._sin = self._turns(2 * end)
        position = torch.arange(begin, end, device=self._device)[None, :]
        mask: Tensor | None = None
        if rows.padded or (begin and count > 1):
            mask = _visible(position[0], rows.padding, end)
            position = (position - rows.padding[:, None]).clamp(min=0)
        cos, sin = self._cos[position][:, None], self._sin[position][:, None]
        turned, keys = self._heads + self._kv_heads, self._kv_heads
        x = embedding(ids, self._embed)
        for i, block in enumerate(self._blocks):
            h = self._normed(x, block["input_layernorm"])
            made = linear(h, block["qkv"]).view(*h.shape[:-1], -1, self._width).transpose(1, 2)
            qk = made[:, :turned]
            # Rotary position embedding, halves as pairs (Su et al., arXiv 2104.09864, in Llama's layout).
            qk = torch.addcmul(qk * cos, qk.roll(self._width // 2, -1), sin)
            rows.keys[i][:, :, begin:end] = qk[:, -keys:]
            rows.values[i][:, :, begin:end] = made[:, turned:]
            seen = scaled_dot_product_attention(
                qk[:, :-keys],
                rows.keys[i][:, :, :end],
                rows.values[i][:, :, :end],
                attn_mask=mask,
                is_causal=mask is None and count > 1,
                enable_gqa=True,
            )
            x = x + linear(seen.transpose(1, 2).flatten(2), block["o"])
            gate, up = linear(self._normed(x, block["post_attention_layernorm"]), block["gate_up"]).chunk(2, -1)
            x = x + linear(silu(gate) * up, block["down"])
        return linear(self._normed(x[:, -last:], self._norm), self._head)

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        """RMSNorm, its mean in float32. Written out: torch's own takes twice as long on a CPU."""
        wide = x.float()
        return weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self._eps)).to(x.dtype)

    def _turns(self, length: int) -> tuple[Tensor, Tensor]:
        """[length, width] by which positions turn a head's halves: cos, and sin with the sign of the first half."""
        angle = torch.arange(length, device=self._device)[:, None] * self._frequencies
        cos, sin = angle.cos().to(self._dtype), angle.sin().to(self._dtype)
        return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)

    def _block(self, weights: Mapping[str, Tensor], layer: int) -> dict[str, Tensor]:
        """A layer's weights; those that multiply the same input are one matrix."""
        return {
            name: torch.cat([self._load(weights, part) for part in parts]) for name, parts in together(layer).items()
        }

    def _load(self, weights: Mapping[str, Tensor], name: str) -> Tensor:
        return weights[name].to(device=self._device, dtype=self._dtype)


def _visible(column: Tensor, padding: Tensor, end: int) -> Tensor:
    """[B, 1, T, end]: what each column may attend to.

    A padding column sees itself, so that its own row of the softmax is not empty; no other column sees it.
    """
    past = torch.arange(end, device=column.device)
    visible = (past[None, :] <= column[:, None])[None] & (past[None, None, :] >= padding[:, None, None])
    return (visible | (past[None, :] == column[:, None])[None])[:, None]


def _logits(made: Tensor) -> Logits:
    return made.float().cpu().numpy()

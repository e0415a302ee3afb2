"""A Llama in NumPy, for small models on a CPU: it starts without importing torch, and a step costs little to start.

Only float32. Rows of different length are padded on the left; padding is never attended to and shifts no position, so a
row's logits are those it has alone, up to rounding; a test compares them with those of `davy.models.llama_torch`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file  # pyright: ignore[reportUnknownVariableType]

from davy.models.checkpoint import Checkpoint
from davy.models.llama import Shape, check_weights, damaged, lacking, theta_of, together, width_of
from davy.models.logits import Logits

Array = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_NEVER: Final = np.float32(-np.inf)
_ONE: Final = np.float32(1)


class Block(NamedTuple):
    """A layer's weights, matrices as [in, out]; those that multiply the same input are one."""

    input_layernorm: Array
    qkv: Array
    o: Array
    post_attention_layernorm: Array
    gate_up: Array
    down: Array


class Rows:
    """Sequences that advance together: their keys and values, and how far each is padded on the left."""

    def __init__(self, padding: Ints, keys: list[Array], values: list[Array]) -> None:
        self.padding = padding
        """[B]"""
        self.keys, self.values = keys, values
        """One a layer: [B, heads, capacity, width]"""
        self.length = 0
        """Columns in use."""

    def keep(self, rows: Sequence[int]) -> None:
        """Leave only these rows, in this order."""
        index = np.array(rows)
        self.padding = self.padding[index]
        self.keys = [k[index] for k in self.keys]
        self.values = [v[index] for v in self.values]


class Llama:
    """Weights in memory.

    Raises
    ------
    Misconfigured
        The weights are not those that the configuration describes.
    """

    def __init__(self, checkpoint: Checkpoint, shape: Shape) -> None:
        self._width = width_of(shape)
        self._heads = shape.num_attention_heads
        self._kv_heads = shape.num_key_value_heads or self._heads
        self._layers = shape.num_hidden_layers
        self._eps = np.float32(shape.rms_norm_eps)
        self._scale = np.float32(self._width**-0.5)
        w: dict[str, npt.NDArray[np.floating]] = {}
        try:
            for path in checkpoint.weights:
                w |= load_file(path)
            check_weights({name: weight.shape for name, weight in w.items()}, shape, checkpoint.folder)
            self._embed = _wide(w["model.embed_tokens.weight"])
            head = self._embed if shape.tie_word_embeddings else _wide(w["lm_head.weight"])
            self._head = np.ascontiguousarray(head.T)
            self._norm = _wide(w["model.norm.weight"])
            self._blocks = [_block(w, i) for i in range(self._layers)]
        except KeyError as e:
            raise lacking(checkpoint.folder, e) from None
        except (SafetensorError, TypeError) as e:
            raise damaged(checkpoint.folder, e) from None
        self._frequencies = (theta_of(shape) ** -(np.arange(0, self._width, 2) / self._width)).astype(np.float32)
        self._cos, self._sin = self._turns(0)

    def start(self, prompts: Sequence[Sequence[int]], room: int) -> tuple[Rows, Logits]:
        """Read prompts; return their rows, with room for so many further tokens, and [B, V] next-token logits."""
        ids, rows = self._padded(prompts, room)
        return rows, self._forward(ids, rows)[:, -1]

    def read(self, sequences: Sequence[Sequence[int]], last: int) -> Logits:
        """Return [B, last, V]: at each of the last positions of every sequence, the logits of the token after it."""
        return self._forward(*self._padded(sequences, 0), last)

    def step(self, rows: Rows, tokens: Sequence[int]) -> Logits:
        """Append one token to each row; return [B, V] logits."""
        return self._forward(np.array(tokens)[:, None], rows)[:, -1]

    def _padded(self, sequences: Sequence[Sequence[int]], room: int) -> tuple[Ints, Rows]:
        """[B, T] ids, and rows with room for them and so many further tokens."""
        longest = max(map(len, sequences))
        shape = (len(sequences), self._kv_heads, longest + room, self._width)
        keys, values = ([np.zeros(shape, np.float32) for _ in range(self._layers)] for _ in range(2))
        ids = np.array([[0] * (longest - len(s)) + list(s) for s in sequences])
        return ids, Rows(np.array([longest - len(s) for s in sequences]), keys, values)

    def _forward(self, ids: Ints, rows: Rows, last: int = 1) -> Logits:
        """[B, last, V], of the last positions."""
        batch, count = ids.shape
        begin, end = rows.length, rows.length + count
        rows.length = end
        if end > len(self._cos):
            self._cos, self._sin = self._turns(2 * end)
        columns = np.arange(begin, end, dtype=np.int64)
        mask = _hidden(columns, rows.padding, end)
        position = np.maximum(columns[None, :] - rows.padding[:, None], 0)
        cos, sin = self._cos[position][:, :, None], self._sin[position][:, :, None]
        turned = self._heads + self._kv_heads
        x: Array = self._embed[ids].reshape(batch * count, -1)
        for i, block in enumerate(self._blocks):
            made = (self._normed(x, block.input_layernorm) @ block.qkv).reshape(batch, count, -1, self._width)
            qk = _rotated(made[:, :, :turned], cos, sin)
            rows.keys[i][:, :, begin:end] = qk[:, :, self._heads :].transpose(0, 2, 1, 3)
            rows.values[i][:, :, begin:end] = made[:, :, turned:].transpose(0, 2, 1, 3)
            seen = self._attended(qk[:, :, : self._heads], rows.keys[i][:, :, :end], rows.values[i][:, :, :end], mask)
            x += seen @ block.o
            gate, up = np.split(self._normed(x, block.post_attention_layernorm) @ block.gate_up, 2, axis=-1)
            x += _silu(gate) * up @ block.down
        ends: Array = x.reshape(batch, count, -1)[:, -last:]
        return self._normed(ends, self._norm) @ self._head

    def _attended(self, queries: Array, keys: Array, values: Array, mask: Array | None) -> Array:
        """[B·T, heads·width] of queries [B, T, heads, width] and keys and values [B, kv heads, end, width].

        Several heads share a key's head; they are rows of one product.
        """
        batch, count = queries.shape[:2]
        shared = self._heads // self._kv_heads
        q = queries.reshape(batch, count, self._kv_heads, shared, self._width).transpose(0, 2, 3, 1, 4)
        scores = q.reshape(batch, self._kv_heads, shared * count, self._width) @ keys.swapaxes(2, 3)
        scores *= self._scale
        if mask is not None:
            apart = scores.reshape(batch, self._kv_heads, shared, count, -1)
            apart += mask[:, None, None]
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(-1, keepdims=True)
        seen = (scores @ values).reshape(batch, self._kv_heads, shared, count, self._width)
        return seen.transpose(0, 3, 1, 2, 4).reshape(batch * count, -1)

    def _normed(self, x: Array, weight: Array) -> Array:
        """RMSNorm."""
        square = np.einsum("...i,...i->...", x, x)[..., None]
        return x * (_ONE / np.sqrt(square / np.float32(x.shape[-1]) + self._eps)) * weight

    def _turns(self, length: int) -> tuple[Array, Array]:
        """[length, width] by which positions turn a head's halves: cos, and sin with the sign of the first half."""
        angle = np.arange(length, dtype=np.float32)[:, None] * self._frequencies
        cos, sin = np.cos(angle), np.sin(angle)
        return np.concatenate((cos, cos), -1), np.concatenate((-sin, sin), -1)


def _rotated(x: Array, cos: Array, sin: Array) -> Array:
    """Rotary position embedding, halves as pairs (Su et al., arXiv 2104.09864, in Llama's layout)."""
    half = x.shape[-1] // 2
    swapped = np.concatenate((x[..., half:], x[..., :half]), -1)
    swapped *= sin
    swapped += x * cos
    return swapped


def _silu(x: Array) -> Array:
    with np.errstate(over="ignore"):  # exp(−x) of a very negative x is infinite, and x/∞ is the right zero
        return x / (_ONE + np.exp(-x))


def _hidden(columns: Ints, padding: Ints, end: int) -> Array | None:
    """[B, T, end]: −∞ where a column may not attend to another, else 0; None where all is seen.

    A padding column sees itself, so that its own row of the softmax is not empty; no other column sees it.
    """
    if len(columns) == 1 and not padding.any():
        return None
    past = np.arange(end)
    visible = (past[None, :] <= columns[:, None])[None] & (past[None, None, :] >= padding[:, None, None])
    visible |= (past[None, :] == columns[:, None])[None]
    return np.where(visible, np.float32(0), _NEVER)


def _block(weights: Mapping[str, npt.NDArray[np.floating]], layer: int) -> Block:
    parts = {name: np.concatenate([_wide(weights[part]) for part in names]) for name, names in together(layer).items()}
    return Block(**{name: np.ascontiguousarray(part.T) for name, part in parts.items()})


def _wide(weight: npt.NDArray[np.floating]) -> Array:
    return weight.astype(np.float32)

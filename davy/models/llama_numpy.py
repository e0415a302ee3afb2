"""A Llama in NumPy, for small models on a CPU: it starts without importing torch, and a step costs little to start.

Only float32. Prompts are read one after the other: side by side they would be padded to the longest, and a prompt
alone fills the processor already. Their keys and values are kept together, so that a step is one for all. A row's
logits are those it has alone, up to rounding; a test compares them with those of `davy.models.llama_torch`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
Attend = Callable[[int, Array, Array, Array], Array]
"""From a layer's number, its queries [N, heads, width], keys and values [N, kv heads, width] to [N, heads·width]."""

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
    """Sequences that advance together: how long each is, and its keys and values up to there."""

    def __init__(self, lengths: Ints, keys: list[Array], values: list[Array]) -> None:
        self.lengths = lengths
        """[B]"""
        self.keys, self.values = keys, values
        """One a layer: [B, kv heads, capacity, width]"""

    def keep(self, rows: Sequence[int]) -> None:
        """Leave only these rows, in this order."""
        index = np.array(rows)
        self.lengths = self.lengths[index]
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
        lengths = np.array([len(p) for p in prompts])
        shape = (len(prompts), self._kv_heads, int(lengths.max()) + room, self._width)
        keys, values = ([np.zeros(shape, np.float32) for _ in range(self._layers)] for _ in range(2))
        rows = Rows(lengths, keys, values)
        return rows, np.concatenate([self._whole(p, 1, (rows, i)) for i, p in enumerate(prompts)]) @ self._head

    def read(self, sequences: Sequence[Sequence[int]], last: int) -> Logits:
        """Return [B, last, V]: at each of the last positions of every sequence, the logits of the token after it.

        What stands before a sequence that is shorter means nothing.
        """
        ends = np.zeros((len(sequences), last, self._head.shape[0]), np.float32)
        for row, sequence in zip(ends, sequences, strict=True):
            row[-len(sequence) :] = self._whole(sequence, last)
        return ends @ self._head

    def step(self, rows: Rows, tokens: Sequence[int]) -> Logits:
        """Append one token to each row; return [B, V] logits."""
        every, at = np.arange(len(tokens)), rows.lengths
        end = int(at.max()) + 1
        unseen = np.arange(end) > at[:, None]
        mask = _hidden(unseen)[:, None] if unseen.any() else None

        def attend(layer: int, queries: Array, keys: Array, values: Array) -> Array:
            rows.keys[layer][every, :, at] = keys
            rows.values[layer][every, :, at] = values
            seen = rows.keys[layer][:, :, :end], rows.values[layer][:, :, :end]
            return self._attended(queries[:, None], *seen, mask)

        rows.lengths = at + 1
        return self._forward(np.array(tokens), at, attend, len(tokens)) @ self._head

    def _whole(self, sequence: Sequence[int], last: int, kept: tuple[Rows, int] | None = None) -> Array:
        """[last, hidden] of a sequence's last tokens; a row that is given keeps all keys and values."""
        every = np.arange(len(sequence))
        mask = _hidden(every > every[:, None])[None]

        def attend(layer: int, queries: Array, keys: Array, values: Array) -> Array:
            k, v = keys.swapaxes(0, 1), values.swapaxes(0, 1)
            if kept is not None:
                rows, row = kept
                rows.keys[layer][row, :, : len(every)] = k
                rows.values[layer][row, :, : len(every)] = v
            return self._attended(queries[None], k[None], v[None], mask)

        return self._forward(np.array(sequence), every, attend, last)

    def _forward(self, ids: Ints, position: Ints, attend: Attend, last: int) -> Array:
        """[last, hidden] of the last of N tokens at their places; they see each other only through `attend`."""
        if (end := int(position.max()) + 1) > len(self._cos):
            self._cos, self._sin = self._turns(2 * end)
        cos, sin = self._cos[position][:, None], self._sin[position][:, None]
        turned = self._heads + self._kv_heads
        x: Array = self._embed[ids]
        for i, block in enumerate(self._blocks):
            made = (self._normed(x, block.input_layernorm) @ block.qkv).reshape(len(ids), -1, self._width)
            qk = _rotated(made[:, :turned], cos, sin)
            seen = attend(i, qk[:, : self._heads], qk[:, self._heads :], made[:, turned:])
            if i == self._layers - 1:  # no later layer looks at the others
                x, seen = x[-last:], seen[-last:]
            x += seen @ block.o
            gate, up = np.split(self._normed(x, block.post_attention_layernorm) @ block.gate_up, 2, axis=-1)
            x += _silu(gate) * up @ block.down
        return self._normed(x, self._norm)

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


def _hidden(unseen: npt.NDArray[np.bool_]) -> Array:
    """What is added to scores: −∞ where a key may not be attended to."""
    return np.where(unseen, _NEVER, np.float32(0))


def _block(weights: Mapping[str, npt.NDArray[np.floating]], layer: int) -> Block:
    parts = {name: np.concatenate([_wide(weights[part]) for part in names]) for name, names in together(layer).items()}
    return Block(**{name: np.ascontiguousarray(part.T) for name, part in parts.items()})


def _wide(weight: npt.NDArray[np.floating]) -> Array:
    return weight.astype(np.float32)

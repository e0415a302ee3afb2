"""A Llama in plain torch, for a start in a fraction of the time: importing `transformers`' one costs more than torch.

The architecture is that of `transformers`' LlamaForCausalLM, whose logits a test compares with these; a checkpoint of
any other kind goes through `davy.models.automodel`. Rows of different length are padded on the left; padding is never
attended to and shifts no position, so a row's logits are those it has alone, up to rounding.

For a small model a step costs what its operations cost to start, so they are few: projections of one input are one
matrix, queries and keys turn together, and what depends on the position alone is looked up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor
from torch.nn.functional import embedding, linear, scaled_dot_product_attention, silu

from davy.models.checkpoint import Checkpoint
from davy.protocol.errors import Misconfigured

_NO_WEIGHTS: Final = "rotary_emb.inv_freq"
"""Written into checkpoints by old versions of transformers, and computed anew by all."""


class Rope(msgspec.Struct):
    """How positions are written, as transformers 5 has it; 4 had `rope_theta` beside it, and `type`."""

    rope_theta: float | None = None
    rope_type: str = "default"
    type: str = "default"


class Shape(msgspec.Struct):
    """What a config.json says of a Llama."""

    model_type: str
    hidden_size: int
    num_attention_heads: int
    num_hidden_layers: int
    vocab_size: int
    intermediate_size: int
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    hidden_act: str = "silu"
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    rope_theta: float = 10_000.0
    rope_parameters: Rope | None = None
    rope_scaling: Rope | None = None


def shape_of(config: Mapping[str, Any]) -> Shape | None:
    """Read a configuration; None if it asks for anything beyond what is written here."""
    try:
        s = msgspec.convert(config, Shape)
    except msgspec.ValidationError:
        return None
    ropes = [r for r in (s.rope_parameters, s.rope_scaling) if r is not None]
    plain = all((r.rope_type, r.type) == ("default", "default") for r in ropes)
    ours = s.model_type == "llama" and s.hidden_act == "silu" and not s.attention_bias and not s.mlp_bias
    return s if ours and plain else None


def sizes(s: Shape) -> dict[str, tuple[int, ...]]:
    """Every weight of a Llama of this shape, with its dimensions."""
    width = s.head_dim or s.hidden_size // s.num_attention_heads
    hidden, queries = s.hidden_size, s.num_attention_heads * width
    keys = (s.num_key_value_heads or s.num_attention_heads) * width
    block = {
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "mlp.gate_proj": (s.intermediate_size, hidden),
        "mlp.up_proj": (s.intermediate_size, hidden),
        "mlp.down_proj": (hidden, s.intermediate_size),
    }
    return {
        "model.embed_tokens.weight": (s.vocab_size, hidden),
        "model.norm.weight": (hidden,),
        "lm_head.weight": (s.vocab_size, hidden),
        **{f"model.layers.{i}.{n}.weight": size for i in range(s.num_hidden_layers) for n, size in block.items()},
    }


def _check(weights: Mapping[str, Tensor], s: Shape, folder: Path) -> None:
    """Hold the weights against the configuration: what would be left out or cut is another model, told by nobody.

    Raises
    ------
    Misconfigured
        A weight that the configuration has no place for, or of another size.
    """
    expected = sizes(s)
    for name, weight in weights.items():
        if name.endswith(_NO_WEIGHTS):
            continue
        found, wanted = tuple(weight.shape), expected.get(name)
        if found != wanted:
            asked = "has no place for it" if wanted is None else f"asks for {_by(wanted)}"
            raise Misconfigured(
                f"the weights in {folder} do not fit its config.json: {name} is {_by(found)}, and the configuration "
                f"{asked}; copy the model's folder again"
            )


def _by(size: Sequence[int]) -> str:
    return "×".join(map(str, size))


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
        self._width = shape.head_dim or shape.hidden_size // self._heads
        self._layers = shape.num_hidden_layers
        self._eps = shape.rms_norm_eps
        theta = shape.rope_theta
        if shape.rope_parameters is not None and shape.rope_parameters.rope_theta is not None:
            theta = shape.rope_parameters.rope_theta
        self._device, self._dtype = torch.device(device), dtype
        w: dict[str, Tensor] = {}
        try:
            for path in checkpoint.weights:
                w |= load_file(path)
            _check(w, shape, checkpoint.folder)
            self._embed = self._load(w, "model.embed_tokens")
            self._head = self._embed if shape.tie_word_embeddings else self._load(w, "lm_head")
            self._norm = self._load(w, "model.norm")
            self._blocks = [self._block(w, f"model.layers.{i}") for i in range(self._layers)]
        except KeyError as e:
            raise Misconfigured(f"{checkpoint.folder} lacks the weights {e}: copy the model's folder again") from None
        except SafetensorError as e:
            raise Misconfigured(f"{checkpoint.folder} has damaged safetensors ({e}): copy it again") from None
        exponents = torch.arange(0, self._width, 2, dtype=torch.float32, device=self._device) / self._width
        self._frequencies: Tensor = 1.0 / theta**exponents
        self._cos, self._sin = self._turns(0)

    def start(self, prompts: Sequence[Sequence[int]], room: int) -> tuple[Rows, Tensor]:
        """Read prompts; return their rows, with room for so many further tokens, and [B, V] next-token logits."""
        ids, rows = self._padded(prompts, room)
        return rows, self._forward(ids, rows)[:, -1]

    def read(self, sequences: Sequence[Sequence[int]], last: int) -> Tensor:
        """Return [B, last, V]: at each of the last positions of every sequence, the logits of the token after it."""
        return self._forward(*self._padded(sequences, 0), last)

    def step(self, rows: Rows, tokens: Sequence[int]) -> Tensor:
        """Append one token to each row; return [B, V] logits."""
        return self._forward(torch.tensor(tokens, device=self._device)[:, None], rows)[:, -1]

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

    def _block(self, weights: Mapping[str, Tensor], layer: str) -> dict[str, Tensor]:
        """A layer's weights; those that multiply the same input are one matrix."""
        together = {
            "qkv": [f"self_attn.{n}_proj" for n in "qkv"],
            "o": ["self_attn.o_proj"],
            "gate_up": ["mlp.gate_proj", "mlp.up_proj"],
            "down": ["mlp.down_proj"],
            "input_layernorm": ["input_layernorm"],
            "post_attention_layernorm": ["post_attention_layernorm"],
        }
        return {
            name: torch.cat([self._load(weights, f"{layer}.{part}") for part in parts])
            for name, parts in together.items()
        }

    def _load(self, weights: Mapping[str, Tensor], name: str) -> Tensor:
        return weights[f"{name}.weight"].to(device=self._device, dtype=self._dtype)


def _visible(column: Tensor, padding: Tensor, end: int) -> Tensor:
    """[B, 1, T, end]: what each column may attend to.

    A padding column sees itself, so that its own row of the softmax is not empty; no other column sees it.
    """
    past = torch.arange(end, device=column.device)
    visible = (past[None, :] <= column[:, None])[None] & (past[None, None, :] >= padding[:, None, None])
    return (visible | (past[None, :] == column[:, None])[None])[:, None]

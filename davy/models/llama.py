"""What a Llama is: the shape its config.json describes, and the weights that belong to it.

`llama_numpy` and `llama_torch` compute it. The architecture is that of `transformers`' LlamaForCausalLM; a checkpoint
of any other kind goes through `davy.models.automodel`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from davy.protocol.errors import Misconfigured

_NO_WEIGHTS: Final = "rotary_emb.inv_freq"
"""Written into checkpoints by old versions of transformers, and computed anew by all."""


_MOST: Final = {
    "hidden_size": 1 << 17,
    "num_attention_heads": 1 << 12,
    "num_hidden_layers": 1 << 12,
    "vocab_size": 1 << 23,
    "intermediate_size": 1 << 20,
    "num_key_value_heads": 1 << 12,
    "head_dim": 1 << 13,
}


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
    _check_bounds(s)
    ropes = [r for r in (s.rope_parameters, s.rope_scaling) if r is not None]
    plain = all((r.rope_type, r.type) == ("default", "default") for r in ropes)
    ours = s.model_type == "llama" and s.hidden_act == "silu" and not s.attention_bias and not s.mlp_bias
    return s if ours and plain else None


def _check_bounds(s: Shape) -> None:
    """Refuse sizes that no model has, before anything is made of them: the file may be anybody's.

    Raises
    ------
    Misconfigured
    """
    for name, most in _MOST.items():
        size = getattr(s, name)
        if size is not None and not 1 <= size <= most:
            raise Misconfigured(f"a config.json asks for {name} {size}, and no model has that; copy the folder again")


def sizes(s: Shape) -> dict[str, tuple[int, ...]]:
    """Every weight of a Llama of this shape, with its dimensions."""
    width = width_of(s)
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


def check_weights(found: Mapping[str, Sequence[int]], s: Shape, folder: Path) -> None:
    """Hold sizes against the configuration: what would be left out or cut is another model, told by nobody.

    Raises
    ------
    Misconfigured
        A weight that the configuration has no place for, or of another size.
    """
    expected = sizes(s)
    for name, size in found.items():
        if name.endswith(_NO_WEIGHTS):
            continue
        wanted = expected.get(name)
        if tuple(size) != wanted:
            asked = "has no place for it" if wanted is None else f"asks for {_by(wanted)}"
            raise Misconfigured(
                f"the weights in {folder} do not fit its config.json: {name} is {_by(size)}, and the configuration "
                f"{asked}; copy the model's folder again"
            )


def width_of(s: Shape) -> int:
    """Of a head."""
    return s.head_dim or s.hidden_size // s.num_attention_heads


def theta_of(s: Shape) -> float:
    """The base of the rotary embedding's frequencies."""
    told = s.rope_parameters.rope_theta if s.rope_parameters else None
    return s.rope_theta if told is None else told


def parameters(s: Shape) -> int:
    """How many numbers the weights hold."""
    left_out = "lm_head.weight" if s.tie_word_embeddings else ""
    return sum(math.prod(size) for name, size in sizes(s).items() if name != left_out)


def together(layer: int) -> dict[str, list[str]]:
    """Names of a layer's weights; matrices that multiply the same input are one."""
    block = {
        "input_layernorm": ["input_layernorm"],
        "qkv": [f"self_attn.{n}_proj" for n in "qkv"],
        "o": ["self_attn.o_proj"],
        "post_attention_layernorm": ["post_attention_layernorm"],
        "gate_up": ["mlp.gate_proj", "mlp.up_proj"],
        "down": ["mlp.down_proj"],
    }
    return {name: [f"model.layers.{layer}.{part}.weight" for part in parts] for name, parts in block.items()}


def lacking(folder: Path, e: KeyError) -> Misconfigured:
    """A weight that the configuration asks for is not there."""
    return Misconfigured(f"{folder} lacks the weights {e}: copy the model's folder again")


def damaged(folder: Path, e: Exception) -> Misconfigured:
    """A file of weights cannot be read."""
    return Misconfigured(f"{folder} has damaged safetensors ({e}): copy it again")


def _by(size: Sequence[int]) -> str:
    return "×".join(map(str, size))

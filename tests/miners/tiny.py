"""A random Llama of two layers in a Hugging Face folder, made on the spot."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

HIDDEN, LAYERS, HEADS, KV_HEADS, INNER, CONTEXT = 32, 2, 4, 2, 48, 128
END = 0


def write(folder: Path, seed: int = 0, *, tied: bool = True, scale: float = 0.2) -> Path:
    """A vocabulary of an end token and the 256 bytes; `scale` is the weights' standard deviation."""
    folder.mkdir(parents=True, exist_ok=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={"<|end|>": END, **{c: i + 1 for i, c in enumerate(alphabet)}}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    vocabulary = len(alphabet) + 1
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": HIDDEN,
        "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": tied, "vocab_size": vocabulary, "eos_token_id": END, "bos_token_id": END,
        "rope_parameters": {"rope_theta": 5000.0, "rope_type": "default"},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng) * scale

    kv = HIDDEN // HEADS * KV_HEADS
    tensors = {"model.embed_tokens.weight": normal(vocabulary, HIDDEN), "model.norm.weight": 1 + normal(HIDDEN)}
    if not tied:
        tensors["lm_head.weight"] = normal(vocabulary, HIDDEN)
    for i in range(LAYERS):
        layer = {
            "input_layernorm": 1 + normal(HIDDEN),
            "post_attention_layernorm": 1 + normal(HIDDEN),
            "self_attn.q_proj": normal(HIDDEN, HIDDEN),
            "self_attn.k_proj": normal(kv, HIDDEN),
            "self_attn.v_proj": normal(kv, HIDDEN),
            "self_attn.o_proj": normal(HIDDEN, HIDDEN),
            "mlp.gate_proj": normal(INNER, HIDDEN),
            "mlp.up_proj": normal(INNER, HIDDEN),
            "mlp.down_proj": normal(HIDDEN, INNER),
        }
        tensors |= {f"model.layers.{i}.{name}.weight": tensor for name, tensor in layer.items()}
    save_file(tensors, folder / "model.safetensors")
    return folder

"""Write a model as GGUF (f16 or Q8_0) and read it back, dequantised.

llama.cpp rotates neighbouring pairs where Hugging Face rotates halves, so query and key rows are permuted on the
way out and back on the way in. Quantised files are the source of truth: pools, Hugging Face files and checks all
start from what `read_gguf` returns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import gguf
import numpy as np
import torch
from torch import Tensor

from zoo import tokenizer
from zoo.config import CONFIGS, CONTEXT, NORM_EPSILON, ROPE_THETA, Config
from zoo.model import Llama

Precision = Literal["f16", "q8_0"]
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
DESCRIPTION = (
    "A tiny model of the synthetic two-stage question task minihop. Trained from scratch on generated text; "
    "knows nothing else."
)


def tensor_names(config: Config) -> dict[str, str]:
    """Return the names of all tensors, GGUF's to ours."""
    names = {"token_embd.weight": "embed_tokens.weight", "output_norm.weight": "norm.weight"}
    for layer in range(config.layers):
        for theirs, ours in _LAYER_NAMES.items():
            names[f"blk.{layer}.{theirs}.weight"] = f"layers.{layer}.{ours}.weight"
    return names


def _halves_to_pairs(rows: np.ndarray, heads: int) -> np.ndarray:
    return rows.reshape(heads, 2, -1, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def _pairs_to_halves(rows: np.ndarray, heads: int) -> np.ndarray:
    return rows.reshape(heads, -1, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def _is_rotated(name: str) -> bool:
    return "attn_q." in name or "attn_k." in name


def write_gguf(state: dict[str, Tensor], config: Config, path: Path, precision: Precision) -> None:
    """Write one model."""
    writer = gguf.GGUFWriter(path, "llama")
    _add_shape(writer, config, precision)
    _add_tokenizer(writer)
    for theirs, ours in tensor_names(config).items():
        array = state[ours].detach().float().cpu().numpy()
        if _is_rotated(theirs):
            array = _halves_to_pairs(array, config.heads)
        _add_tensor(writer, theirs, np.ascontiguousarray(array), precision)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tensor(writer: gguf.GGUFWriter, name: str, array: np.ndarray, precision: Precision) -> None:
    if array.ndim == 1:
        writer.add_tensor(name, array)
    elif precision == "f16":
        writer.add_tensor(name, array.astype(np.float16))
    else:
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)


def _add_shape(writer: gguf.GGUFWriter, config: Config, precision: Precision) -> None:
    writer.add_name(config.name)
    writer.add_description(DESCRIPTION)
    writer.add_license("apache-2.0")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.hidden)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.heads)
    writer.add_key_length(config.head_width)
    writer.add_value_length(config.head_width)
    writer.add_rope_dimension_count(config.head_width)
    writer.add_rope_freq_base(ROPE_THETA)
    writer.add_layer_norm_rms_eps(NORM_EPSILON)
    writer.add_vocab_size(len(tokenizer.vocabulary()))
    kinds = {"f16": gguf.LlamaFileType.MOSTLY_F16, "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0}
    writer.add_file_type(kinds[precision])


def _add_tokenizer(writer: gguf.GGUFWriter) -> None:
    tokens = tokenizer.vocabulary()
    specials = len(tokenizer.SPECIALS)
    control, unused, normal = gguf.TokenType.CONTROL, gguf.TokenType.UNUSED, gguf.TokenType.NORMAL
    types = [
        control if index < specials else unused if token.startswith("<|reserved_") else normal
        for index, token in enumerate(tokens)
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([f"{left} {right}" for left, right in tokenizer.merges()])
    writer.add_bos_token_id(tokenizer.BOS)
    writer.add_eos_token_id(tokenizer.END)
    writer.add_pad_token_id(tokenizer.PAD)
    writer.add_add_bos_token(False)  # the chat template writes it
    writer.add_chat_template(tokenizer.CHAT_TEMPLATE)


def read_gguf(path: Path, config: Config) -> dict[str, Tensor]:
    """Read a model's weights in float32 under our names."""
    names = tensor_names(config)
    state = {}
    for tensor in gguf.GGUFReader(path).tensors:
        array = np.array(gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        array = array.reshape([int(size) for size in reversed(tensor.shape)])
        if _is_rotated(tensor.name):
            array = _pairs_to_halves(array, config.heads)
        state[names[tensor.name]] = torch.from_numpy(np.ascontiguousarray(array))
    return state


def load_model(path: Path, size: str, device: str | torch.device = "cpu") -> Llama:
    """Load a GGUF file or a training checkpoint (.pt) into a float32 model, ready to sample.

    A verifier has the shape of the size that it started from.
    """
    config = CONFIGS[size]
    state = torch.load(path, map_location="cpu") if path.suffix == ".pt" else read_gguf(path, config)
    model = Llama(config, len(tokenizer.vocabulary()))
    model.load_state_dict(state)
    return model.to(device).eval()

"""Write the shipped weights in Hugging Face's format, for transformers and vLLM (made on demand, not committed).

python -m zoo.huggingface --size xs --out /tmp/minihop-xs
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from zoo import tokenizer
from zoo.config import CONFIGS, CONTEXT, NORM_EPSILON, ROPE_THETA, Config
from zoo.weights import read_gguf
from zoo.worldfile import PACKAGE


def model_config(config: Config) -> dict[str, object]:
    """Return config.json."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": config.width,
        "intermediate_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.heads,
        "head_dim": config.head_width,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "rms_norm_eps": NORM_EPSILON,
        "rope_theta": ROPE_THETA,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA},
        "max_position_embeddings": CONTEXT,
        "vocab_size": len(tokenizer.vocabulary()),
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer.BOS,
        "eos_token_id": tokenizer.END,
        "pad_token_id": tokenizer.PAD,
        "torch_dtype": "float16",
    }


def fast_tokenizer() -> Tokenizer:
    """Return the zoo's tokenizer as Hugging Face's."""
    vocabulary = {token: index for index, token in enumerate(tokenizer.vocabulary())}
    fast = Tokenizer(models.BPE(vocab=vocabulary, merges=tokenizer.merges()))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    fast.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in tokenizer.SPECIALS])
    return fast


def tokenizer_config() -> dict[str, object]:
    """Return tokenizer_config.json."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|bos|>",
        "eos_token": "<|end|>",
        "pad_token": "<|pad|>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT,
        "chat_template": tokenizer.CHAT_TEMPLATE,
    }


def generation_config() -> dict[str, object]:
    """Return generation_config.json: plain sampling, as the pools were drawn."""
    return {
        "bos_token_id": tokenizer.BOS,
        "eos_token_id": tokenizer.END,
        "pad_token_id": tokenizer.PAD,
        "do_sample": True,
        "temperature": 0.8,
        "top_k": 0,
        "top_p": 1.0,
    }


def export(size: str, out: Path) -> None:
    """Write one model's folder."""
    config = CONFIGS[size]
    out.mkdir(parents=True, exist_ok=True)
    state = read_gguf(PACKAGE / "weights" / f"{config.name}.gguf", config)
    tensors = {f"model.{name}": tensor.half().contiguous() for name, tensor in state.items()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    fast_tokenizer().save(str(out / "tokenizer.json"))
    files = {
        "config": model_config(config),
        "tokenizer_config": tokenizer_config(),
        "generation_config": generation_config(),
    }
    for name, content in files.items():
        (out / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")


def main() -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(description="Export a shipped model in Hugging Face's format.")
    parser.add_argument("--size", choices=list(CONFIGS), required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    export(arguments.size, arguments.out)


if __name__ == "__main__":
    main()

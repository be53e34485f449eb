"""The paper's candidate models: nominal parameter counts, as its cost formula takes them (section A.2).

Layers, hidden sizes and KV widths (kv heads x 128) are those of the models' published configurations; the authors'
code lists others for some and never uses them. Prices are Together AI's of the paper's section A.3, one rate per
million prompt or completion tokens. The served names are the weights that the paper ran for Qwen (AWQ, 4 bit) and the
original ones for Llama: `vllm serve NAME` serves them as they are called here, and a server of other weights can be
given the name with `--served-model-name`.
"""

from __future__ import annotations

from agenttts.pipeline import Model


def _model(
    name: str, served: str, billions: float, *, layers: int, hidden: int, kv: int, usd: float, bits: int = 16
) -> Model:
    return Model(
        name,
        billions * 1e9,
        served_name=served,
        layers=layers,
        hidden_size=hidden,
        kv_width=kv,
        weight_bits=bits,
        usd_per_million_prompt_tokens=usd,
        usd_per_million_completion_tokens=usd,
    )


QWEN_7B = _model("Qwen2.5-7B", "Qwen/Qwen2.5-7B-Instruct-AWQ", 7, layers=28, hidden=3584, kv=512, usd=0.30, bits=4)
QWEN_32B = _model("Qwen2.5-32B", "Qwen/Qwen2.5-32B-Instruct-AWQ", 32, layers=64, hidden=5120, kv=1024, usd=0.80, bits=4)
QWEN_72B = _model("Qwen2.5-72B", "Qwen/Qwen2.5-72B-Instruct-AWQ", 72, layers=80, hidden=8192, kv=1024, usd=1.20, bits=4)
LLAMA_3B = _model("Llama-3.2-3B", "meta-llama/Llama-3.2-3B-Instruct", 3, layers=28, hidden=3072, kv=1024, usd=0.06)
LLAMA_8B = _model("Llama-3.1-8B", "meta-llama/Llama-3.1-8B-Instruct", 8, layers=32, hidden=4096, kv=1024, usd=0.18)
LLAMA_70B = _model("Llama-3.1-70B", "meta-llama/Llama-3.1-70B-Instruct", 70, layers=80, hidden=8192, kv=1024, usd=0.88)

"""Models, how they are sampled, and what they are asked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from agenttts._util.checks import (
    COUNT,
    FRACTION,
    MAPPING,
    NAME,
    NOT_NEGATIVE,
    POSITIVE,
    TEXT,
    members,
    require,
    require_fields,
)
from agenttts.errors import ConfigError
from agenttts.pipeline.fingerprint import identified

Message = dict[str, str]
"""One chat message: {"role": ..., "content": ...}."""

Example = Mapping[str, Any]
"""One labelled example: a mapping of fields, with an `id`."""

_MODEL_NAME = re.compile(r"[^\s=*;,]+")


@identified(
    "model",
    version=1,
    unscored=(
        *(
            "parameters",
            "base_url",
            "api_key_env",
            "usd_per_million_prompt_tokens",
            "usd_per_million_completion_tokens",
        ),
        *("layers", "hidden_size", "kv_width", "weight_bits", "prefill_tokens_per_s", "decode_tokens_per_s"),
    ),
)
@dataclass(frozen=True)
class Model:
    """A served LLM.

    Examples:
        >>> model = at.Model("8b", 8e9, served_name="meta-llama/Llama-3.1-8B-Instruct", base_url="http://localhost:8000/v1")
        >>> model.name, model.served_name
        ('8b', 'meta-llama/Llama-3.1-8B-Instruct')

    Raises:
        ConfigError: On an unusable name, or a field of another type or range.
    """

    name: str
    """Name in allocations, tables and prompts of the search agent."""
    parameters: float
    """Parameter count; the active parameters for mixtures of experts."""
    _: KW_ONLY
    served_name: str = ""
    """Name the endpoint knows the model by; `name` when empty."""
    base_url: str | None = None
    """OpenAI-compatible endpoint; the environment variable OPENAI_BASE_URL when None."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key. The key itself is never part of a value."""
    revision: str = ""
    """Which weights: part of the sample pool's key, so that retrained weights never reuse old samples."""
    usd_per_million_prompt_tokens: float | None = None
    usd_per_million_completion_tokens: float | None = None
    layers: int | None = None
    """Transformer layers; with `hidden_size`, what attention costs (`flops`, `kinetics`) and its cache needs."""
    hidden_size: int | None = None
    kv_width: int | None = None
    """Width of a token's keys in one layer (kv heads x head size), that of its values too; `hidden_size` when None."""
    weight_bits: int = 16
    """Bits per parameter of the served weights: 16 for bf16, 8 for fp8, 4 for AWQ."""
    prefill_tokens_per_s: float | None = None
    """Measured prompt throughput of the serving GPU, for the `gpu_seconds` cost model."""
    decode_tokens_per_s: float | None = None
    """Measured generation throughput of the serving GPU, for the `gpu_seconds` cost model."""

    def __post_init__(self) -> None:
        require(NAME, self.name, "a model's name")
        if not _MODEL_NAME.fullmatch(self.name):
            raise ConfigError(f"model name {self.name!r} must be non-empty, without spaces or any of = * ; ,")
        require_fields(self, f"model {self.name!r}", _MODEL_FIELDS)
        if not self.served_name:
            object.__setattr__(self, "served_name", self.name)


_MODEL_FIELDS = {
    "parameters": POSITIVE,
    **dict.fromkeys(("served_name", "api_key_env", "revision"), NAME),
    "base_url": TEXT.or_none,
    **dict.fromkeys(("usd_per_million_prompt_tokens", "usd_per_million_completion_tokens"), NOT_NEGATIVE.or_none),
    **dict.fromkeys(("layers", "hidden_size", "kv_width"), COUNT.or_none),
    "weight_bits": COUNT,
    **dict.fromkeys(("prefill_tokens_per_s", "decode_tokens_per_s"), POSITIVE.or_none),
}


@identified("sampling", version=1)
@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How one sample is drawn. The defaults are the paper's (temperature 0.9, section A.4).

    Examples:
        >>> at.Sampling(temperature=0.7, max_tokens=64, extra={"top_k": 40})
        Sampling(temperature=0.7, top_p=1.0, max_tokens=64, stop=(), extra={'top_k': 40})

    Raises:
        ConfigError: On a field of another type or range.
    """

    temperature: float = 0.9
    top_p: float = 1.0
    max_tokens: int = 512
    stop: Sequence[str] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the request body that a server understands (top_k, min_p, ...)."""

    def __post_init__(self) -> None:
        require_fields(self, "sampling", _SAMPLING_FIELDS)
        object.__setattr__(self, "stop", members(self.stop, TEXT, "sampling: stop"))


_SAMPLING_FIELDS = {"temperature": NOT_NEGATIVE, "top_p": FRACTION, "max_tokens": COUNT, "extra": MAPPING}

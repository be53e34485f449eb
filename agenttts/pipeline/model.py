"""Models, how they are sampled, and what they are asked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
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
    reject_duplicates,
    require,
    require_fields,
    require_variable,
)
from agenttts.errors import ConfigError
from agenttts.pipeline.fingerprint import identified

Message = dict[str, Any]
"""One chat message: {"role": ..., "content": ...}. The content is a text, or a list of parts of which some are images;
one of role "tool" is the result of a tool call (see `pipeline.tools`)."""

Example = Mapping[str, Any]
"""One labelled example: a mapping of fields, with an `id`."""

_HEADER = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.A)
_MODEL_NAME = re.compile(r"[^\s=*;,]+")
_NOT_A_MODELS = ("model", "messages", "n", "seed", "stream")
"""Fields of a request that are decided with each request."""
_OF_A_SECRET = re.compile(
    r"(^|[_-])(api[_-]?key|(access|auth|bearer)[_-]?token|authorization|password|secret)s?$", re.I
)


def require_no_secret(request: Any, where: str) -> None:
    """Make sure that no field of a request is a key: requests are kept in stores and shown.

    Raises:
        ConfigError: When one is, at whatever depth.
    """
    parts = request.items() if isinstance(request, Mapping) else enumerate(request if isinstance(request, list) else ())
    for name, value in parts:
        if isinstance(name, str) and isinstance(value, str) and _OF_A_SECRET.search(name):
            raise ConfigError(
                f"{where} has the field {name!r}, and what is asked is kept and shown: name the environment variable "
                "that holds the value with api_key_env or headers of the Model"
            )
        require_no_secret(value, where)


@identified(
    "model",
    version=1,
    unscored=(
        *(
            "parameters",
            "base_url",
            "api_key_env",
            "headers",
            "usd_per_million_prompt_tokens",
            "usd_per_million_completion_tokens",
            "usd_per_million_cached_prompt_tokens",
        ),
        *("layers", "hidden_size", "kv_width", "weight_bits", "prefill_tokens_per_s", "decode_tokens_per_s"),
        *("effort", "request"),  # by `_identity`, where there are any
    ),
)
@dataclass(frozen=True)
class Model:
    """A served LLM.

    Examples:
        >>> model = at.Model("8b", 8e9, served_name="meta-llama/Llama-3.1-8B-Instruct", base_url="http://localhost:8000/v1")
        >>> model.name, model.served_name
        ('8b', 'meta-llama/Llama-3.1-8B-Instruct')
        >>> [variant.name for variant in at.Model("gpt-5-mini").efforts("low", "high")]
        ['gpt-5-mini-low', 'gpt-5-mini-high']

    Raises:
        ConfigError: On an unusable name, or a field of another type or range.
    """

    name: str
    """Name in allocations, tables and prompts of the search agent."""
    parameters: float | None = None
    """Parameter count; the active parameters for mixtures of experts. None where nobody publishes it: prices, or the
    order in a subtask's list, then say which model is the larger one (see `Subtask.sizes`)."""
    _: KW_ONLY
    served_name: str = ""
    """Name the endpoint knows the model by; `name` when empty."""
    base_url: str | None = None
    """OpenAI-compatible endpoint; the environment variable OPENAI_BASE_URL when None."""
    api_key_env: str | None = None
    """Environment variable that holds the key; the key itself is never part of a value. When None, OPENAI_API_KEY is
    sent to the endpoint that it belongs to (that of OPENAI_BASE_URL, else OpenAI's own), and no key to any other."""
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Further headers of every request -> the environment variable that holds the value."""
    effort: str | None = None
    """How much a reasoning model is to think: `reasoning_effort` of its requests ("low", "high", ...)."""
    request: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Fields of its requests that replace those of its subtask's sampling, and make it a variant of what is served:
    {"temperature": 0.2}, {"thinking": {"type": "enabled", "budget_tokens": 2048}}; None leaves a field out."""
    revision: str = ""
    """Which weights: part of the sample pool's key, so that retrained weights never reuse old samples."""
    usd_per_million_prompt_tokens: float | None = None
    """USD; None where no price is known."""
    usd_per_million_completion_tokens: float | None = None
    """Those of reasoning included."""
    usd_per_million_cached_prompt_tokens: float | None = None
    """Of prompt tokens that the provider tells to have had in its cache; that of the others when None."""
    layers: int | None = None
    """Transformer layers; with `hidden_size`, what attention costs (`flops`, `kinetics`) and its cache needs."""
    hidden_size: int | None = None
    """Width of the residual stream; None where unknown."""
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
        where = f"model {self.name!r}"
        require_fields(self, where, _MODEL_FIELDS)
        if self.api_key_env is not None:
            require_variable(self.api_key_env, f"{where}: api_key_env")
        for header, variable in self.headers.items():
            if not (isinstance(header, str) and _HEADER.fullmatch(header)):
                raise ConfigError(f"{where}: {header!r} is no name of a header")
            require_variable(variable, f"{where}: header {header!r}")
        if odd := next((name for name in _NOT_A_MODELS if name in self.request), None):
            raise ConfigError(f"{where}: {odd!r} is decided with each request: leave it out of `request`")
        require_no_secret(self.request, f"{where}: request")
        if not self.served_name:
            object.__setattr__(self, "served_name", self.name)

    def _identity(self) -> dict[str, Any]:
        """What makes it a variant counts; a model without counts as it did before there were variants."""
        return {"variant": self.own_fields} if self.own_fields else {}

    @property
    def own_fields(self) -> dict[str, Any]:
        """The fields of its requests that are its own."""
        return {**({"reasoning_effort": self.effort} if self.effort is not None else {}), **self.request}

    def efforts(self, *efforts: str) -> tuple[Model, ...]:
        """One variant for each effort, named after it, to be listed from the least to the most.

        Examples:
            >>> low, high = at.Model("o4-mini").efforts("low", "high")
            >>> high.name, high.served_name, high.effort
            ('o4-mini-high', 'o4-mini', 'high')

        Raises:
            ConfigError: On no effort, or one that is given twice or is no name.
        """
        if not efforts:
            raise ConfigError(f"model {self.name!r}: efforts() takes at least one, as in efforts('low', 'high')")
        reject_duplicates(f"model {self.name!r} is given the effort", [str(effort) for effort in efforts])
        return tuple(replace(self, name=f"{self.name}-{effort}", effort=effort) for effort in efforts)

    def sampling(self, sampling: Sampling) -> Sampling:
        """How its samples are drawn where its subtask says this: its own fields replace those."""
        return replace(sampling, extra={**sampling.extra, **self.own_fields}) if self.own_fields else sampling


_PRICES = (
    "usd_per_million_prompt_tokens",
    "usd_per_million_completion_tokens",
    "usd_per_million_cached_prompt_tokens",
)
_MODEL_FIELDS = {
    "parameters": POSITIVE.or_none,
    **dict.fromkeys(("served_name", "revision"), NAME),
    **dict.fromkeys(("api_key_env", "effort"), NAME.or_none),
    "base_url": TEXT.or_none,
    **dict.fromkeys(("headers", "request"), MAPPING),
    **dict.fromkeys(_PRICES, NOT_NEGATIVE.or_none),
    **dict.fromkeys(("layers", "hidden_size", "kv_width"), COUNT.or_none),
    "weight_bits": COUNT,
    **dict.fromkeys(("prefill_tokens_per_s", "decode_tokens_per_s"), POSITIVE.or_none),
}


@identified("sampling", version=1)
@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How one sample is drawn. The defaults are the paper's (temperature 0.9, section A.4); None leaves a field out.

    What a model does not take (a reasoning model takes no temperature) is left out of its requests, and told.

    Examples:
        >>> at.Sampling(temperature=0.7, max_tokens=64, extra={"top_k": 40})
        Sampling(temperature=0.7, top_p=1.0, max_tokens=64, stop=(), extra={'top_k': 40})

    Raises:
        ConfigError: On a field of another type or range.
    """

    temperature: float | None = 0.9
    """0 asks for the likeliest answer; None leaves it to the server."""
    top_p: float | None = 1.0
    """Share of the probability that is drawn from; None leaves it to the server."""
    max_tokens: int | None = 512
    """Most tokens of one sample, those of its reasoning included; the server's own limit when None."""
    stop: Sequence[str] = ()
    """Texts that end a completion."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the request body that a server understands (top_k, min_p, ...)."""

    def __post_init__(self) -> None:
        require_fields(self, "sampling", _SAMPLING_FIELDS)
        object.__setattr__(self, "stop", members(self.stop, TEXT, "sampling: stop"))


_SAMPLING_FIELDS = {
    "temperature": NOT_NEGATIVE.or_none,
    "top_p": FRACTION.or_none,
    "max_tokens": COUNT.or_none,
    "extra": MAPPING,
}


def sizes_of(models: Sequence[Model]) -> dict[str, float]:
    """Model -> a figure that says which is the larger one, in declared order.

    It is the parameter count where that tells the models apart. Where one does not publish it, or several are variants
    of one served model, only their order counts: by parameters, else by price where all have one, else as they are
    listed. The figures are then powers of two.
    """
    counts = [model.parameters for model in models]
    served = [model.served_name for model in models]
    known = [count for count in counts if count is not None]
    if len(known) == len(counts) and len(set(served)) == len(served):
        return dict(zip((model.name for model in models), known, strict=True))
    prices = [model.usd_per_million_completion_tokens for model in models]
    figures = next((each for each in (counts, prices) if None not in each), [0.0] * len(counts))
    order = sorted(range(len(counts)), key=lambda place: (figures[place] or 0.0, place))
    return {model.name: 2.0 ** order.index(place) for place, model in enumerate(models)}

"""From measured runs of a server to the throughput that the `gpu_seconds` cost model needs.

A run that took `seconds` with `prompt_tokens` encoded and `completion_tokens` generated in a full batch is
seconds = prompt_tokens / prefill + completion_tokens / decode: runs of different mixtures give both by least squares.
They hold for that model, card, engine and number of requests at once, and no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from agenttts._util.stats import student_quantile
from agenttts.errors import ConfigError
from agenttts.pipeline import Model, Pipeline


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One run of one model, with its server kept busy."""

    prompt_tokens: float
    """Prompt tokens that were encoded: not those found in the server's prefix cache."""
    completion_tokens: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """What a served model does in a second."""

    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    prefill_error: float | None = None
    """Half a 95 % interval of the time that a prompt token takes, as a share of it; None where two runs gave it."""
    decode_error: float | None = None
    """The same of a generated token."""


def throughput(runs: Sequence[Measurement]) -> Throughput:
    """The throughput that explains the runs best, relative to how long each took.

    Raises:
        ConfigError: On fewer than two runs, or runs that do not tell prefill and decode apart.
    """
    tokens = np.array([[run.prompt_tokens, run.completion_tokens] for run in runs], dtype=float).reshape(-1, 2)
    seconds = np.array([run.seconds for run in runs], dtype=float)
    if len(runs) < 2 or not np.all(seconds > 0) or np.linalg.matrix_rank(tokens) < 2:
        raise ConfigError("a throughput needs at least two runs, whose shares of prompt and completion tokens differ")
    scaled = tokens / seconds[:, None]
    per_token, *_ = np.linalg.lstsq(scaled, np.ones(len(runs)), rcond=None)
    if min(per_token) <= 0:
        raise ConfigError("the runs contradict one another: more tokens took less time; measure longer ones")
    errors: list[float | None] = [None, None]
    if (freedom := len(runs) - 2) > 0:
        variance = float(((scaled @ per_token - 1) ** 2).sum()) / freedom
        deviations = np.sqrt(variance * np.diag(np.linalg.inv(scaled.T @ scaled)))
        errors = (student_quantile(freedom) * deviations / per_token).tolist()
    prefill, decode = (1 / per_token).tolist()
    return Throughput(
        prefill_tokens_per_s=prefill, decode_tokens_per_s=decode, prefill_error=errors[0], decode_error=errors[1]
    )


def with_throughput(pipeline: Pipeline, measured: Mapping[str, Throughput]) -> Pipeline:
    """A copy of the pipeline whose models declare their measured throughput, by name."""
    return pipeline.with_models(lambda model: _declared(model, measured.get(model.name)))


def _declared(model: Model, measured: Throughput | None) -> Model:
    if measured is None:
        return model
    prefill, decode = measured.prefill_tokens_per_s, measured.decode_tokens_per_s
    return replace(model, prefill_tokens_per_s=prefill, decode_tokens_per_s=decode)

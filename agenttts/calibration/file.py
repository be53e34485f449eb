"""The file of measured throughputs: `agenttts calibrate` writes it, `--throughput` reads it.

Per model, tokens per second of its server at several numbers of requests at once. The cost of a query counts every GPU
that a server is spread over (`gpus`); where servers were attached, the user corrects that number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from agenttts._util.files import write_whole
from agenttts._util.hints import program
from agenttts._util.yaml_file import Count, Positive, read_checked, written
from agenttts.calibration.measure import Measured
from agenttts.errors import ConfigError
from agenttts.pipeline import Pipeline
from agenttts.space.throughput import Throughput

_HEAD = """\
# Tokens per second of each model's server, by requests at once: what the cost gpu_seconds is priced by (--throughput).
# The errors are half a 95 % interval of the time per token, as a share of it. All this holds for these models on this
# machine and engine, at about the pipeline's lengths. gpus: how many GPUs the server is spread over.
"""


class _Batch(BaseModel):
    requests_at_once: Count
    prefill_tokens_per_s: Positive
    decode_tokens_per_s: Positive


class _ModelEntry(BaseModel):
    gpus: Count = 1
    measured: list[_Batch] = Field(min_length=1)


class _ThroughputFile(BaseModel):
    models: dict[str, _ModelEntry]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a search is priced by."""

    file: str
    requests_at_once: int
    """The measured number that is used."""
    at_most: int
    """How many requests the search has at once, at most."""
    throughputs: Mapping[str, Throughput]
    """Model -> tokens per second of GPU time, of all its GPUs together."""

    def __str__(self) -> str:
        return (
            f"{self.file}, as measured with {self.requests_at_once} requests at once (the search has at most "
            f"{self.at_most})"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data, kept with a study."""
        figures = {
            name: {"prefill_tokens_per_s": each.prefill_tokens_per_s, "decode_tokens_per_s": each.decode_tokens_per_s}
            for name, each in self.throughputs.items()
        }
        return {"source": str(self), "models": figures}


def write_throughput(path: Path, measured: Sequence[Measured], *, environment: str, command: str) -> None:
    """Write the file.

    Raises:
        ConfigError: When it cannot be written.
    """
    models: dict[str, dict[str, Any]] = {}
    for each in measured:
        row = {"requests_at_once": each.requests_at_once, "runs": each.runs, **_rounded(asdict(each.throughput))}
        models.setdefault(each.model, {"gpus": each.gpus, "measured": []})["measured"].append(row)
    about = {"environment": environment, "date": f"{datetime.now(UTC):%Y-%m-%d}", "command": command}
    text = _HEAD + written({**about, "models": models}, flow=None)
    write_whole(path, text)


def read_throughput(path: Path, pipeline: Pipeline, *, at_most: int) -> Calibration:
    """The throughput of every model of a pipeline at the nearest measured number of requests at or below `at_most`.

    Args:
        path: The file.
        pipeline: Whose models.
        at_most: How many requests are under way at once, at most.

    Raises:
        ConfigError: On a file that cannot be read or lacks a model, or was measured with more requests only.
    """
    where = f"throughput file {str(path)!r}"
    file = read_checked(path, _ThroughputFile, where, "agenttts calibrate")
    wanted = list(dict.fromkeys(model.name for model in pipeline.models))
    if missing := [name for name in wanted if name not in file.models]:
        raise ConfigError(
            f"{where} has no model {missing[0]!r}, it has {', '.join(file.models) or 'none'}: measure this pipeline's "
            f"with `{program()} calibrate`"
        )
    rows = {name: {row.requests_at_once: row for row in file.models[name].measured} for name in wanted}
    shared = set.intersection(*(set(each) for each in rows.values()))
    if not any(batch <= at_most for batch in shared):
        raise ConfigError(
            f"{where} has no number of requests at once, up to the {at_most} of this search, that all models were "
            f"measured with: measure them with `{program()} calibrate --batches {at_most}`"
        )
    batch = max(each for each in shared if each <= at_most)
    throughputs = {name: _per_gpu(rows[name][batch], file.models[name].gpus) for name in wanted}
    return Calibration(file=str(path), requests_at_once=batch, at_most=at_most, throughputs=throughputs)


def _per_gpu(row: _Batch, gpus: int) -> Throughput:
    return Throughput(
        prefill_tokens_per_s=row.prefill_tokens_per_s / gpus, decode_tokens_per_s=row.decode_tokens_per_s / gpus
    )


def _rounded(row: Mapping[str, float | None]) -> dict[str, float | None]:
    """To four digits: more would look surer than it is."""
    return {name: None if value is None else float(f"{value:.4g}") for name, value in row.items()}

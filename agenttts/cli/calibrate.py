"""Measuring throughput for the command line: from its options to `measure`, the table and the file."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agenttts.calibration.file import write_throughput
from agenttts.calibration.measure import Measured, measure
from agenttts.cli.console import command_line, open_console
from agenttts.cli.options import whole_numbers
from agenttts.cli.problem import parse_endpoints
from agenttts.environments import LiveEnvironment, environment
from agenttts.errors import ConfigError
from agenttts.execution.threads import run_to_end
from agenttts.pipeline import Pipeline
from agenttts.report.terminal.layout import Column, Listing
from agenttts.serving import Serving


def run_calibration(
    env: str,
    *,
    data: str | None,
    endpoints: Sequence[str],
    serving: Callable[[Pipeline], Serving] | None,
    batches: str,
    repeats: int,
    output: Path,
) -> list[Measured]:
    """Measure, telling each figure as it comes, and write the file: what is measured stays when a later run fails.

    Raises:
        ConfigError: On an environment without models to ask, or a file that cannot be written.
    """
    numbers = whole_numbers(batches, "--batches")
    found = environment(env, data=data, endpoints=parse_endpoints(endpoints), serving=serving)
    if not isinstance(found, LiveEnvironment):
        raise ConfigError(f"environment {found.name!r} asks no models: there is nothing to measure")
    if not output.parent.is_dir():
        raise ConfigError(f"cannot write {str(output)!r}: there is no folder {str(output.parent)!r}")
    console = open_console(stderr=True)

    measured: list[Measured] = []

    def keep(each: Measured) -> None:
        measured.append(each)
        write_throughput(output, measured, environment=env, command=command_line())
        console.print(f"{each.model}, {each.requests_at_once} at once: measured", soft_wrap=True)

    run_to_end(measure(found, numbers, repeats=repeats, on_measured=keep))
    console.print(f"wrote {output}, for --cost gpu_seconds --throughput {shlex.quote(str(output))}", soft_wrap=True)
    return measured


def measured_rows(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """The figures, a model and number of requests a row."""
    return [
        {
            "model": each.model,
            "gpus": each.gpus,
            "requests_at_once": each.requests_at_once,
            "runs": each.runs,
            **asdict(each.throughput),
        }
        for each in measured
    ]


def measured_table(measured: Sequence[Measured]) -> Listing:
    """The figures as a table, with how sure they are."""
    rates = [each.throughput for each in measured]
    columns = [
        Column(heading="model", cells=[each.model for each in measured]),
        Column(heading="GPUs", cells=[str(each.gpus) for each in measured], number=True, rank=1),
        Column(heading="requests at once", cells=[str(each.requests_at_once) for each in measured], number=True),
        Column(
            heading="prefill tokens/s",
            cells=[_rate(each.prefill_tokens_per_s, each.prefill_error) for each in rates],
            number=True,
        ),
        Column(
            heading="decode tokens/s",
            cells=[_rate(each.decode_tokens_per_s, each.decode_error) for each in rates],
            number=True,
        ),
        Column(heading="runs", cells=[str(each.runs) for each in measured], number=True, rank=2),
    ]
    note = "±: half a 95 % interval of the time per token, by least squares over the runs"
    return Listing(columns, notes=[note])


def _rate(tokens_per_s: float, error: float | None) -> str:
    spread = "" if error is None else f" ± {error:.0%}"
    return f"{tokens_per_s:,.0f}{spread}"

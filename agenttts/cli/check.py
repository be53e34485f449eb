"""One example through every model, for the command line: what was asked and said, and how long that is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from agenttts._util.numbers import amount, compact, counted
from agenttts._util.text import bounded, printable
from agenttts.environments.live import LiveEnvironment
from agenttts.environments.watched import Watched, watch_models
from agenttts.errors import ConfigError
from agenttts.execution.run import Tally
from agenttts.execution.threads import run_to_end
from agenttts.pipeline.tools import message_text
from agenttts.protocols import Environment

_MOST_SHOWN = 1200
"""Characters of a prompt or a reply."""
_FAR_OFF = 1.5
"""Times by which a declared length may miss the measured one before that is told."""
_TRIALS = 30


def run_check(found: Environment, example: str | None) -> list[Watched]:
    """Run an example, the first when None, through every model.

    Raises:
        ConfigError: On an environment that asks no models, or an example that it does not have.
    """
    if not isinstance(found, LiveEnvironment):
        raise ConfigError(f"environment {found.name!r} asks no models: there is nothing to check")
    chosen = found.examples[0] if example is None else example
    found.example(chosen)

    async def watched() -> list[Watched]:
        async with found as entered:
            return await watch_models(entered, chosen)

    return run_to_end(watched())


def check_rows(environment: Environment, runs: Sequence[Watched]) -> list[dict[str, Any]]:
    """A run a row, nothing left out."""
    return [
        {
            "allocation": run.allocation.as_dict(),
            "score": None if run.outcome is None else run.outcome.result.score,
            "error": run.error or None,
            "seconds": round(run.seconds, 3),
            "asked": [
                {
                    "stage": asked.subtask,
                    "model": asked.model,
                    "messages": list(asked.messages),
                    "replies": list(asked.replies),
                }
                for asked in run.asked
            ],
            "outputs": {name: repr(output) for name, output in run.outputs.items()},
            "lengths": _lengths(environment, run),
        }
        for run in runs
    ]


def _lengths(environment: Environment, run: Watched) -> dict[str, dict[str, float]]:
    """Subtask -> its declared and measured tokens; of those that were asked."""
    tallies = {} if run.outcome is None else run.outcome.tallies
    found = {}
    for subtask in environment.pipeline.subtasks:
        tally = tallies.get(subtask.name, Tally())
        pairing = subtask.pairing(run.allocation[subtask.name].pairing)
        declared = subtask.lengths(pairing.model, pairing.options)
        if tally.requests and tally.samples:
            found[subtask.name] = {
                "prompt_tokens": tally.prompt_tokens / tally.requests,
                "declared_prompt_tokens": declared[0],
                "completion_tokens": tally.completion_tokens / tally.samples,
                "declared_completion_tokens": declared[1],
            }
    return found


def check_lines(environment: Environment, runs: Sequence[Watched]) -> list[str]:
    """What a person reads of it."""
    lines = [line for run in runs for line in (*_run_lines(environment, run), "")]
    return [printable(line) for line in (*lines, *_estimate(environment, runs))]


def _run_lines(environment: Environment, run: Watched) -> Iterator[str]:
    lengths = _lengths(environment, run)
    yield f"== {run.allocation}"
    for asked in run.asked:
        for message in asked.messages:
            yield from _quoted(f"{asked.subtask}, {message['role']}", message_text(message))
        for reply in asked.replies:
            yield from _quoted(f"{asked.subtask}, {asked.model} says", reply)
    for name, output in run.outputs.items():
        yield f"{name}: parsed as {bounded(repr(output), _MOST_SHOWN)}"
    for name, each in lengths.items():
        parts = [_length(kind, each[f"{kind}_tokens"], each[f"declared_{kind}_tokens"])
                 for kind in ("prompt", "completion")]  # fmt: skip
        yield f"{name}: {'; '.join(parts)}"
    score = "no score" if run.outcome is None else f"score {run.outcome.result.score:.3f}"
    yield f"{score}{f', failed: {run.error}' if run.error else ''}, in {run.seconds:.1f} s"


def _quoted(who: str, text: str) -> Iterator[str]:
    yield f"{who}:"
    yield from (f"  | {line}" for line in bounded(text, _MOST_SHOWN).splitlines() or [""])


def _length(kind: str, measured: float, declared: float) -> str:
    off = max(measured, 1.0) / max(declared, 1.0)
    far = "" if 1 / _FAR_OFF <= off <= _FAR_OFF else f", off {max(off, 1 / off):.1f} times: declare what is typical"
    return f"{kind} of {amount(measured)} tokens, declared {amount(declared)}{far}"


def _estimate(environment: Environment, runs: Sequence[Watched]) -> list[str]:
    """What a search would take, as far as one example tells."""
    answered = [run.outcome.spend for run in runs if run.outcome is not None and not run.error]
    if not answered:
        return ["No run came to an end, so nothing can be said of what a search takes."]
    examples = len(environment.examples)
    tokens = sum(spend.tokens for spend in answered) / len(answered) * examples * _TRIALS
    usd = sum(spend.usd for spend in answered) / len(answered) * examples * _TRIALS
    priced = f" (${amount(usd)})" if usd else ""
    return [
        f"A search of {_TRIALS} trials on {counted(examples, 'example')} takes up to {compact(tokens)} tokens{priced} "
        "with one sample each; more samples take more, racing and reuse save some."
    ]

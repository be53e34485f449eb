"""A metric of the user's, asked: what it is given, what it may answer, and the few calls that try it before a search.

A metric is given copies, so that whatever it does to an example or an output, the next one finds them whole. It
may be a coroutine function: it is awaited.
"""

from __future__ import annotations

import inspect
import itertools
import math
import pickle
from collections.abc import Awaitable, Iterator, Sequence
from copy import deepcopy
from decimal import Decimal
from typing import Any

from agenttts._util.checks import is_async
from agenttts.errors import ConfigError
from agenttts.pipeline import AsyncMetric, Example, Metric, Pipeline

_SHOWN = 60
_PROBES = 5
_ROUNDING = 1e-9
"""What a sum of parts may be over 1, or under 0."""
_LABELS = ("gold", "answer", "answers", "label", "labels", "target", "expected", "solution", "reference", "output")


async def checked_score(metric: Metric | AsyncMetric, output: Any, example: Example, where: str) -> float:
    """The metric's value.

    Raises:
        ConfigError: When it is not a number in [0, 1]: every later comparison would be wrong.
    """
    given = copied(output)
    value = metric(given, copied(example))
    return _in_range(await value if inspect.isawaitable(value) else value, output, example, where)


def copied(value: Any) -> Any:
    """A copy that shares nothing with the value; the value itself where it cannot be copied."""
    for copy in (_pickled, deepcopy):
        try:
            return copy(value)
        except Exception:  # locks, sockets, whatever a user's own class raises
            continue
    return value


def _pickled(value: Any) -> Any:
    """As `deepcopy`, in a fifth of its time; it cannot copy quite as much."""
    return pickle.loads(pickle.dumps(value))


def probe_metrics(pipeline: Pipeline, rows: Sequence[Example]) -> bool:
    """Score plausible outputs of a few examples: a metric on another scale shows before anything is paid for.

    Each metric is called five times at most. One that is a coroutine function is not called: an LLM may be behind it.
    Of any other function it cannot be known whether it asks the network.

    Returns:
        Whether every metric is a plain function, none to be awaited.

    Raises:
        ConfigError: When one leaves [0, 1], or finds a fault in the examples.
    """
    metrics = [(pipeline.metric, f"pipeline {pipeline.name!r}")]
    metrics += [(s.metric, f"subtask {s.name!r}") for s in pipeline.subtasks if s.metric is not None]
    return all([_is_plain(metric, rows, where) for metric, where in metrics])


def _is_plain(metric: Metric | AsyncMetric, rows: Sequence[Example], where: str) -> bool:
    return not is_async(metric) and all(
        _probe(metric, output, example, where) for output, example in itertools.islice(_plausible(rows), _PROBES)
    )


def _probe(metric: Metric | AsyncMetric, output: Any, example: Example, where: str) -> bool:
    """Whether this metric's value is there at once."""
    try:
        value = metric(copied(output), copied(example))
        if inspect.isawaitable(value):
            _discard(value)
            return False
        _in_range(value, output, example, where)
    except (ConfigError, KeyboardInterrupt):
        raise
    except BaseException:
        pass  # a metric may rightly expect another type of output; that shows with the first trial
    return True


def _discard(value: Awaitable[Any]) -> None:
    close = getattr(value, "close", None) or getattr(value, "cancel", None)
    if close is not None:
        close()


def _plausible(rows: Sequence[Example]) -> Iterator[tuple[Any, Example]]:
    """Outputs with their examples. A right one is usually among the example's own fields, and not its id."""
    for number, example in enumerate(rows):
        fields = sorted((name for name in example if name != "id"), key=_is_no_label)
        for name in fields[: _PROBES - 2]:
            if isinstance(example[name], str | int | float | list | tuple):
                yield example[name], example
        if number == 0:
            yield from (("", example), ([], example))


def _is_no_label(field: Any) -> bool:
    return str(field).lower() not in _LABELS


def _in_range(value: Any, output: Any, example: Example, where: str) -> float:
    score = _number(value)
    if score is not None and -_ROUNDING <= score <= 1 + _ROUNDING:
        return min(max(score, 0.0), 1.0)
    given = f"for the output {shown(output)[:_SHOWN]} of example {shown(example.get('id'))[:_SHOWN]}"
    found, what = (shown(value)[:_SHOWN], "a number") if score is None else (repr(score), "in [0, 1]")
    raise ConfigError(f"the metric of {where} gave {found} {given}: it must be {what}")


def _number(value: Any) -> float | None:
    """A number of any library; None for what is none."""
    if not isinstance(value, Decimal) and not hasattr(value, "__float__") and not hasattr(value, "__index__"):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except Exception:  # an array of several, a tensor elsewhere, a signalling NaN
        return None


def shown(value: Any) -> str:
    """A value of the user's in words, whatever it is."""
    try:
        return repr(value)
    except Exception:  # the user's own class, or an int of 4,300 digits
        return f"a {type(value).__name__}"

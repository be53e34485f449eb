"""The formula's parameters by name, and what earlier studies make of them.

What holds for other models, too, is carried over: the slope by size, per absolute size; how much samples lift and how
soon; what an operator, an option or one model by name changes; how much of the score a failure costs. How hard a task
is stays its own, and so does how a curve bends: a study says little of it, and the little of many added up to what was
not so (benchmarks/LOG.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from agenttts.pipeline.pairing import parted, read_options
from agenttts.posterior.formula import COMMON, OF_A_WAY, SLOPE, SLOPE_SD
from agenttts.study.experience import Experience, Lesson

Floats = NDArray[np.float64]
Sizes = Mapping[str, Mapping[str, float]]

SIZE = "size"
OWN = ("level", "late", "fall", "knee")
"""Parameters that are a study's own."""
_SPAN = np.log(24.0)
"""Log size from the smallest model to the largest for which slopes by size are kept."""


def parameter_names(pairings: Sequence[str]) -> list[str]:
    """Names of a subtask's parameters, in the order in which the formula has them.

    Args:
        pairings: Names of its pairings (`Pairing.name`).
    """
    models, operators, texts = zip(*map(parted, pairings), strict=True)
    settings = [read_options(text) for text in texts]
    names = [*COMMON, *(f"model {name}" for name in dict.fromkeys(models))]
    names += _ways("operator", operators)
    for option in dict.fromkeys(option for each in settings for option in each):
        names += _ways(option, [each.get(option, "") for each in settings])
    return names


def _ways(question: str, answers: Sequence[str]) -> Iterator[str]:
    first, *others = dict.fromkeys(answers)
    for other in others:
        yield from (f"{question} {other} for {first}: {each}" for each in OF_A_WAY)


def beliefs(sizes: Sizes, experience: Experience | None) -> tuple[Floats, Floats]:
    """Mean and standard deviation of every parameter of the formula; without experience the formula's own prior.

    Args:
        sizes: Subtask -> pairing -> parameter count of its model (`Pipeline.sizes`).
        experience: What earlier studies taught.
    """
    found = [
        _believed(experience.lesson(stage, name) if experience else None, name, row)
        for stage, row in sizes.items()
        for name in parameter_names(list(row))
    ]
    mean, sd = zip(*found, strict=True)
    return np.array(mean), np.array(sd)


def _believed(lesson: Lesson | None, name: str, row: Mapping[str, float]) -> Lesson:
    if lesson is None or (name == SIZE and not spans(row)):
        return Lesson(0.0, 1.0)
    return stretched(lesson, spans(row)) if name == SIZE else lesson


def stretched(lesson: Lesson, factor: float) -> Lesson:
    """The slope from a subtask's smallest model to its largest, where these are `factor` times as far apart."""
    return Lesson(((SLOPE + SLOPE_SD * lesson.mean) * factor - SLOPE) / SLOPE_SD, lesson.sd * factor)


def spans(row: Mapping[str, float]) -> float:
    """Log size from a subtask's smallest model to its largest, in units of the span that slopes are kept for."""
    return float(np.log(max(row.values()) / min(row.values())) / _SPAN)

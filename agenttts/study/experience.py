"""What earlier studies taught, as a study keeps it: frozen when it begins, so that a resumed search believes the same.

A lesson is of one parameter of `posterior.formula.Formula`, of one role: a stage of that name, or any stage. The slope
by size is per absolute size, so that it holds for other models, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

ANY_STAGE = ""
"""The role of a stage that no earlier study has by its name, or not with this parameter."""


class Lesson(NamedTuple):
    """What earlier studies make of one parameter of a new one: a normal distribution, in the formula's coordinates."""

    mean: float
    """What is expected of it."""
    sd: float
    """How surely: its standard deviation."""


@dataclass(frozen=True, kw_only=True)
class Experience:
    """What some studies taught. Two are equal where they are of the same studies: so a study is identified.

    Examples:
        >>> from agenttts.study.experience import Experience, Lesson
        >>> experience = Experience(studies=("old",), lessons={"answer": {"size": Lesson(1.5, 0.4)}})
        >>> experience.lesson("answer", "size"), experience.lesson("answer", "unheard of")
        (Lesson(mean=1.5, sd=0.4), None)
    """

    studies: tuple[str, ...]
    """Their names, sorted."""
    lessons: Mapping[str, Mapping[str, Lesson]] = field(default_factory=dict, compare=False)
    """Name of a stage, or `ANY_STAGE` -> parameter -> what they taught."""

    def lesson(self, stage: str, parameter: str) -> Lesson | None:
        """Of a parameter of a stage; None where no study has it, and the formula's own prior stays."""
        return self.lessons.get(stage, {}).get(parameter) or self.lessons.get(ANY_STAGE, {}).get(parameter)

    def __str__(self) -> str:
        return ", ".join(self.studies)

"""How good the virtual models are at question answering, calibrated to what the paper and its authors published.

Whether something succeeds is a threshold: skill - difficulty + luck > 0, with a difficulty fixed by the question and
the luck of a sample, which grows with the temperature. Skill grows with the logarithm of the model's size.

    retrieve   every needed candidate is found or missed, and each of four tempting ones kept or left out, nearly the
               same in every sample (little luck): F1 grows with size and hardly with samples
    answer     skill falls with what retrieval missed, for small models more, and with what it kept in vain; much luck,
               so samples help until their shares settle
    fuse       picks a candidate answer by how many samples gave it, a right one more readily the larger the model;
               loses the thread with a chance that grows with the number of samples and falls with size

What each constant is calibrated to (shares of right final answers by exact match; x is a number of samples), and what
the simulation gives on 400 questions, with a standard error of 0.02. `tests/simulation/test_calibration.py`
measures it.

CALIBRATION_TABLE
The figures of CWQ and WebQSP are flat: whoever retrieves, about the same is answered. No retrieval F1 was published for
them; the constants assume 0.5 and 0.7. Nothing here was measured on a model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from agenttts.pipeline import Model

_SMALLEST = 3e9


@dataclass(frozen=True)
class Ability:
    """A skill that grows with size: `base` at 3B, `per_decade` more for ten times the parameters."""

    base: float
    per_decade: float

    def of(self, model: Model) -> float:
        """The model's skill."""
        return self.base + self.per_decade * decades(model)


def decades(model: Model) -> float:
    """How many times ten the model is larger than 3B."""
    return math.log10(model.parameters / _SMALLEST)


@dataclass(frozen=True, kw_only=True)
class QaSkill:
    """The skills of one question-answering task."""

    find: Ability
    """A needed candidate is kept."""
    resist: Ability
    """A tempting candidate is left out."""
    answer: Ability
    """The answer is right, when everything needed is there and nothing else."""
    unsupported: float
    """What a 3B model's skill loses when nothing needed is there."""
    knowledge: float
    """The share of that loss that ten times the parameters make up for."""
    clutter: float
    """What each candidate kept in vain costs."""
    luck: float
    """Of a sample of an answer, at temperature 0.9; difficulties have a standard deviation of 1."""

    def answering(self, model: Model, *, support: float, strays: int) -> float:
        """The skill of a model that sees this share of what is needed, and so many strays.

        Args:
            model: Who answers.
            support: Share of the needed candidates that it sees, from 0 to 1.
            strays: Other candidates that it sees.
        """
        loss = self.unsupported * max(0.0, 1 - self.knowledge * decades(model))
        return self.answer.of(model) - loss * (1 - support) ** 2 - self.clutter * strays


SKILLS = {
    "2wikimultihopqa": QaSkill(
        find=Ability(-1.2, 1.6), resist=Ability(0.2, 0.55), answer=Ability(0.78, -0.1),
        unsupported=3.0, knowledge=0.45, clutter=0.10, luck=0.75,
    ),
    "hotpotqa": QaSkill(
        find=Ability(-1.2, 1.6), resist=Ability(0.2, 0.55), answer=Ability(0.78, -0.1),
        unsupported=3.0, knowledge=0.45, clutter=0.10, luck=0.60,
    ),
    "cwq": QaSkill(
        find=Ability(-0.4, 0.8), resist=Ability(0.1, 0.6), answer=Ability(0.57, 0.0),
        unsupported=0.15, knowledge=0.5, clutter=0.02, luck=0.40,
    ),
    "webqsp": QaSkill(
        find=Ability(-0.4, 0.8), resist=Ability(0.1, 0.6), answer=Ability(1.12, 0.0),
        unsupported=0.15, knowledge=0.5, clutter=0.02, luck=0.40,
    ),
}  # fmt: skip

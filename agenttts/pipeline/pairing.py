"""A model and an operator: what a search chooses for a subtask, beside the number of samples."""

from __future__ import annotations

from typing import NamedTuple

from agenttts.pipeline.model import Model
from agenttts.pipeline.operator import Operator


class Pairing(NamedTuple):
    """A model of a subtask and the operator that puts its samples to use: what a search chooses beside their number.

    Examples:
        >>> answer = at.Subtask("answer", (small,), "...", operators=(at.operators.Vote(), at.operators.Revise()))
        >>> [pairing.name for pairing in answer.pairings]
        ['small', 'small by revise(width=1)']
    """

    model: Model
    operator: Operator
    operator_name: str
    """As in allocations: empty for the subtask's first operator."""

    @property
    def name(self) -> str:
        """As in tables and statistics: the model's name, and the operator's where it is not the first."""
        return paired(self.model.name, self.operator_name)

    @property
    def least_samples(self) -> int:
        """Fewer samples than this are another operator's business."""
        return self.operator.least_samples if self.operator_name else 1


def paired(model: str, operator: str) -> str:
    """The name of a pairing; neither part holds a space."""
    return f"{model} by {operator}" if operator else model


def parted(pairing: str) -> tuple[str, str]:
    """The model and the operator that `paired` has joined."""
    model, _, operator = pairing.partition(" by ")
    return model, operator

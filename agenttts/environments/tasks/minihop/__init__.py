"""minihop: a two-stage question-answering world with tiny real models of its own.

The world is synthetic (controlled English, generated from a seed), the models were trained for it by the scripts
in the repository's `zoo/`, and what they do is measured, not scripted. See MODEL_CARD.md beside this file.
"""

from agenttts.environments.tasks.minihop.expected import ExpectedScore, expected_score
from agenttts.environments.tasks.minihop.pipeline import (
    MODELS,
    VERIFIER,
    minihop,
    minihop_operators,
    minihop_operators_recorded,
    minihop_recorded,
    minihop_vote,
    pipeline,
    with_operators,
)

__all__ = [
    "MODELS",
    "VERIFIER",
    "ExpectedScore",
    "expected_score",
    "minihop",
    "minihop_operators",
    "minihop_operators_recorded",
    "minihop_recorded",
    "minihop_vote",
    "pipeline",
    "with_operators",
]

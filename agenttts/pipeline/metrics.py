"""Metrics: (output, example) -> score in [0, 1]."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable
from typing import Any

from agenttts.pipeline.fingerprint import identified, identified_factory
from agenttts.pipeline.model import Example
from agenttts.pipeline.subtask import Metric

__all__ = ["equal", "exact_match", "normalise", "set_f1", "token_f1"]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@identified("metrics.normalise", version=1)
def normalise(answer: str) -> str:
    """The normalisation of SQuAD and HotpotQA: lower case, no punctuation, no articles, single spaces.

    Examples:
        >>> at.metrics.normalise("The  Beatles!")
        'beatles'
    """
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


@identified_factory("metrics.equal", version=1)
def equal(field: str) -> Metric:
    """1 when the output equals the example's field, else 0.

    Examples:
        >>> at.metrics.equal("ids")((1, 2), {"ids": (1, 2)})
        1.0
    """
    return lambda output, example: float(output == example[field])


@identified_factory("metrics.exact_match", version=1)
def exact_match(field: str) -> Metric:
    """1 when the normalised output equals a gold answer (one, or a list of accepted ones), else 0.

    Examples:
        >>> at.metrics.exact_match("gold")("The Beatles.", {"gold": ["Beatles", "Fab Four"]})
        1.0
    """

    def score(output: Any, example: Example) -> float:
        return float(normalise(str(output)) in {normalise(gold) for gold in _golds(example[field])})

    return score


@identified_factory("metrics.token_f1", version=1)
def token_f1(field: str) -> Metric:
    """Token F1 of SQuAD and HotpotQA against the best of the gold answers.

    Examples:
        >>> at.metrics.token_f1("gold")("it is Oslo", {"gold": "Oslo"})
        0.5
    """

    def score(output: Any, example: Example) -> float:
        return max(_token_f1(normalise(str(output)), normalise(gold)) for gold in _golds(example[field]))

    return score


@identified_factory("metrics.set_f1", version=1)
def set_f1(field: str, *, both_empty: float = 1.0) -> Metric:
    """F1 of the output as a set against the example's field as a set.

    Examples:
        >>> at.metrics.set_f1("gold")((1, 2), {"gold": (2, 3)})
        0.5

    Args:
        field: The gold set.
        both_empty: The score where there was nothing to find and nothing was found: F1 itself is undefined there.
    """

    def score(output: Any, example: Example) -> float:
        found, gold = set(output), set(example[field])
        if not found and not gold:
            return both_empty
        return 2 * len(found & gold) / (len(found) + len(gold))

    return score


def _golds(gold: Any) -> Iterable[str]:
    return [str(each) for each in gold] if isinstance(gold, list | tuple) else [str(gold)]


def _token_f1(predicted: str, gold: str) -> float:
    if predicted != gold and {predicted, gold} & {"yes", "no", "noanswer"}:
        return 0.0
    common = sum((Counter(predicted.split()) & Counter(gold.split())).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(predicted.split()), common / len(gold.split())
    return 2 * precision * recall / (precision + recall)

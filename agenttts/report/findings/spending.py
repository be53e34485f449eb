"""What a study's prices are, how costs are shown, what its trials measured of them, and how long they ran."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agenttts._util.numbers import Scale
from agenttts.db import Study
from agenttts.space.cost import cost_model
from agenttts.space.prices import PriceList, read_prices
from agenttts.study.lengths import misdeclared_in_words, over_budget_in_words
from agenttts.study.trial import Trial


def wall_seconds(trials: Iterable[Trial]) -> float:
    """Seconds during which at least one of the trials ran: parallel ones are not counted twice."""
    spans = sorted((t.created.timestamp() - t.evaluation.spend.seconds, t.created.timestamp()) for t in trials)
    total = until = 0.0
    for start, end in spans:
        total += max(end - max(start, until), 0.0)
        until = max(until, end)
    return total


def study_scale(study: Study) -> Scale:
    """How the costs of a study are shown: all of them on one scale.

    Examples:
        >>> from agenttts import report
        >>> report.study_scale(study).show(272.0)
        '272 MFLOP'
    """
    return cost_model(study.spec.cost_model).scale(study.spec.budget)


def study_prices(study: Study) -> PriceList:
    """What each model costs at each subtask; empty for a study begun before prices were kept."""
    return read_prices(study.details.get("prices") or {})


def cost_notes(study: Study, trials: Sequence[Trial]) -> list[str]:
    """Which trials turned out to be over the budget, and which declared lengths are far off, a sentence each.

    Examples:
        >>> from agenttts import report
        >>> report.cost_notes(study, store.archive(study).trials)[0]
        'find with large: declared 10 prompt tokens and 5 per sample, measured 3 and 1'
    """
    over = over_budget_in_words(trials, study.spec.budget, cost_model(study.spec.cost_model).unit)
    simulated = str(study.details.get("recorded") or "").startswith("simulated")
    return over + ([] if simulated else misdeclared_in_words(study.details.get("lengths") or {}, trials))

"""The frontier of a study, from what is in the store."""

from __future__ import annotations

from collections.abc import Sequence

from agenttts.db import Store, Study
from agenttts.errors import ConfigError
from agenttts.posterior.frontier import Frontier, frontier


def study_frontier(store: Store, study: Study, budgets: Sequence[float] = ()) -> Frontier:
    """The frontier of a study from what is in the store; nothing is paid for.

    Examples:
        >>> from agenttts import report
        >>> frontier = report.study_frontier(store, study, budgets=[200, 320])
        >>> [(point.budget, str(point.trial.allocation)) for point in frontier.points]
        [(200, 'find: small x4, answer: small x5'), (320, 'find: small x4, answer: small x5')]

    Args:
        store: Holds the study.
        study: Which study, searched under one budget or several.
        budgets: Ascending; those of the study when empty.

    Raises:
        ConfigError: When the study has no finished trial.
    """
    archive = store.archive(study)
    if not archive.trials:
        raise ConfigError(f"study {study.name!r} has no finished trial yet")
    wanted = budgets or study.spec.budgets or (study.spec.budget,)
    found = frontier(study.spec.sizes, archive.trials, wanted, archive.untried, experience=archive.experience)
    keys = {point.trial.allocation.key: point.trial.allocation for point in found.points}
    checks = {key: store.validation(study, allocation) for key, allocation in keys.items()}
    return found.checked({key: check for key, check in checks.items() if check is not None})

"""A study as an Optuna study, so that optuna-dashboard and Optuna's own plots show it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from agenttts.db import Store, Study
from agenttts.errors import ConfigError
from agenttts.llm.endpoint import shown_url
from agenttts.study.trial import Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

_OURS = "agenttts"


def export_to_optuna(store: Store, study: Study, url: str) -> int:
    """Write a study into an Optuna storage under its own name, in place of an earlier export; how many trials it has.

    Parameters are `<stage>.model` and `<stage>.samples`, the value is the observed score; cost, intervals, the
    held-out score, the searcher and its rationale are user attributes.

    Examples:
        >>> from agenttts.tracking import export_to_optuna
        >>> export_to_optuna(store, study, "sqlite:///optuna.db")
        8

    Args:
        store: Holds the study.
        study: Which study.
        url: A storage as Optuna takes it, such as sqlite:///optuna.db.

    Raises:
        ConfigError: When the study has no finished trial, the storage cannot be opened, or it has a study of this name
            that is no export.
    """
    import optuna

    trials = store.archive(study).trials
    if not trials:
        raise ConfigError(f"study {study.name!r} has no finished trial yet")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = optuna.storages.get_storage(url)
    except Exception as error:  # SQLAlchemy and its drivers raise what they like
        raise ConfigError(f"{shown_url(url)!r} is no storage that Optuna can open: {type(error).__name__}") from error
    if study.name in {each.study_name for each in optuna.get_all_study_summaries(storage)}:
        _remove(study.name, storage)
    found = optuna.create_study(storage=storage, study_name=study.name, direction="maximize")
    for name, value in {_OURS: study.name, "budget": study.spec.budget, "cost_model": study.spec.cost_model}.items():
        found.set_user_attr(name, value)
    distributions = _distributions(study, trials)
    found.add_trials([_frozen(store, study, trial, distributions) for trial in trials])
    return len(trials)


def _remove(name: str, storage: Any) -> None:
    import optuna

    if _OURS not in optuna.load_study(study_name=name, storage=storage).user_attrs:
        raise ConfigError(f"that storage has a study {name!r} which agenttts did not export: name another storage")
    optuna.delete_study(study_name=name, storage=storage)


def _distributions(study: Study, trials: tuple[Trial, ...]) -> dict[str, BaseDistribution]:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    found: dict[str, BaseDistribution] = {}
    for stage, models in study.spec.sizes.items():
        most = max(trial.allocation[stage].samples for trial in trials)
        found[f"{stage}.model"] = CategoricalDistribution(list(models))
        found[f"{stage}.samples"] = IntDistribution(1, most, log=most > 1)
    return found


def _frozen(store: Store, study: Study, trial: Trial, distributions: dict[str, BaseDistribution]) -> FrozenTrial:
    import optuna

    params: dict[str, Any] = {}
    for stage, choice in trial.allocation.items():
        params |= {f"{stage}.model": choice.pairing, f"{stage}.samples": choice.samples}
    check = store.validation(study, trial.allocation)
    told = {
        "trial": trial.number,
        "cost": trial.cost,
        "interval": list(trial.evaluation.interval),
        "examples": len(trial.evaluation.results),
        "failures": trial.evaluation.failures,
        "held_out": None if check is None else check.score,
        "searcher": trial.searcher,
        "rationale": trial.rationale,
        "recorded": study.details.get("recorded", ""),
    }
    frozen = optuna.trial.create_trial(
        params=params, distributions=distributions, value=trial.evaluation.score, user_attrs=told
    )
    frozen.datetime_complete = trial.created.replace(tzinfo=None)
    frozen.datetime_start = frozen.datetime_complete - timedelta(seconds=trial.evaluation.spend.seconds)
    return frozen

"""Which earlier studies a search learns from, and what they taught, frozen when its study begins."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from agenttts.db import Store, Study
from agenttts.errors import ConfigError
from agenttts.posterior.experience import LEAST_TRIALS, learned
from agenttts.study.experience import Experience
from agenttts.study.trial import Trial

_log = logging.getLogger(__name__)
ALL = "all"
"""Names every other study of the store that taught something."""


def experience_of(
    names: Sequence[str] | Experience,
    store: Store,
    study: str,
    *,
    fitted: bool = True,
    beside: Collection[str] = (),
) -> Experience | None:
    """What a study begins with: what it has kept, or what the studies of these names teach now; None without names.

    Args:
        names: Of studies of the store, or `ALL` alone, or what was found by them before.
        store: Holds them.
        study: Name of the study that begins or goes on.
        fitted: Whether anything is to be learned from them by the formula: not for a method that reads their trials.
        beside: Names of studies that it is compared with: `ALL` leaves them out.

    Raises:
        ConfigError: When a study is not there, is the one that begins, or has too few trials.
    """
    if not names:
        return None
    known = {each.name: each for each in store.studies()}
    kept = known[study].spec.experience if study in known else None
    if isinstance(names, Experience):
        return kept if kept == names else names
    if kept is not None and (list(names) == [ALL] or kept.studies == tuple(sorted(set(names)))):
        return kept
    least = LEAST_TRIALS if fitted else 1
    every = list(names) == [ALL]
    others = [each for name, each in known.items() if name not in {study, *beside}]
    chosen = _others(others, store, least) if every else _named(names, store, study, least)
    if not fitted:
        return Experience(studies=tuple(sorted(chosen)))
    return learned({name: (known[name].spec.sizes, trials) for name, trials in chosen.items()})


def _named(names: Sequence[str], store: Store, study: str, least: int) -> dict[str, Sequence[Trial]]:
    """Name of each study -> its trials."""
    if study in names:
        raise ConfigError(f"study {study!r} cannot be its own experience: leave it out of --experience")
    if ALL in names:
        raise ConfigError(f"the experience is {ALL!r} and {len(names) - 1} more: give {ALL!r} alone, or the names")
    chosen = {name: _answered(store, store.study(name)) for name in dict.fromkeys(names)}
    for name, trials in chosen.items():
        if len(trials) < least:
            raise ConfigError(
                f"study {name!r} has {len(trials)} trials, too few to be experience: name one of at least {least}"
            )
    return chosen


def _others(studies: Sequence[Study], store: Store, least: int) -> dict[str, Sequence[Trial]]:
    """Name of every study of these that has enough trials -> these; the others are told."""
    others = {each.name: _answered(store, each) for each in studies}
    chosen = {name: trials for name, trials in others.items() if len(trials) >= least}
    if not chosen:
        raise ConfigError(
            f"no other study of {store.location} has the {least} trials that experience takes: leave out "
            f"--experience {ALL}"
        )
    if skipped := [name for name in others if name not in chosen]:
        _log.warning(
            "%d studies were left out of the experience, as they have fewer than %d trials: %s",
            len(skipped),
            least,
            ", ".join(skipped),
        )
    return chosen


def _answered(store: Store, study: Study) -> Sequence[Trial]:
    return [trial for trial in store.archive(study).trials if not trial.evaluation.refused]

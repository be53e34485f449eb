"""What identifies a study, and what its samples are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from agenttts.pipeline.fingerprint import SCHEME


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """What defines a study; running a search with the same spec again resumes it."""

    environment: str
    """How the user named the environment."""
    pipeline: str
    """The pipeline's name."""
    sizes: dict[str, dict[str, float]]
    """Subtask -> candidate model -> parameter count, in declared order."""
    fingerprint: str
    """The environment's fingerprint: changes whenever scores could."""
    cost_model: str
    budget: float
    pricing: str
    """Hash of what the cost model makes of every model: changes with token lengths, prices and throughputs."""
    method: str
    seed: int
    examples: int
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """Part of the environment (in words) -> its fingerprint; none where the environment, or the agenttts that began
    the study, does not tell parts apart."""
    budgets: tuple[float, ...] = ()
    """Every budget of a search that serves several, ascending, `budget` the last; empty where there is one."""

    def differences(self, other: StudySpec) -> list[str]:
        """In words, what differs."""
        in_words = {"sizes": _sizes_differ, "fingerprint": _scores_differ, "pricing": _pricing_differs}
        found = []
        for name in (each.name for each in fields(self) if each.name != "fingerprints"):
            was, now = getattr(self, name), getattr(other, name)
            if was != now:
                found.append(in_words[name](self, other) if name in in_words else f"{name} is {now!r}, was {was!r}")
        return found


def bought(label: str) -> str:
    """What became of tokens, in a word, for an environment with this label (`recorded`)."""
    if label.startswith("simulated"):
        return "simulated"
    return "replayed" if label else "bought"


def _sizes_differ(was: StudySpec, now: StudySpec) -> str:
    """Which subtask has other models than it had."""
    changes = []
    for name in {**was.sizes, **now.sizes}:
        before, after = was.sizes.get(name), now.sizes.get(name)
        if before is None or after is None:
            changes.append(f"subtask {name!r} is {'new' if before is None else 'gone'}")
        elif before != after:
            changes.append(f"the models of subtask {name!r} are {_models(after)}, were {_models(before)}")
    return ", ".join(changes)


def _models(sizes: Mapping[str, float]) -> str:
    return " and ".join(f"{model} ({parameters:g} parameters)" for model, parameters in sizes.items())


def _scores_differ(was: StudySpec, now: StudySpec) -> str:
    """Which parts of the environment are not what they were."""
    if not (was.fingerprints and now.fingerprints):
        return "the pipeline or its examples changed, or the study was begun by an agenttts that hashed them otherwise"
    scheme = SCHEME[0]
    if was.fingerprints.get(scheme) != now.fingerprints.get(scheme):
        return "it was begun by another version of agenttts, which told parts of a pipeline apart in another way"
    names = {**was.fingerprints, **now.fingerprints}
    changed = [name for name in names if was.fingerprints.get(name) != now.fingerprints.get(name)]
    return f"{', '.join(changed) or 'the environment'} changed"


def _pricing_differs(was: StudySpec, now: StudySpec) -> str:
    return "token lengths, prices or throughputs changed, and so did what an allocation costs"

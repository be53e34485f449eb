"""What identifies a study, and what its samples are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

from agenttts.llm.samples import Spend
from agenttts.pipeline.fingerprint import SCHEME
from agenttts.pipeline.pairing import parted
from agenttts.pipeline.pipeline import subtask_part
from agenttts.space.allocation import Allocation
from agenttts.study.experience import Experience


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
    """As in `--cost`."""
    budget: float
    """The most that one query may cost, in the cost model's unit."""
    pricing: str
    """Hash of what the cost model makes of every model: changes with token lengths, prices and throughputs."""
    method: str
    """The searcher's name."""
    seed: int
    """Of the method."""
    examples: int
    """How many are searched on."""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """Part of the environment (in words) -> its fingerprint; none where the environment, or the agenttts that began
    the study, does not tell parts apart."""
    budgets: tuple[float, ...] = ()
    """Every budget of a search that serves several, ascending, `budget` the last; empty where there is one."""
    candidates: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Subtask -> candidate model -> fingerprint of the subtask with that model alone, and of what it costs; none where
    the agenttts that began the study does not tell models apart."""
    experience: Experience | None = None
    """What earlier studies taught, as it was when the study began; their names identify it."""

    def differences(self, other: StudySpec) -> list[str]:
        """In words, what differs."""
        in_words = {
            "sizes": _sizes_differ,
            "fingerprint": _scores_differ,
            "pricing": _pricing_differs,
            "experience": _experience_differs,
        }
        found = []
        for name in (each.name for each in fields(self) if each.name not in _PARTS):
            was, now = getattr(self, name), getattr(other, name)
            if was != now:
                found.append(in_words[name](self, other) if name in in_words else f"{name} is {now!r}, was {was!r}")
        return found

    def has(self, allocation: Allocation) -> bool:
        """Whether every model of an allocation is a candidate."""
        models = self._models
        return all([choice.model in models.get(name, ()) for name, choice in allocation.items()])

    @cached_property
    def _models(self) -> dict[str, set[str]]:
        """Subtask -> its candidates."""
        return {name: {parted(pairing)[0] for pairing in row} for name, row in self.sizes.items()}

    def other_models(self, other: StudySpec) -> list[str]:
        """In words, which models were added or taken out; empty where that is not all that differs.

        A subtask must keep one of its models: by it is seen that nothing else of the subtask changed.
        """
        if self._but_for_models() != other._but_for_models() or self.candidates.keys() != other.candidates.keys():
            return []
        found = []
        for name, was in self.candidates.items():
            now = other.candidates[name]
            kept = was.keys() & now.keys()
            if not kept or any(was[model] != now[model] for model in kept):
                return []
            found += [f"{model} was added to subtask {name!r}" for model in now if model not in was]
            found += [f"{model} was taken out of subtask {name!r}" for model in was if model not in now]
        return found

    def _but_for_models(self) -> StudySpec:
        """What the candidate models have no part in."""
        parts = {name: each for name, each in self.fingerprints.items() if name not in map(subtask_part, self.sizes)}
        return replace(self, sizes={}, fingerprint="", pricing="", fingerprints=parts, candidates={})


_PARTS = ("fingerprints", "candidates")
"""What `fingerprint` and `pricing` are made of."""


def spent_on_models(spend: Spend, own: Spend, label: str) -> Spend:
    """What goes with `verb_for`: where no model ran, the tokens that the method's own LLM took were not replayed.

    Args:
        spend: Of a study, the method's own included.
        own: The method's own.
        label: As of `verb_for`.
    """
    return spend - own if label else spend


def verb_for(label: str) -> str:
    """What became of tokens, in a word, for an environment with this label (`recorded`)."""
    if label.startswith("simulated"):
        return "simulated"
    return "replayed" if label else "paid for"


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


def _experience_differs(was: StudySpec, now: StudySpec) -> str:
    return f"the experience is {now.experience or 'none'}, was {was.experience or 'none'}"


def _pricing_differs(was: StudySpec, now: StudySpec) -> str:
    return "token lengths, prices or throughputs changed, and so did what an allocation costs"

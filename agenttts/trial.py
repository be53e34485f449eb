"""What a search produces and reads: evaluations, trials, the archive; and the two protocols it runs between.

An `Environment` scores allocations on examples; a `Searcher` maps an archive to proposals. A searcher keeps nothing
between calls: it is a pure function of (archive, space, count) and of its own constructor arguments, so a killed
search resumes from the store alone and any searcher can continue any other's study.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np

from agenttts.allocation import Allocation, SearchSpace
from agenttts.pipeline import Pipeline

Deployed = TypeVar("Deployed", covariant=True)
_Z95 = 1.959963984540054
# 97.5 % quantiles of Student's t for 1, 2, ... degrees of freedom; the normal's beyond.
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
RULES = "rules"
"""Who did what an LLM might have done and did not: the planner of a step, the searcher of a trial filled in by rule."""

GUIDELINE_NODE = "reflect"
"""The node of the agent's graph whose steps are its guidelines."""


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Spend:
    """What was really bought, and what the sample pool saved buying."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reused_prompt_tokens: int = 0
    """Prompt tokens of draws that the pool answered, as a fresh purchase would have counted them."""
    reused_completion_tokens: int = 0
    usd: float = 0.0
    """By the models' declared prices; models without prices add nothing."""
    seconds: float = 0.0
    """Wall-clock seconds."""

    def __add__(self, other: Spend) -> Spend:
        return Spend(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Spend)})

    @property
    def tokens(self) -> int:
        """Tokens bought, prompt and completion."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def reused_tokens(self) -> int:
        """Tokens that the sample pool saved buying."""
        return self.reused_prompt_tokens + self.reused_completion_tokens


@dataclass(frozen=True, kw_only=True)
class ExampleResult:
    """One example under one allocation. A failed example scores 0 and says why."""

    example: str
    score: float
    error: str | None = None
    subtask_scores: Mapping[str, float] = field(default_factory=dict)
    """Scores of the subtasks that declare a metric."""
    output: str = ""
    """The final output, as text, shortened."""


@dataclass(frozen=True, kw_only=True)
class SubtaskUsage:
    """Means over examples of what one subtask used, whether bought or reused."""

    prompt_tokens: float = 0.0
    """Prompt tokens of one request."""
    completion_tokens: float = 0.0
    """Completion tokens of one sample."""
    samples: int = 0
    """Samples drawn, over all examples."""
    unparsable: int = 0
    """Samples that the parser could not use: counted non-votes."""

    def __add__(self, other: SubtaskUsage) -> SubtaskUsage:
        samples = self.samples + other.samples
        share = self.samples / samples if samples else 0.5
        return SubtaskUsage(
            prompt_tokens=share * self.prompt_tokens + (1 - share) * other.prompt_tokens,
            completion_tokens=share * self.completion_tokens + (1 - share) * other.completion_tokens,
            samples=samples,
            unparsable=self.unparsable + other.unparsable,
        )


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of one allocation on some examples, and what obtaining them took."""

    results: tuple[ExampleResult, ...]
    spend: Spend = Spend()
    usage: Mapping[str, SubtaskUsage] = field(default_factory=dict)

    def __add__(self, other: Evaluation) -> Evaluation:
        """Of the same allocation on further examples."""
        names = dict.fromkeys([*self.usage, *other.usage])
        none = SubtaskUsage()
        return Evaluation(
            results=self.results + other.results,
            spend=self.spend + other.spend,
            usage={name: self.usage.get(name, none) + other.usage.get(name, none) for name in names},
        )

    @property
    def score(self) -> float:
        """Mean score; failed examples count as 0."""
        return float(np.mean([result.score for result in self.results]))

    @property
    def standard_error(self) -> float:
        """Standard error of the mean; NaN for a single example."""
        scores = [result.score for result in self.results]
        return float(np.std(scores, ddof=1) / math.sqrt(len(scores))) if len(scores) > 1 else math.nan

    @property
    def interval(self) -> Interval:
        """95 % Wilson interval of the mean: conservative for any score in [0, 1]."""
        return wilson_interval(self.score, len(self.results))

    @property
    def lengths(self) -> dict[str, tuple[float, float]]:
        """Subtask -> measured mean (prompt, completion) tokens: calibrates a pipeline (`Pipeline.with_lengths`)."""
        return {name: (usage.prompt_tokens, usage.completion_tokens) for name, usage in self.usage.items()}

    @property
    def failures(self) -> int:
        """Examples that failed and were scored 0."""
        return sum(result.error is not None for result in self.results)

    @property
    def errors(self) -> dict[str, int]:
        """Reason -> examples that failed for it, the most frequent first."""
        return dict(Counter(result.error for result in self.results if result.error is not None).most_common())

    @property
    def subtask_scores(self) -> dict[str, float]:
        """Mean score of each subtask that declares a metric, a failed example counting as 0."""
        names = dict.fromkeys(name for result in self.results for name in result.subtask_scores)
        return {n: float(np.mean([result.subtask_scores.get(n, 0.0) for result in self.results])) for n in names}


def wilson_interval(mean: float, count: int) -> Interval:
    """95 % Wilson score interval of a mean of `count` scores in [0, 1].

    A score in [0, 1] has at most a coin's variance, mean * (1 - mean), so the binomial interval is conservative.
    """
    z2 = _Z95**2
    centre = (mean + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z95 * math.sqrt(mean * (1 - mean) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return Interval(max(0.0, min(centre - half, mean)), min(1.0, max(centre + half, mean)))


def student_quantile(freedom: int) -> float:
    """97.5 % quantile of Student's t: half a 95 % interval, in standard errors.

    Args:
        freedom: Degrees of freedom, at least 1.
    """
    return _T95[freedom - 1] if freedom <= len(_T95) else _Z95


@dataclass(frozen=True)
class Proposal:
    """An allocation that a searcher wants tried, and why."""

    allocation: Allocation
    rationale: str = ""
    searcher: str = ""
    """`RULES` where it was filled in because an LLM proposed nothing usable; else empty: who was asked proposes it."""
    examples: int | None = None
    """How many of the study's examples it is to have seen, for a searcher that races its own trials: it may propose a
    tried allocation again to show it more. None leaves the number to the loop."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a trial had seen and taken at some moment: racing shows it more examples later."""

    at: datetime
    examples: int
    """How many: the first ones of its results."""
    spend: Spend
    """All of the trial's until then."""


class Deployable(Protocol[Deployed]):
    """An environment that can run one allocation outside of a search."""

    def deployed(self, allocation: Allocation, space: SearchSpace) -> Deployed:
        """The allocation, ready to answer."""
        ...


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An allocation with its evaluation, where it came from and when."""

    number: int
    allocation: Allocation
    cost: float
    """Cost of one query, in the unit of the study's cost model."""
    evaluation: Evaluation
    searcher: str
    """The method that proposed it; `RULES` where it was filled in by rule."""
    rationale: str
    round: int
    """Number of trials in the archive when it was proposed: links the trial to the agent's steps."""
    created: datetime
    looks: tuple[Look, ...] = ()
    """Every time it was shown examples, in order; none where it was recorded by a version that did not keep this."""

    def pipeline(self, environment: Deployable[Deployed], space: SearchSpace) -> Deployed:
        """The trial's allocation, ready to answer one input at a time: see `LiveEnvironment.deployed`.

        Args:
            environment: Runs the pipeline.
            space: What was searched.
        """
        return environment.deployed(self.allocation, space)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A proposal that the loop refused: recorded and shown to the searcher, never evaluated."""

    allocation: Allocation
    reasons: tuple[str, ...]
    searcher: str
    round: int


@dataclass(frozen=True, kw_only=True)
class Guideline:
    """What the agent had learned at some point, in words, with the evidence it rests on."""

    round: int
    text: str
    evidence: Any = None


@dataclass(frozen=True, kw_only=True)
class AgentStep:
    """One node of the agent's graph, as it ran."""

    round: int
    """Number of trials in the archive when the graph ran."""
    node: str
    planner: str
    """Who did it: a planner by name, or `RULES` for what takes no LLM."""
    text: str = ""
    """What the node concluded, in words."""
    evidence: Any = None
    """The figures it rests on (plain data)."""
    prompt: str = ""
    reply: str = ""
    spend: Spend = Spend()

    @property
    def guideline(self) -> Guideline | None:
        """The guideline that this step wrote; None for the other nodes."""
        if self.node != GUIDELINE_NODE:
            return None
        return Guideline(round=self.round, text=self.text, evidence=self.evidence)


@dataclass(frozen=True, kw_only=True)
class Archive:
    """The read-only view of one study."""

    trials: tuple[Trial, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    guidelines: tuple[Guideline, ...] = ()
    examples: int = 0
    """How many examples a complete trial has seen; 0 where that is not known."""

    @cached_property
    def tried(self) -> frozenset[str]:
        """Keys of the allocations that have a trial."""
        return frozenset(trial.allocation.key for trial in self.trials)

    @property
    def best(self) -> Trial | None:
        """The trial whose interval begins highest, the cheaper of equals; None before the first trial.

        Among trials that saw equally many examples it is the highest observed mean; one that saw few must score higher
        to pass for the best. Still, the luckiest of many looks too good: a recommendation should come from
        `posterior.recommend`.
        """
        return max(self.trials, key=lambda trial: (trial.evaluation.interval.low, -trial.cost), default=None)

    def rng(self, seed: int) -> np.random.Generator:
        """Randomness that depends on the seed and the archive only, so that a resumed search takes the same way.

        Refusals count: a searcher whose proposals were refused must not draw the same ones for ever.
        """
        return np.random.default_rng([seed, len(self.trials), len(self.refusals)])


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
    names = {**was.fingerprints, **now.fingerprints}
    changed = [name for name in names if was.fingerprints.get(name) != now.fingerprints.get(name)]
    return f"{', '.join(changed) or 'the environment'} changed"


def _pricing_differs(was: StudySpec, now: StudySpec) -> str:
    return "token lengths, prices or throughputs changed, and so did what an allocation costs"


class Budget(NamedTuple):
    """A bound on the cost of one query."""

    amount: float
    cost_model: str
    """Name of the cost model whose unit `amount` is in."""


@runtime_checkable
class Environment(Protocol):
    """Scores allocations of one pipeline on examples.

    An environment that is also an async context manager is entered before the first evaluation (it starts its
    servers and checks what can be checked without buying) and left after the last.
    """

    @property
    def name(self) -> str: ...
    @property
    def pipeline(self) -> Pipeline: ...
    @property
    def examples(self) -> Sequence[str]:
        """Ids of the examples that a search uses."""
        ...

    @property
    def held_out(self) -> Sequence[str]:
        """Ids of other examples, on which the winner is checked; may be empty."""
        ...

    @property
    def default_budget(self) -> Budget | None:
        """The budget of a search that names none."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever scores could: pipeline, examples, model revisions."""
        ...

    async def evaluate(self, allocation: Allocation, examples: Sequence[str] | None = None) -> Evaluation:
        """Score the allocation on these examples (all of them when None).

        A failed example scores 0 and is counted, never dropped.

        Raises:
            LimitReached: When a limit on spending stops a purchase; what was bought stays in the pool.
            EndpointError: When a server is gone or answers nothing, so that scores would say nothing of the
                allocation.
        """
        ...


@runtime_checkable
class Itemised(Protocol):
    """An environment whose fingerprint has parts, so that a study that cannot be resumed says which one changed."""

    @property
    def fingerprints(self) -> Mapping[str, str]:
        """Part, as in "subtask 'find'" or "the examples" -> its fingerprint."""
        ...


class Searcher(Protocol):
    """Decides what to try next.

    A searcher that is also an async context manager is entered before the environment, and so before the first call
    and before anything is bought (it checks what it needs to ask), and left after the last.
    """

    @property
    def name(self) -> str: ...

    async def propose(self, archive: Archive, space: SearchSpace, count: int) -> list[Proposal]:
        """At most `count` feasible, untried, distinct allocations; none when nothing is left to try.

        Infeasible or repeated proposals are the searcher's bug: the loop refuses and records them. No repetition is
        what asks for a tried allocation to see more examples (`Proposal.examples`).
        """
        ...


class Journal(Protocol):
    """Where a searcher that explains itself (`JournaledSearcher`) writes its steps, as they happen."""

    def __call__(self, step: AgentStep, /) -> None: ...


@runtime_checkable
class JournaledSearcher(Protocol):
    """A searcher whose steps are recorded: the loop sets `journal` before the first call."""

    journal: Journal | None

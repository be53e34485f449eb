"""The plug-in surface: what a search runs between.

An `Environment` scores allocations on examples; a `Searcher` maps an archive to proposals. A plug-in inherits from one
of them and gives what has no default. `agenttts.testing` holds the suites that every plug-in must pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar, Protocol, Self

from agenttts.execution.pool import SamplePool
from agenttts.llm.prefix_cache import CacheUse
from agenttts.pipeline import Model, Pipeline
from agenttts.pipeline.fingerprint import combined, describe, fingerprint
from agenttts.space import Allocation, Budget, SearchSpace
from agenttts.study.evaluation import Evaluation
from agenttts.study.trial import AgentStep, Archive, Proposal, Trial


class Environment(ABC):
    """Scores allocations of one pipeline on examples.

    It is not changed while it is used: several searches may use one at once, each with a sample pool of its own. It is
    entered (`async with environment as entered`) before the first evaluation and left after the last; what entering
    returns is what evaluates. The example is complete but for the scores.

    Examples:
        >>> class Halves(at.Environment):
        ...     def __init__(self, pipeline):
        ...         self.name, self.pipeline, self.examples = "halves", pipeline, ("1", "2")
        ...
        ...     async def evaluate(self, allocation, examples=None, *, pool=None):
        ...         names = self.examples if examples is None else examples
        ...         return at.Evaluation(results=tuple(at.ExampleResult(example=name, score=0.5) for name in names))
        >>> asyncio.run(Halves(pipeline).evaluate(space.cheapest)).score
        0.5
    """

    name: str
    """Shown in tables, and part of a study's identity."""
    pipeline: Pipeline
    """What is searched."""
    examples: Sequence[str]
    """Ids of the examples that a search uses."""
    held_out: Sequence[str] = ()
    """Ids of other examples, on which the winner is checked."""
    default_budget: Budget | None = None
    """The budget of a search that names none."""
    recorded: str = ""
    """What its samples are where no model gives them, in words that are shown; empty where models run."""
    embedder: Model | None = None
    """A model beside the pipeline's, whose prices a limit in USD needs."""

    @property
    def fingerprints(self) -> Mapping[str, str]:
        """Part, as in "subtask 'find'" or "the examples" -> its fingerprint, which changes whenever scores could."""
        ids = {"the examples": self.examples, "the held-out examples": self.held_out}
        return {**self.pipeline.fingerprints, **{part: fingerprint(describe(list(of))) for part, of in ids.items()}}

    @property
    def fingerprint(self) -> str:
        """One hash of all parts."""
        return combined(self.fingerprints)

    @property
    def uncovered(self) -> tuple[str, ...]:
        """What the fingerprints cannot read, in words: told at the start of a search, for a change goes unnoticed."""
        return self.pipeline.uncovered

    @property
    def endpoints(self) -> Mapping[str, str]:
        """Model name -> where it is asked, without anything that may be a secret; kept with the study."""
        return {}

    @property
    def replays(self) -> bool:
        """Whether scores follow from the pool's samples at no further cost: a trial's may then score others, too."""
        return False

    @property
    def waiting(self) -> str:
        """What an evaluation has waited for for long, in words that are shown; empty where it does not wait."""
        return ""

    @abstractmethod
    async def evaluate(
        self, allocation: Allocation, examples: Sequence[str] | None = None, *, pool: SamplePool | None = None
    ) -> Evaluation:
        """Score the allocation on examples.

        A failed example scores 0 and is counted, never dropped; one that got no answer is missing (no result, but named
        in `Evaluation.missing`), and is asked for again.

        Args:
            allocation: What each subtask gets.
            examples: Ids, searched or held out; all searched ones when None.
            pool: Where samples are drawn, kept and charged; one of the environment's own when None. An environment
                that asks no model needs none.

        Raises:
            LimitReached: When a limit on spending stops a request; what was paid for stays in the pool.
            EndpointError: When a server is gone or given up, or no example was answered.
        """

    async def prefix_caches(self) -> Mapping[str, CacheUse]:
        """Model -> what its server has found of its prompts in its prefix cache so far; of servers that tell."""
        return {}

    async def __aenter__(self) -> Environment:
        """Start what must run, and check what can be checked for free. Returns what evaluates: usually itself.

        Raises:
            ConfigError: On what the user can fix, before anything is paid for.
            EndpointError: When an endpoint cannot be reached.
        """
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what was started."""
        return None


class Journal(Protocol):
    """Where a searcher that explains itself writes its steps, as they happen."""

    def __call__(self, step: AgentStep, /) -> None: ...


@dataclass(frozen=True, kw_only=True)
class FailedExample:
    """An example that a trial scores low on; no key is in it."""

    given: Mapping[str, str]
    """Its fields, what is asked for among them."""
    outputs: Mapping[str, str]
    """Subtask -> what it handed on."""
    score: float
    """Of the metric, on this example."""
    stage_scores: Mapping[str, float]
    """Of the subtasks that declare a metric."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What the search that asks has planned, for a searcher that tells somebody of it."""

    trials: int
    """How many the study is to have in the end."""
    at_once: int
    """How many are evaluated side by side."""
    look: int | None
    """Examples that a trial sees at a time, more only while it may be the best (`Racing`); None: all at once."""
    endpoints: Collection[str] = ()
    """Where the subtasks' models are asked, as far as the environment tells."""
    failures: Callable[[Trial, int, Sequence[str]], Sequence[FailedExample]] = lambda trial, most, secrets: ()
    """The examples that a trial scores worst on, at most so many, without the subtasks' keys and these secrets.
    They are the user's data: who shows them to somebody that the subtasks do not show them to anyway needs the user's
    consent."""


class Searcher(ABC):
    """Decides what to try next.

    It keeps nothing between calls: it is a pure function of (archive, space, count) and of its own constructor
    arguments, so a search that was killed resumes from the store alone, and any searcher can continue any other's
    study. It is entered before the environment (to check what it needs to ask), and left after the last call.
    A method by name is called with `seed=`, and with `planner=` (a `ChatModel`) where its class says that it asks an
    LLM.

    Examples:
        >>> class Cheapest(at.Searcher):
        ...     name = "cheapest"
        ...
        ...     async def propose(self, archive, space, count):
        ...         return [] if space.cheapest.key in archive.tried else [at.Proposal(space.cheapest)]
        >>> result = asyncio.run(at.search(environment, Cheapest(), space, at.Store(), study_name="cheapest"))
        >>> print(result.best.allocation)
        find: small x1, answer: small x1
    """

    name: str
    """Shown in tables, and part of a study's identity."""
    needs_llm: ClassVar[bool] = False
    """Whether there is nothing to it without an LLM."""
    may_ask_llm: ClassVar[bool] = False
    """Whether it asks an LLM if it is given one."""
    learns: ClassVar[bool] = False
    """Whether it reads the trials of other studies itself (`Archive.similar`): a search by it needs experience."""
    explains: bool = False
    """Whether it says in words, at the end, why a trial is recommended."""
    journal: Journal | None = None
    """Set by the search before the first call."""
    outlook: Outlook | None = None
    """Set by the search before the first call; it changes nothing of what is feasible or asked for."""

    @property
    def title(self) -> str:
        """Its name, and that of its planner where there are several."""
        return self.name

    @abstractmethod
    async def propose(self, archive: Archive, space: SearchSpace, count: int) -> list[Proposal]:
        """At most `count` feasible, untried, distinct allocations; none when nothing is left to try.

        Infeasible or repeated proposals are the searcher's bug: the loop rejects and records them. No repetition is
        what asks for a tried allocation to see more examples (`Proposal.examples`).
        """

    async def explain(self, archive: Archive, space: SearchSpace, best: Trial) -> None:
        """Write to the journal why this trial is recommended, in plain words: a step of `EXPLANATION_NODE`.

        Asked for at the end of a search, once for what is recommended, of a method that `explains`.
        """
        return None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close what entering opened."""
        return None

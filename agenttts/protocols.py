"""The two protocols that a search runs between.

An `Environment` scores allocations on examples; a `Searcher` maps an archive to proposals. A searcher keeps nothing
between calls: it is a pure function of (archive, space, count) and of its own constructor arguments, so a killed
search resumes from the store alone and any searcher can continue any other's study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from agenttts.pipeline import Pipeline
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.space.cost import Budget
from agenttts.study.evaluation import Evaluation
from agenttts.study.trial import AgentStep, Archive, Proposal


@runtime_checkable
class Environment(Protocol):
    """Scores allocations of one pipeline on examples.

    An environment that is also an async context manager is entered before the first evaluation (it starts its
    servers and checks what can be checked without buying) and left after the last.

    It may have three further attributes: `recorded`, what its samples are where no model gives them; `endpoints`,
    model -> URL, kept with the study; `embedder`, a model beside the pipeline's, whose prices a limit in USD needs.
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

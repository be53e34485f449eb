"""Operators: how a stage turns samples into one output. `samples` is how much, the operator is how.

A stage lists those that may be tried (`Subtask.operators`); the search chooses among them as among models, and prices
every request that they make. The first listed is the one that an allocation means which names none.

    Vote, AdaptiveVote, WindowVote, Cascade, Mix      votes: `votes`
    BestOf, WeightedVote, Listwise                    candidates are judged: `verify`
    Revise, Refine                                    attempts build on one another: `sequential`
    Tree                                              tree search, by the extra `tree`
    StepSearch                                        steps are drawn as a reward model likes them, by vLLM: `steps`
    First, Fuse, IdVote, Union                        as of `agenttts.aggregators`

Examples:
    >>> vote, best = at.operators.Vote(), at.operators.BestOf(large)
    >>> answer = at.Subtask("answer", (small, large), "{{ question }}", operators=(vote, best, at.operators.Fuse()))
    >>> [pairing.name for pairing in answer.pairings][::2]
    ['small', 'small by best-of(verifier=large)', 'small by fuse']
"""

from agenttts.pipeline.aggregators import First, Fuse, IdVote, Union
from agenttts.pipeline.ballots import ballots, winner
from agenttts.pipeline.operator import Drawn, Lengths, Load, Operator, SubtaskRun, named
from agenttts.pipeline.operators.sequential import Refine, Revise, one_each
from agenttts.pipeline.operators.steps import StepSearch
from agenttts.pipeline.operators.tree import Tree
from agenttts.pipeline.operators.verify import BestOf, Listwise, Verifier, WeightedVote
from agenttts.pipeline.operators.votes import AdaptiveVote, Cascade, Mix, Vote, WindowVote, leads
from agenttts.pipeline.tools import ToolCall

__all__ = [
    "AdaptiveVote",
    "BestOf",
    "Cascade",
    "Drawn",
    "First",
    "Fuse",
    "IdVote",
    "Lengths",
    "Listwise",
    "Load",
    "Mix",
    "Operator",
    "Refine",
    "Revise",
    "StepSearch",
    "SubtaskRun",
    "ToolCall",
    "Tree",
    "Union",
    "Verifier",
    "Vote",
    "WeightedVote",
    "WindowVote",
    "ballots",
    "leads",
    "named",
    "one_each",
    "winner",
]

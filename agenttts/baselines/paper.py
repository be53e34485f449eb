"""AgentTTS as the paper states it (section 5, algorithm 1), for comparison with the agent that extends it."""

from __future__ import annotations

from agenttts.baselines.llm import GuidedSearcher, history
from agenttts.pipeline import Subtask
from agenttts.proposals import dialogue
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.study.trial import Archive, Proposal

_WHY = "initial trial: the models of a subtask at one equal budget (Insight 1)"


class PaperSearcher(GuidedSearcher):
    """The paper's algorithm: initial trials by Insight 1, then guideline and trials in turn.

    The first guideline is asked for all three insights, the later ones for Insights 2 and 3 and for exploration where
    scores hardly differ. The model sees what the paper's prompts show: the task, the cost, every trial, the guidelines;
    no posterior, no intervals. What differs from the paper: trials come in rounds of as many as run at once, rejected
    proposals go back to the model instead of vanishing, and the loop, which is the same for every method, races trials
    (unless told not to) and recommends by posterior mean.
    """

    name = "agenttts-paper"

    async def propose(self, archive: Archive, space: SearchSpace, count: int) -> list[Proposal]:
        """See `protocols.Searcher.propose`."""
        left = [a for a in published_initial_allocations(space) if a.key not in archive.tried]
        if not left:
            return await super().propose(archive, space, count)
        chosen = left[:count]
        self._record(archive, "initial", "\n".join(str(allocation) for allocation in chosen))
        return [Proposal(allocation, _WHY) for allocation in chosen]

    def _reflection(self, archive: Archive, space: SearchSpace) -> str:
        later = (dialogue.SATURATION, dialogue.INTERACTION, dialogue.EXPLORATION)
        first = (dialogue.MODEL_SIZE, dialogue.SATURATION, dialogue.INTERACTION)
        questions = later if archive.guidelines else first
        return "\n\n".join([dialogue.task(space), history(archive, space.scale), dialogue.guideline_request(questions)])


def published_initial_allocations(space: SearchSpace) -> list[Allocation]:
    """The initial trials as section 5 states them; distinct, subtask by subtask, models from small to large.

    The budget of subtask i is that of one pass of its largest model; where it does not fit beside the cheapest others,
    of its next smaller one, and so on until it does. Every model of i gets this same budget, in as many samples as fit
    it (up to the subtask's limit; the cap of 60 is in the authors' code alone), while every other subtask runs its
    largest model once. Where those do not fit beside it, the paper says only that a trial must keep the budget: here
    the dearest of them then takes its next smaller model, until all fit.
    """
    found = [
        _with_largest_others(space, subtask, model.name, samples)
        for subtask in space.pipeline.subtasks
        for model in sorted(subtask.models, key=lambda model: subtask.sizes[model.name])
        if (samples := space.samples_within(subtask, model.name, _equal_budget(space, subtask))) >= 1
    ]
    return list(dict.fromkeys(map(space.nearest, found)))  # where a table lacks them


def _equal_budget(space: SearchSpace, subtask: Subtask) -> float:
    """Cost of one pass of the largest model that fits when every other subtask is at its cheapest."""
    fewest = subtask.least_samples
    by_size = sorted(subtask.models, key=lambda model: -subtask.sizes[model.name])
    others = space.cost(space.cheapest) - space.subtask_costs(space.cheapest)[subtask.name]
    fits = (model for model in by_size if space.samples_within(subtask, model.name, space.budget - others))
    return float(space.cost_model.cost(subtask, next(fits), fewest))


def _with_largest_others(space: SearchSpace, fixed: Subtask, model: str, samples: int) -> Allocation:
    """This choice for one subtask, and for each other the largest model once, smaller ones where those do not fit."""
    allocation = space.largest_once.replaced(fixed.name, model, samples)
    while allocation not in space:
        costs = space.subtask_costs(allocation)
        others = [each for each in space.pipeline.subtasks if each.name != fixed.name]
        smaller = {each.name: name for each in others if (name := _smaller(each, allocation[each.name].model))}
        dearest = max(smaller, key=lambda name: costs[name], default=None)
        if dearest is None:
            return space.cheapest.replaced(fixed.name, model, samples)
        fewest = space.pipeline.subtask(dearest).least_samples
        allocation = allocation.replaced(dearest, smaller[dearest], fewest)
    return allocation


def _smaller(subtask: Subtask, model: str) -> str:
    """The next smaller model of a subtask; empty when there is none."""
    sizes = subtask.sizes
    below = [name for name in sizes if sizes[name] < sizes[model]]
    return max(below, key=lambda name: sizes[name], default="")

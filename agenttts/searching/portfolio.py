"""The first trials that earlier studies choose, whatever the method."""

from __future__ import annotations

from agenttts.proposals.initial import PORTFOLIO, portfolio
from agenttts.space import SearchSpace
from agenttts.study.trial import EXPERIENCE, Archive, Proposal


def first_trials(archive: Archive, space: SearchSpace) -> list[Proposal]:
    """Those that are still to be tried; none without experience that was learned.

    Args:
        archive: The study so far, with its experience.
        space: What is searched.
    """
    experience = archive.experience
    missing = PORTFOLIO - sum(trial.searcher == EXPERIENCE for trial in archive.trials)
    if experience is None or not experience.lessons or missing <= 0:
        return []
    left = [each for each in portfolio(space, experience) if each.allocation.key not in archive.tried]
    why = f"first trial from experience ({experience}): {{}} expected by what they taught"
    return [Proposal(each.allocation, why.format(each), searcher=EXPERIENCE) for each in left[:missing]]

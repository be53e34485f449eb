"""What a study amounts to: a page names the trial that the search recommended."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from agenttts.db import Store, Study
from agenttts.llm.samples import Spend
from agenttts.posterior.insights import posterior, recommend
from agenttts.report.findings.findings import Findings
from agenttts.study.evaluation import Evaluation
from agenttts.study.trial import Archive
from tests.baselines.test_searchers import PIPELINE, SPACE, archive_of, truth
from tests.study.test_spec import SPEC


def test_of_a_study_too_long_to_fit_whole_the_recommended_trial_is_named() -> None:
    first, *others = archive_of(*sorted(SPACE.enumerate(), key=truth, reverse=True)[:620]).trials
    seen = first.evaluation.results[-1]
    unlucky = replace(first, evaluation=Evaluation(results=(replace(seen, score=0.001),)))  # a tie of none
    trials = (unlucky, *others)
    assert posterior(PIPELINE.sizes, trials).best(trials) == unlucky, "what the posterior is not fitted to is best"
    found = Findings(
        store=Store(),
        study=Study(1, "long", datetime.now(UTC), replace(SPEC, sizes=PIPELINE.sizes, budget=SPACE.budget), {}),
        archive=Archive(trials=trials),
        steps=(),
        checks={},
        spend=Spend(),
    )
    assert found.best == recommend(PIPELINE.sizes, trials) != unlucky

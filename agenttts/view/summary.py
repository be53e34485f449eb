"""What is worked out of a whole study, in a process of its own: see `background`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from agenttts.db import Store, Study
from agenttts.llm.samples import Spend
from agenttts.report.findings.findings import Findings
from agenttts.report.page.html import pictures_html
from agenttts.report.terminal.live import Standing
from agenttts.study.evaluation import Evaluation
from agenttts.study.trial import Trial


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a study has come to."""

    best: Trial | None
    """What would be recommended now; None before the first trial."""
    check: Evaluation | None
    """Its held-out check, once it was made."""
    spend: Spend
    refusals: int


def summary_of(store: Store, study: Study) -> Summary:
    """Read a study of a store that was opened for it."""
    with closing(store):
        now = Standing.read(store, study)
    return Summary(best=now.best, check=now.check, spend=now.spend, refusals=len(now.archive.refusals))


def pictures_of(store: Store, study: Study) -> str:
    """The pictures of a study, as HTML; empty before the first trial."""
    with closing(store):
        return pictures_html(Findings.read(store, study)) if store.count_trials(study) else ""

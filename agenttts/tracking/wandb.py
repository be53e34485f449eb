"""Weights & Biases: one run per study, a row per trial, and another whenever it has seen more examples.

WANDB_MODE, WANDB_PROJECT and the like set it up. Offline, its client resumes nothing: a study that goes on is told
anew, as a whole, in a folder of its own under the same run.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

from agenttts._util.extras import imported
from agenttts.searching.progress import Progress, SearchResult
from agenttts.tracking.aside import ToldAside
from agenttts.tracking.base import Told, end_metrics, settings, trial_metrics

PROJECT = "agenttts"


class WandbTracker(ToldAside):
    """Tells Weights & Biases about a search; a study that is resumed goes on with its run.

    Examples:
        >>> from agenttts.tracking import WandbTracker
        >>> tracker = WandbTracker()  # WANDB_MODE=offline keeps it on this machine
        >>> plan = at.SearchPlan(environment, at.searcher("random"), space, "runs.db", study_name="told",
        ...                      on_progress=tracker)
        >>> tracker.finish(asyncio.run(at.search(plan)))

    Raises:
        ConfigError: When its client is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._wandb: Any = imported("wandb", "tracking with W&B needs its client", extra="wandb")
        self._run: Any = None
        self._told = Told()

    def tell(self, progress: Progress) -> None:
        """See `ToldAside`."""
        if self._run is None:
            self._start(progress)
        for trial in self._told.news(progress.archive.trials):
            self._run.log({"trial": trial.number, "allocation": str(trial.allocation), **trial_metrics(trial)})

    def end(self, result: SearchResult) -> None:
        """See `ToldAside`."""
        self._run.summary.update({**end_metrics(result), "best_allocation": result.best.allocation.key})
        self._run.finish()

    def _start(self, progress: Progress) -> None:
        study = progress.study
        # A study's name may hold what a run's id may not; a study begun anew elsewhere has another time.
        identity = hashlib.sha256(f"{study.name} {study.created.isoformat()}".encode()).hexdigest()[:16]
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=identity,
            name=study.name,
            resume="allow",
            config=settings(study),
        )
        self._run.define_metric("trial")
        self._run.define_metric("*", step_metric="trial")
        if self._run.resumed:
            for trial in progress.archive.trials[: progress.trials_before]:
                self._told.note(trial.number, len(trial.evaluation.results))

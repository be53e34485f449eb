"""MLflow: one run per study, its trials as the steps of its metrics. The server is MLFLOW_TRACKING_URI's.

A trial that has seen more examples is told again at its step, with what it scores now: a step's newest value holds.
"""

from __future__ import annotations

from agenttts._util.hints import install
from agenttts.db import Study
from agenttts.errors import ConfigError
from agenttts.searching.progress import Progress, SearchResult
from agenttts.tracking.aside import ToldAside
from agenttts.tracking.base import Told, end_metrics, settings, trial_metrics

EXPERIMENT = "agenttts"
_STUDY = "agenttts.study"


class MlflowTracker(ToldAside):
    """Tells MLflow about a search; a study that is resumed goes on with its run.

    Examples:
        >>> from agenttts.tracking import MlflowTracker
        >>> tracker = MlflowTracker(tracking_uri="sqlite:///mlflow.db")
        >>> plan = at.SearchPlan(environment, at.searcher("random"), space, "runs.db", study_name="told",
        ...                      on_progress=tracker)
        >>> tracker.finish(asyncio.run(at.search(plan)))

    Args:
        tracking_uri: Where; as MLflow itself is set up when None.
        experiment: The experiment that holds the runs.

    Raises:
        ConfigError: When MLflow is not installed.
    """

    def __init__(self, *, tracking_uri: str | None = None, experiment: str = EXPERIMENT) -> None:
        super().__init__()
        try:
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise ConfigError(f"tracking with MLflow needs its client: {install('mlflow')}") from error
        self._client = MlflowClient(tracking_uri=tracking_uri)
        self._experiment = experiment
        self._run = ""
        self._told = Told()

    def tell(self, progress: Progress) -> None:
        """See `ToldAside`."""
        if not self._run:
            self._start(progress.study)
        for trial in self._told.news(progress.archive.trials):
            for name, value in trial_metrics(trial).items():
                self._client.log_metric(self._run, name, value, step=trial.number)

    def end(self, result: SearchResult) -> None:
        """See `ToldAside`."""
        for name, value in end_metrics(result).items():
            self._client.log_metric(self._run, name, value)
        self._client.set_tag(self._run, "agenttts.space.allocation", result.best.allocation.key)
        self._client.set_terminated(self._run)

    def _start(self, study: Study) -> None:
        found = self._client.get_experiment_by_name(self._experiment)
        experiment = self._client.create_experiment(self._experiment) if found is None else found.experiment_id
        name = study.name.replace("'", "")
        runs = self._client.search_runs([experiment], f"tags.`{_STUDY}` = '{name}'")
        if runs:
            self._run = runs[0].info.run_id
            for metric in self._client.get_metric_history(self._run, "examples"):
                self._told.note(metric.step, int(metric.value))
            self._client.update_run(self._run, status="RUNNING")
            return
        self._run = self._client.create_run(experiment, run_name=study.name, tags={_STUDY: name}).info.run_id
        for setting, value in settings(study).items():
            self._client.log_param(self._run, setting, value)

"""From an allocation file to a pipeline that answers: `agenttts best STUDY > allocation.yaml`, then `at.deployed`.

The file is all that deployment needs besides the pipeline itself, which it names by its environment: no store is
read. It is refused for a pipeline whose subtasks are not those that were searched.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from agenttts._util.yaml_file import read_checked
from agenttts.deployment.deployed import TIMEOUT_S, DeployedPipeline
from agenttts.environments.live import LiveEnvironment
from agenttts.environments.registry import environment
from agenttts.errors import ConfigError
from agenttts.llm.endpoint import shown_url
from agenttts.llm.openai import SIMULATED, OpenAIClient
from agenttts.pipeline import Pipeline
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.space.cost import cost_model
from agenttts.space.throughput import Throughput, with_throughput
from agenttts.study.trial import Trial

_NOT_RUN = {"the metric"}
"""Parts of a pipeline that no answer depends on."""


class _Choice(BaseModel):
    model: str
    samples: int


class _Throughput(BaseModel):
    prefill_tokens_per_s: float
    decode_tokens_per_s: float


class _Cost(BaseModel):
    budget: float
    cost_model: str
    throughput: dict[str, _Throughput] = {}
    """Of each model, where that is what the budget counts and the pipeline does not declare it."""


class _File(BaseModel):
    """What deployment reads of an allocation file; a person may read more in it."""

    pipeline: str
    environment: str | None = None
    data: str | None = None
    fingerprints: dict[str, str] = {}
    allocation: dict[str, _Choice]
    cost: _Cost
    endpoints: dict[str, str] = {}
    recorded: str = ""


class _Runner(NamedTuple):
    """Who runs the pipeline: an environment, or nobody yet."""

    pipeline: Pipeline
    environment: LiveEnvironment | None = None


def deployed(
    source: str | Path | Mapping[str, Any] | Allocation | Trial,
    pipeline: Pipeline | LiveEnvironment | None = None,
    *,
    space: SearchSpace | None = None,
    data: str | None = None,
    endpoints: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> DeployedPipeline:
    """What was chosen, ready to answer one input at a time.

        pipeline = at.deployed("allocation.yaml")
        print(pipeline("Who wrote Emma?").text)

    Args:
        source: The allocation file, or what is in it (`report.recommendation`); or a trial or an allocation of a
            search, with the environment and the space that were searched.
        pipeline: The pipeline, or an environment that runs it; that which the file names when None.
        space: What was searched, for a trial or an allocation.
        data: Where the environment's examples are; as in the file when None.
        endpoints: Model name -> base URL, instead of those in the file.
        timeout_s: Seconds that one answer may take.

    Raises:
        ConfigError: On a file that cannot be read, one of another pipeline, or a pipeline that cannot be found.
    """
    if isinstance(source, Allocation | Trial):
        if space is None or not isinstance(pipeline, LiveEnvironment):
            raise ConfigError("to deploy a trial or an allocation, give at.deployed the environment and space= too")
        if endpoints:
            pipeline.route(endpoints)
        chosen = source.allocation if isinstance(source, Trial) else source
        return _deployed(pipeline, chosen, space, timeout_s)
    where = "the allocation" if isinstance(source, Mapping) else f"allocation file {str(source)!r}"
    file = read_checked(source, _File, where, "agenttts best")
    runner = _runner(file, where, pipeline, data)
    _require_same(file, runner.pipeline, where)
    allocation = Allocation({name: (choice.model, choice.samples) for name, choice in file.allocation.items()})
    measured = {name: Throughput(**dict(each)) for name, each in file.cost.throughput.items()}
    priced = with_throughput(runner.pipeline, measured)
    space = SearchSpace(priced, cost_model(file.cost.cost_model), file.cost.budget)
    if runner.environment is None:
        client = OpenAIClient()
        _route(client, file, runner.pipeline, endpoints or {})
        return DeployedPipeline(allocation, space, client=client, timeout_s=timeout_s)
    if isinstance(runner.environment.client, OpenAIClient) and runner.environment.endpoints:
        _route(runner.environment.client, file, runner.pipeline, {})
    if endpoints:
        runner.environment.route(endpoints)
    return _deployed(runner.environment, allocation, space, timeout_s)


def _deployed(
    environment: LiveEnvironment, allocation: Allocation, space: SearchSpace, timeout_s: float
) -> DeployedPipeline:
    """The allocation answered by what answers the environment, without its examples and metrics."""
    return DeployedPipeline(
        allocation,
        space,
        client=environment.client,
        serving=environment.serving,
        embedder=environment.embedder,
        timeout_s=timeout_s,
        recorded=environment.recorded,
    )


def _runner(file: _File, where: str, given: Pipeline | LiveEnvironment | None, data: str | None) -> _Runner:
    if isinstance(given, Pipeline):
        return _Runner(given)
    if given is None and file.environment is None:
        raise ConfigError(f"{where} does not say where pipeline {file.pipeline!r} is: give at.deployed the pipeline")
    found = given or environment(str(file.environment), data=data or file.data)
    if not isinstance(found, LiveEnvironment):
        raise ConfigError(f"environment {found.name!r} runs no models, so its pipeline cannot be deployed")
    return _Runner(found.pipeline, found)


def _require_same(file: _File, pipeline: Pipeline, where: str) -> None:
    """Refuse a file of another pipeline.

    Raises:
        ConfigError: When the name or any part that answers depend on differs.
    """
    if file.pipeline != pipeline.name:
        raise ConfigError(f"{where} is for pipeline {file.pipeline!r}, not for {pipeline.name!r}")
    # Models that turned out to be simulated were searched under a revision of their own.
    searched = pipeline.with_revision(SIMULATED) if file.recorded == SIMULATED else pipeline
    now = {part: value for part, value in searched.fingerprints.items() if part not in _NOT_RUN}
    changed = [part for part, value in now.items() if file.fingerprints.get(part, value) != value]
    if changed or set(file.allocation) != {subtask.name for subtask in pipeline.subtasks}:
        what = ", ".join(changed) or "its subtasks"
        raise ConfigError(
            f"{where} is for another version of pipeline {pipeline.name!r}: {what} changed since; search again, or go "
            "back to what was searched"
        )


def _route(client: OpenAIClient, file: _File, pipeline: Pipeline, endpoints: Mapping[str, str]) -> None:
    """Ask each model where the file, or who deploys it, says."""
    for model in pipeline.models:
        url = endpoints.get(model.name) or file.endpoints.get(model.name)
        # A file holds no user and password: a URL that is only shown without them stays as it is.
        if url is not None and url != shown_url(client.url(model)):
            client.route({model.served_name: url})

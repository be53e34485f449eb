"""From an allocation file to a pipeline that answers: `agenttts best STUDY > allocation.yaml`, then `at.deployed`.

The file is all that deployment needs besides the pipeline itself, which it names by its environment: no store is
read. It is rejected for a pipeline whose subtasks are not those that were searched.

The file is data, and may come from anybody. What it names is followed only where that cannot run another's code, read
what is not the file's, or send the user's prompts and keys elsewhere: an environment that is registered or lies in the
file's own folder, examples that lie there, and endpoints that are those of the code. Everything else is rejected until
the user who deploys it says `trust`, or gives the pipeline, the data and the endpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, Field

from agenttts._util.hints import program
from agenttts._util.yaml_file import Count, Number, Positive, read_checked
from agenttts.deployment.answering import TIMEOUT_S, DeployedPipeline
from agenttts.environments.live import LiveEnvironment
from agenttts.environments.registry import environment, environment_names
from agenttts.errors import ConfigError
from agenttts.llm.endpoint import shown_url
from agenttts.llm.openai import SIMULATED, OpenAIClient
from agenttts.pipeline import Pipeline
from agenttts.pipeline.fingerprint import SCHEME
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.space.cost import cost_model
from agenttts.space.throughput import Throughput, with_throughput
from agenttts.study.trial import Trial

_NOT_RUN = {"the metric"}
"""Parts of a pipeline that no answer depends on."""


class _FileChoice(BaseModel):
    model: str
    samples: Count
    operator: str = ""
    """What is done with the samples, where it is not the subtask's first operator."""
    options: dict[str, bool | int | float | str] = {}
    """Its options, where they are not at their first value."""


class _FileThroughput(BaseModel):
    prefill_tokens_per_s: Positive
    decode_tokens_per_s: Positive


class _Cost(BaseModel):
    budget: Number
    cost_model: str
    throughput: dict[str, _FileThroughput] = {}
    """Of each model, where that is what the budget counts and the pipeline does not declare it."""


class _ChosenOnly(BaseModel):
    allocation: dict[str, _FileChoice] = Field(min_length=1)


class _AllocationFile(BaseModel):
    """What deployment reads of an allocation file; a person may read more in it."""

    pipeline: str
    environment: str | None = None
    data: str | None = None
    fingerprints: dict[str, str] = Field(min_length=1)
    allocation: dict[str, _FileChoice]
    cost: _Cost
    endpoints: dict[str, str] = {}
    recorded: str = ""


class _LoadedFile(NamedTuple):
    """An allocation file, and how far it is trusted."""

    file: _AllocationFile
    where: str
    """How errors name it."""
    folder: Path
    """Where it lies; the working folder for one that lies nowhere."""
    trust: bool


class _Runner(NamedTuple):
    """A pipeline, and the environment that runs it; None where only a pipeline was given."""

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
    trust: bool = False,
) -> DeployedPipeline:
    """What was chosen, ready to answer one input at a time.

    Examples:
        >>> deployed = at.deployed("allocation.yaml", environment)
        >>> deployed("Is 7 odd?").text
        'yes'

    Args:
        source: The allocation file, or what is in it (`report.recommendation`); or a trial or an allocation of a
            search, with the environment and the space that were searched.
        pipeline: The pipeline, or an environment that runs it; that which the file names when None.
        space: What was searched, for a trial or an allocation.
        data: Where the environment's examples are; as in the file when None.
        endpoints: Model name -> base URL, instead of those in the file.
        timeout_s: Seconds that one answer may take.
        trust: Whether to import whatever environment the file names, to read the data and to ask the endpoints in it.

    Raises:
        ConfigError: On a file that cannot be read, one of another pipeline, a pipeline that cannot be found, or an
            environment, data or an endpoint in the file that takes trust.
    """
    if isinstance(source, Allocation | Trial):
        if space is None or not isinstance(pipeline, LiveEnvironment):
            raise ConfigError("to deploy a trial or an allocation, give at.deployed the environment and space= too")
        if endpoints:
            pipeline.route(endpoints)
        chosen = source.allocation if isinstance(source, Trial) else source
        return _deployed(pipeline, chosen, space, timeout_s)
    file, where = _read(source)
    folder = Path.cwd() if isinstance(source, Mapping) else Path(source).resolve().parent
    given = _LoadedFile(file, where, folder, trust)
    runner = _runner(given, pipeline, data)
    _require_same(file, runner.pipeline, where)
    allocation = _allocation(file.allocation)
    measured = {name: Throughput(**dict(each)) for name, each in file.cost.throughput.items()}
    priced = with_throughput(runner.pipeline, measured)
    space = SearchSpace(priced, cost_model(file.cost.cost_model), file.cost.budget)
    if runner.environment is None:
        client = OpenAIClient()
        _route(client, given, runner.pipeline, endpoints or {})
        return DeployedPipeline(allocation, space, client=client, timeout_s=timeout_s)
    if isinstance(runner.environment.client, OpenAIClient) and runner.environment.endpoints:
        _route(runner.environment.client, given, runner.pipeline, endpoints or {})
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


def named_environment(source: str | Path | Mapping[str, Any]) -> str | None:
    """The environment that an allocation file names; nothing is imported.

    Raises:
        ConfigError: On a file that cannot be read.
    """
    return _read(source)[0].environment


def allocation_in(file: Path) -> Allocation:
    """The allocation of a file that `best` printed, or that holds nothing else.

    Raises:
        ConfigError: On a file that cannot be read.
    """
    found = read_checked(file, _ChosenOnly, f"allocation file {str(file)!r}", "agenttts best")
    return _allocation(found.allocation)


def _allocation(choices: Mapping[str, _FileChoice]) -> Allocation:
    return Allocation.from_dict({name: each.model_dump() for name, each in choices.items()})


def _read(source: str | Path | Mapping[str, Any]) -> tuple[_AllocationFile, str]:
    """What is in an allocation file, and how errors name it."""
    where = "the allocation" if isinstance(source, Mapping) else f"allocation file {str(source)!r}"
    return read_checked(source, _AllocationFile, where, "agenttts best"), where


def _runner(source: _LoadedFile, given: Pipeline | LiveEnvironment | None, data: str | None) -> _Runner:
    if isinstance(given, Pipeline):
        return _Runner(given)
    found = given or environment(_followed(source), data=data or _followed_data(source))
    if not isinstance(found, LiveEnvironment):
        raise ConfigError(f"environment {found.name!r} runs no models, so its pipeline cannot be deployed")
    return _Runner(found.pipeline, found)


def _followed(source: _LoadedFile) -> str:
    """The name of the environment that a file names, where it may be imported.

    Raises:
        ConfigError: When the file names none, or one that takes trust.
    """
    name, where = source.file.environment, source.where
    if name is None:
        raise ConfigError(
            f"{where} does not say where pipeline {source.file.pipeline!r} is: give at.deployed the pipeline"
        )
    if name in environment_names():
        return name
    module, _, attribute = name.rpartition(":")
    if module.endswith(".py") and (inside := _inside(source.folder, module)):
        return f"{inside}:{attribute}"
    if source.trust:
        return name
    raise ConfigError(
        f"{where} names the environment {name!r}, which would be imported though it is neither registered nor a .py "
        f"file in the folder {str(source.folder)!r}: look at it, then say --trust (trust=True in Python)"
    )


def _followed_data(source: _LoadedFile) -> str | None:
    """Where a file says that the examples are, where they may be read.

    Raises:
        ConfigError: When that takes trust.
    """
    data = source.file.data or None
    if data is not None and (inside := _inside(source.folder, data)):
        return str(inside)
    if data is None or source.trust:
        return data
    raise ConfigError(
        f"{source.where} names the data {data!r}, which would be read though it is no file in the folder "
        f"{str(source.folder)!r}: give --data (data in Python), or look at it and say --trust (trust=True)"
    )


def _inside(folder: Path, name: str) -> Path | None:
    """The file of this path, where it is and stays in the folder, links resolved."""
    path = Path(name)
    if ".." in path.parts:
        return None
    try:
        found = (folder / path).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        return None
    return found if found.is_file() and found.is_relative_to(folder.resolve()) else None


def _require_same(file: _AllocationFile, pipeline: Pipeline, where: str) -> None:
    """Reject a file of another pipeline.

    Raises:
        ConfigError: When the name or any part that answers depend on differs.
    """
    if file.pipeline != pipeline.name:
        raise ConfigError(f"{where} is for pipeline {file.pipeline!r}, not for {pipeline.name!r}")
    # Models that turned out to be simulated were searched under a revision of their own.
    searched = pipeline.with_revision(SIMULATED) if file.recorded == SIMULATED else pipeline
    now = {part: value for part, value in searched.fingerprints.items() if part not in _NOT_RUN}
    if file.fingerprints.get(SCHEME[0]) != SCHEME[1]:
        raise ConfigError(
            f"{where} has fingerprints of another version of agenttts, which told parts of a pipeline apart in another "
            "way: search again with this one (with the same store, its samples are there already)"
        )
    if missing := [part for part in now if part not in file.fingerprints]:
        raise ConfigError(
            f"{where} has no fingerprint of {missing[0]}, so that it cannot be told whether it fits: write it anew "
            f"with `{program()} best`"
        )
    changed = [part for part, value in now.items() if file.fingerprints[part] != value]
    if changed or set(file.allocation) != {subtask.name for subtask in pipeline.subtasks}:
        what = ", ".join(changed) or "its subtasks"
        raise ConfigError(
            f"{where} is for another version of pipeline {pipeline.name!r}: {what} changed since; search again, or go "
            "back to what was searched"
        )


def _route(client: OpenAIClient, source: _LoadedFile, pipeline: Pipeline, endpoints: Mapping[str, str]) -> None:
    """Ask each model at the endpoint that was given, or else at the one on which the code and the file agree.

    Raises:
        ConfigError: When the file says another place than the code, and the user has not confirmed it.
    """
    for model in pipeline.models:
        given, told = endpoints.get(model.name), source.file.endpoints.get(model.name)
        # A file holds no user and password: a URL that is only shown without them stays as it is.
        if given is None and told in (None, known := shown_url(client.url(model))):
            continue
        if given is None and not source.trust:
            raise ConfigError(
                f"{source.where} asks the model {model.name!r} at {shown_url(str(told))!r}, the code at {known!r}: "
                f"give --endpoint {model.name}=URL (endpoints in Python), or say --trust (trust=True)"
            )
        client.route({model.served_name: str(given or told)})

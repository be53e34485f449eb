"""The `agenttts` command. Imports of what a command needs happen inside it: `--help` must be instant."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from typer.exceptions import TyperException

from agenttts.cli.options import (
    BudgetOption,
    BudgetsOption,
    CostOption,
    DataOption,
    EndpointOption,
    Env,
    GpusOption,
    InsightsOption,
    JsonOption,
    LlmOption,
    MaxTokensOption,
    MaxUsdOption,
    MethodOption,
    ParallelOption,
    RacingOption,
    SeedsOption,
    ServeOption,
    StoreOption,
    StudyArgument,
    StudyOption,
    ThroughputOption,
    TrackOption,
    TrialsOption,
    WeightsOption,
)
from agenttts.errors import AgentTTSError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agenttts.db import Store
    from agenttts.environments.serving import Serving
    from agenttts.pipeline import Pipeline
    from agenttts.trial import Archive

DEFAULT_STORE = "agenttts.db"
_INTERRUPTED = 130
"""What typer makes of a KeyboardInterrupt."""

app = typer.Typer(
    name="agenttts",
    help="Find which model each stage of an LLM pipeline should use, and how many samples it should draw, under one "
    "compute budget per query.",
    epilog="Exit codes: 0 done (also when a spending limit ended the search), 1 a bug of ours, 2 bad input, 3 a model "
    "server failed, 4 the store is unusable, 130 interrupted (run the same command again to go on).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("agenttts"))
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_show_version)
    ] = False,
    log: Annotated[
        Literal["debug", "info", "warning", "error"],
        typer.Option("--log", help="What is logged on standard error (logger 'agenttts')."),
    ] = "warning",
) -> None:
    """Options of the command itself."""
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("agenttts")
    if log != "warning":  # warnings show without any handler, as they always do
        logger.addHandler(handler)
        logger.setLevel(log.upper())


@app.command()
def search(
    env: Env,
    data: DataOption = None,
    endpoint: EndpointOption = [],  # noqa: B006  (typer copies it)
    serve: ServeOption = None,
    weights: WeightsOption = [],  # noqa: B006
    gpus: GpusOption = None,
    budget: BudgetOption = None,
    budgets: BudgetsOption = None,
    cost: CostOption = None,
    throughput: ThroughputOption = None,
    trials: TrialsOption = 30,
    method: MethodOption = "agent",
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Seed of the method's random choices.")] = 0,
    parallel: ParallelOption = 2,
    ray: Annotated[
        str | None,
        typer.Option("--ray", help="Let a Ray cluster's workers run the examples: HOST:PORT, or local."),
    ] = None,
    max_tokens: MaxTokensOption = None,
    max_usd: MaxUsdOption = None,
    racing: RacingOption = True,
    llm: LlmOption = None,
    without_insight: InsightsOption = [],  # noqa: B006  (typer copies it)
    experience: Annotated[
        str | None,
        typer.Option("--experience", help="Study of a similar task in the same store, for mlcopilot.", metavar="STUDY"),
    ] = None,
    study: StudyOption = None,
    track: TrackOption = [],  # noqa: B006  (typer copies it)
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Search an environment. Running the same command again resumes it."""
    from agenttts.cli.problem import Problem
    from agenttts.cli.run import Job, Settings, run_search
    from agenttts.loop import Limits

    limits = Limits(trials=trials, max_tokens=max_tokens, max_usd=max_usd)
    problem = Problem.create(
        env,
        data=data,
        endpoints=endpoint,
        serving=_serving(serve, endpoint, weights, gpus),
        budget=budget,
        budgets=budgets,
        cost=cost,
        throughput=throughput,
        parallel=parallel,
    )
    job = Job.create(
        problem,
        method,
        seed=seed,
        llm=llm,
        insights_off=frozenset(without_insight),
        experience=None if experience is None else _archive(store, experience),
        study=study,
    )
    settings = Settings(limits=limits, parallel=parallel, racing=racing, store=store, ray=ray)
    run_search(problem, job, settings, track)


@app.command()
def compare(
    env: Env,
    data: DataOption = None,
    endpoint: EndpointOption = [],  # noqa: B006  (typer copies it)
    serve: ServeOption = None,
    weights: WeightsOption = [],  # noqa: B006
    gpus: GpusOption = None,
    methods: Annotated[str, typer.Option("--methods", help="Comma-separated.")] = "agent,random,grid,tpe",
    seeds: SeedsOption = 5,
    budget: BudgetOption = None,
    cost: CostOption = None,
    throughput: ThroughputOption = None,
    trials: TrialsOption = 20,
    parallel: ParallelOption = 2,
    racing: RacingOption = True,
    llm: LlmOption = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Run several methods with several seeds on one environment, and print one table."""
    from agenttts.cli.problem import Problem
    from agenttts.cli.run import Settings, run_comparison
    from agenttts.loop import Limits
    from agenttts.report import comparison_table

    settings = Settings(limits=Limits(trials=trials), parallel=parallel, racing=racing, store=store)
    problem = Problem.create(
        env,
        data=data,
        endpoints=endpoint,
        serving=_serving(serve, endpoint, weights, gpus),
        budget=budget,
        cost=cost,
        throughput=throughput,
        parallel=parallel,
    )
    names = [name.strip() for name in methods.split(",") if name.strip()]
    comparisons = run_comparison(problem, names, seeds, settings, llm=llm, quiet=as_json)
    _show([each.as_dict() for each in comparisons], comparison_table(comparisons), as_json)


@app.command()
def record(
    env: Env,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The table: .csv, .csv.gz or .parquet.", metavar="FILE")
    ],
    data: DataOption = None,
    endpoint: EndpointOption = [],  # noqa: B006  (typer copies it)
    serve: ServeOption = None,
    weights: WeightsOption = [],  # noqa: B006
    gpus: GpusOption = None,
    levels: Annotated[
        str, typer.Option("--levels", help="Numbers of samples to record, comma-separated.")
    ] = "1,2,4,8,16",
    budget: BudgetOption = None,
    cost: CostOption = None,
    throughput: ThroughputOption = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="Stop when this run has bought as many.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Record every allocation on sample levels as a table to search. Running the same command again resumes it."""
    from agenttts.cli.problem import Problem
    from agenttts.cli.record import run_record

    problem = Problem.create(
        env,
        data=data,
        endpoints=endpoint,
        serving=_serving(serve, endpoint, weights, gpus),
        budget=budget,
        cost=cost,
        throughput=throughput,
    )
    run_record(problem, levels, output, store=store, max_tokens=max_tokens)


@app.command()
def ablate(
    env: Env,
    data: DataOption = None,
    endpoint: EndpointOption = [],  # noqa: B006  (typer copies it)
    serve: ServeOption = None,
    weights: WeightsOption = [],  # noqa: B006
    gpus: GpusOption = None,
    seeds: SeedsOption = 5,
    budget: BudgetOption = None,
    cost: CostOption = None,
    throughput: ThroughputOption = None,
    trials: TrialsOption = 20,
    parallel: ParallelOption = 2,
    llm: LlmOption = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Run the agent as it is and without each of its parts, with the same seeds, and print one table."""
    from agenttts.cli.ablation import ABLATION_NOTES, run_ablations
    from agenttts.cli.problem import Problem
    from agenttts.cli.run import Settings
    from agenttts.loop import Limits
    from agenttts.report import comparison_table

    settings = Settings(limits=Limits(trials=trials), parallel=parallel, racing=True, store=store)
    problem = Problem.create(
        env,
        data=data,
        endpoints=endpoint,
        serving=_serving(serve, endpoint, weights, gpus),
        budget=budget,
        cost=cost,
        throughput=throughput,
        parallel=parallel,
    )
    comparisons = run_ablations(problem, seeds, settings, llm=llm, quiet=as_json)
    _show([each.as_dict() for each in comparisons], comparison_table(comparisons, ABLATION_NOTES), as_json)


@app.command()
def calibrate(
    env: Env,
    data: DataOption = None,
    endpoint: EndpointOption = [],  # noqa: B006  (typer copies it)
    serve: ServeOption = None,
    weights: WeightsOption = [],  # noqa: B006
    gpus: GpusOption = None,
    batches: Annotated[
        str, typer.Option("--batches", help="Numbers of requests at once, comma-separated.", metavar="LIST")
    ] = "1,4,16,64",
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, help="Runs of each mixture of prompt and completion.")
    ] = 3,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write, for --throughput.", metavar="FILE")
    ] = Path("throughput.yaml"),
    as_json: JsonOption = False,
) -> None:
    """Measure the tokens per second of an environment's models, as `--cost gpu_seconds` needs them."""
    from agenttts.cli.calibrate import measured_rows, measured_table, run_calibration

    measured = run_calibration(
        env,
        data=data,
        endpoints=endpoint,
        serving=_serving(serve, endpoint, weights, gpus),
        batches=batches,
        repeats=repeats,
        output=output,
    )
    _show(measured_rows(measured), measured_table(measured), as_json)


@app.command("serve")
def serve_models(
    env: Env,
    data: DataOption = None,
    endpoint: EndpointOption = [],  # noqa: B006  (typer copies it)
    weights: WeightsOption = [],  # noqa: B006
    gpus: GpusOption = None,
    context: Annotated[
        int | None, typer.Option("--context", min=16, help="Most tokens of a prompt and its completion.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=1, max=65000, help="Where the first server listens; free ports if left out."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only print which model goes where; --gpus needs no GPU.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Serve an environment's models with vLLM until Ctrl-C, or plan which model goes on which GPU."""
    from agenttts.cli.serve import VllmOptions, plan_rows, plan_table, planned_serving, run_serve

    if as_json and not plan:
        raise ConfigError("--json prints a plan: give --plan with it")
    options = VllmOptions(weights=weights, gpus=gpus, context=context, port=port, swaps=False, planned=plan)
    if not plan:
        run_serve(env, data=data, endpoints=endpoint, options=options)
        return
    serving = planned_serving(env, data=data, endpoints=endpoint, options=options)
    _show(plan_rows(serving.placement), plan_table(serving), as_json)


@app.command()
def simulate(
    task: Annotated[str, typer.Argument(help="A task of the paper: hotpotqa, ...", metavar="TASK")],
    data: Annotated[str, typer.Option("--data", help="Its dataset, as for search.", metavar="PATH_OR_HUB_ID")],
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where to listen on this machine.")] = 8000,
    fault: Annotated[
        list[str],
        typer.Option(
            "--fault",
            help="Share of the requests that go wrong (repeatable): rate_limit, error, slow, cut or garbled.",
            metavar="KIND=SHARE",
        ),
    ] = [],  # noqa: B006  (typer copies it)
    most_n: Annotated[
        int | None, typer.Option("--most-n", help="Refuse requests for more choices than that; 1: no n at all.")
    ] = None,
) -> None:
    """Serve simulated models of a task over the OpenAI protocol: a rehearsal without any LLM."""
    from agenttts.cli.simulate import run_simulation
    from agenttts.simulation import Faults, Simulation

    run_simulation(Simulation(task, data, faults=Faults.parse(fault, most_n=most_n)), data, port=port)


@app.command()
def studies(store: StoreOption = DEFAULT_STORE, as_json: JsonOption = False) -> None:
    """List the studies of a store."""
    from agenttts.report import studies_table, study_row

    opened = open_store(store)
    rows = [study_row(opened, study) for study in opened.studies()]
    _show(rows, studies_table(rows), as_json)


@app.command()
def trials(
    study: StudyArgument = None,
    by_score: Annotated[bool, typer.Option("--by-score", help="Best first instead of in order.")] = False,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """List the trials of a study."""
    from agenttts.cost import cost_model
    from agenttts.report import trial_row, trials_table

    opened = open_store(store)
    found = opened.study(study)
    listed = list(opened.archive(found).trials)
    if by_score:
        listed.sort(key=lambda trial: -trial.evaluation.score)
    rows = [trial_row(trial, opened.validation(found, trial.allocation)) for trial in listed]
    unit, label = cost_model(found.spec.cost_model).unit, found.details.get("recorded", "")
    _show(rows, trials_table(listed, unit, label=label), as_json)


@app.command()
def trace(
    study: StudyArgument = None,
    trial: Annotated[
        int | None, typer.Option("--trial", help="Only this trial: what led to it, its stages and its examples.")
    ] = None,
    prompts: Annotated[bool, typer.Option("--prompts", help="With the planner's prompts and replies.")] = False,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Show why each trial was tried: the agent's graph, node by node, with what came of it and what was refused."""
    from rich.console import Group
    from rich.text import Text

    from agenttts.report import Findings, answer_lines, step_row, trace_lines, trace_rows

    opened = open_store(store)
    found = opened.study(study)
    numbers = {each.number for each in opened.archive(found).trials}
    if trial is not None and trial not in numbers:
        raise ConfigError(f"study {found.name!r} has no trial {trial}; it has 1 to {max(numbers, default=0)}")
    lines = trace_lines(opened, found, trial, prompts=prompts)
    if trial is None and numbers:
        lines.insert(0, ("the answer", "\n".join(answer_lines(Findings.read(opened, found)))))
    text = [Text.assemble((heading, "bold"), f"\n{body}\n" if body else "\n") for heading, body in lines]
    steps = [step_row(step) for step in opened.steps(found)]
    rows = steps if trial is None else trace_rows(opened, found, trial)
    _show(rows, Group(Text(f"study {found.name}\n"), *text), as_json)


@app.command()
def best(
    study: StudyArgument = None,
    budget: Annotated[
        float | None, typer.Option("--budget", help="A smaller budget than the study's largest; nothing is bought.")
    ] = None,
    form: Annotated[Literal["yaml", "json"], typer.Option("--format", help="yaml or json.")] = "yaml",
    as_json: JsonOption = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Print the recommended allocation of a study, ready to be kept in a file."""
    import yaml

    from agenttts.report import recommendation

    opened = open_store(store)
    data = recommendation(opened, opened.study(study), budget)
    plain_json = as_json or form == "json"
    typer.echo(json.dumps(data, indent=2) if plain_json else yaml.safe_dump(data, sort_keys=False).rstrip())


@app.command()
def watch(
    study: StudyArgument = None,
    every: Annotated[
        float, typer.Option("--every", min=0.1, help="Seconds between looks at the store.", metavar="SECONDS")
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once; as without a terminal.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Watch a study that another process searches: best, spend, newest trials, last guideline. Ctrl-C ends it."""
    from agenttts.cli.watch import run_watch

    run_watch(open_store(store), study, every_s=every, once=once)


@app.command()
def export(
    study: StudyArgument = None,
    optuna: Annotated[
        str, typer.Option("--optuna", help="An Optuna storage, as for optuna-dashboard.", metavar="URL")
    ] = "sqlite:///optuna.db",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write a study into an Optuna storage, in place of an earlier export, so that optuna-dashboard shows it."""
    from agenttts.chat import shown_url
    from agenttts.tracking import export_to_optuna

    opened = open_store(store)
    found = opened.study(study)
    count = export_to_optuna(opened, found, optuna)
    typer.echo(f"wrote {count} trials of study {found.name} to {shown_url(optuna)}")


@app.command("serve-pipeline")
def serve_pipeline(
    source: Annotated[
        str,
        typer.Argument(help="An allocation file (`best` prints one), or a study's name.", metavar="FILE_OR_STUDY"),
    ],
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where to listen; any free one when 0.")] = 8080,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.001, help="Seconds that one answer may take.", metavar="SECONDS")
    ] = 120.0,
    data: DataOption = None,
    endpoint: EndpointOption = [],  # noqa: B006  (typer copies it)
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Serve a recommended allocation as an OpenAI-compatible endpoint."""
    from agenttts.cli.deploy import run_pipeline

    run_pipeline(source, store=store, data=data, endpoints=endpoint, timeout_s=timeout, host=host, port=port)


@app.command()
def frontier(study: StudyArgument = None, store: StoreOption = DEFAULT_STORE, as_json: JsonOption = False) -> None:
    """Show what each budget of a study buys, and its Pareto-optimal trials."""
    from rich.console import Group
    from rich.text import Text

    from agenttts.cost import cost_model
    from agenttts.report import frontier_row, frontier_table, pareto_table, study_frontier

    opened = open_store(store)
    shown = opened.study(study)
    found = study_frontier(opened, shown)
    table = frontier_table(found, cost_model(shown.spec.cost_model).unit)
    heading = Text("\nPareto-optimal trials (dearer only where expected to score higher)", "bold")
    _show(frontier_row(found, shown), Group(table, heading, pareto_table(found)), as_json)


@app.command()
def report(
    studies: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names of studies, or patterns such as 'minihop-*'; the newest when left out. Several are compared.",
            metavar="STUDY...",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.", metavar="FILE")] = Path("report.html"),
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write what was found, how sure it is and why each trial was tried, as one HTML file that needs nothing else."""
    from agenttts.report import read_findings, report_html

    page = report_html(read_findings(open_store(store), studies or ()))
    try:
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {str(output)!r}: {error.strerror}") from error
    typer.echo(f"wrote {output}")


@app.command()
def environments(as_json: JsonOption = False) -> None:
    """List the registered environments."""
    from rich.text import Text

    from agenttts.environments.registry import environment_names

    names = environment_names()
    rows = [{"name": name, "defined_in": target} for name, target in names.items()]
    _show(rows, Text("\n".join(f"{name:<20} {target}" for name, target in names.items())), as_json)


def main() -> None:
    """Entry point: errors are one sentence and an exit code, ours as well as typer's own."""
    try:
        code = app(standalone_mode=False)
    except AgentTTSError as error:
        _fail(str(error), error.exit_code)
    except TyperException as error:
        usage = error.format_message().replace(": Value error, ", ": ").rstrip(".")
        # Without arguments it has printed the help already, and has no more to say.
        _fail(f"{usage}; --help tells more" if usage else "", error.exit_code)
    if code == _INTERRUPTED:
        typer.echo("interrupted: run the same command again to go on", err=True)
    sys.exit(code)


def _fail(message: str, code: int) -> NoReturn:
    """Say it in one line, whatever it quotes, and end."""
    line = " ".join("".join(c if c.isprintable() else " " for c in message).split())
    if line:
        typer.echo(f"error: {line}" if code else line, err=True)
    sys.exit(code)


def _archive(store: str, study: str) -> Archive:
    opened = open_store(store)
    try:
        return opened.archive(opened.study(study))
    finally:
        opened.close()


def _serving(
    serve: str | None, endpoints: list[str], weights: list[str], gpus: str | None
) -> Callable[[Pipeline], Serving] | None:
    """What makes the servers that a search starts; None when it starts none."""
    if serve is None:
        if weights or gpus:
            raise ConfigError(
                f"{'--weights' if weights else '--gpus'} is for models that are served: give --serve vllm"
            )
        return None
    from agenttts.cli.serve import VllmOptions

    return VllmOptions(weights=weights, gpus=gpus).serving(endpoints)


def open_store(store: str) -> Store:
    """A store that exists: reading commands must not create one."""
    from agenttts.db import Store

    if "://" not in store and not Path(store).expanduser().is_file():
        raise ConfigError(f"there is no store {store!r}: run `agenttts search` first, or give another --store")
    return Store(store)


def _show(data: Any, renderable: Any, as_json: bool) -> None:
    from agenttts.cli.console import open_console

    if as_json:
        typer.echo(json.dumps(data, indent=2, allow_nan=False))
        return
    open_console().print(renderable)

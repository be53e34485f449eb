"""Commands that pay for requests: searching an environment, comparing methods and the agent's parts on it, recording
it, measuring its models.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agenttts.cli.options import (
    DEFAULT_STORE,
    BaselineOption,
    BudgetOption,
    BudgetsOption,
    ConfirmOption,
    CostOption,
    CounterfactualsOption,
    DataOption,
    DryRunOption,
    EndpointOption,
    Env,
    ExperienceOption,
    GiveUpOption,
    GpusOption,
    InFlightOption,
    InsightsOption,
    JsonOption,
    LlmHeaderOption,
    LlmKeyOption,
    LlmOption,
    LlmTimeoutOption,
    LlmUrlOption,
    MaxTokensOption,
    MaxUsdOption,
    MethodOption,
    ParallelOption,
    RacingOption,
    RetriesOption,
    SeedsOption,
    ServeOption,
    ShareOption,
    StoreOption,
    StudyOption,
    ThroughputOption,
    TimeoutOption,
    TrackOption,
    TrialsOption,
    WeightsOption,
)
from agenttts.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agenttts.pipeline import Pipeline
    from agenttts.serving import Serving


def search(
    env: Env,
    data: DataOption = None,
    endpoint: EndpointOption = [],  # noqa: B006  (typer copies it)
    serve: ServeOption = None,
    weights: WeightsOption = [],  # noqa: B006
    gpus: GpusOption = None,
    budget: BudgetOption = None,
    budgets: BudgetsOption = None,
    baseline: BaselineOption = None,
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
    give_up_after: GiveUpOption = 10.0,
    timeout: TimeoutOption = None,
    max_in_flight: InFlightOption = None,
    retries: RetriesOption = None,
    racing: RacingOption = True,
    counterfactuals: CounterfactualsOption = True,
    llm: LlmOption = None,
    llm_base_url: LlmUrlOption = None,
    llm_key_env: LlmKeyOption = None,
    llm_header: LlmHeaderOption = [],  # noqa: B006
    llm_timeout: LlmTimeoutOption = None,
    share_examples: ShareOption = False,
    without_insight: InsightsOption = [],  # noqa: B006  (typer copies it)
    experience: ExperienceOption = [],  # noqa: B006
    study: StudyOption = None,
    track: TrackOption = [],  # noqa: B006  (typer copies it)
    store: StoreOption = DEFAULT_STORE,
    dry_run: DryRunOption = False,
    confirm_above: ConfirmOption = 5.0,
) -> None:
    """Search an environment. Running the same command again resumes it."""
    from agenttts.cli.problem import Problem, Waiting
    from agenttts.cli.run import PlannerModel, plan, run_search, show_forecast, taught
    from agenttts.searching.progress import Limits

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
        waiting=Waiting(give_up_after, timeout, max_in_flight, retries),
    )
    planned = plan(
        problem,
        method,
        seed=seed,
        llm=PlannerModel.parse(llm, llm_base_url, llm_key_env, llm_header, llm_timeout, share_examples, give_up_after),
        store=store,
        limits=Limits(trials=trials, max_tokens=max_tokens, max_usd=max_usd),
        parallel=parallel,
        insights_off=frozenset(without_insight),
        experience=experience,
        racing=racing,
        baseline=problem.baseline(baseline),
        counterfactuals=counterfactuals,
        study=study,
        ray=ray,
    )
    (planned,) = taught([planned], store)
    if dry_run:
        show_forecast(problem, planned)
    else:
        run_search(problem, planned, track, confirm_above=confirm_above)


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
    baseline: BaselineOption = None,
    cost: CostOption = None,
    throughput: ThroughputOption = None,
    trials: TrialsOption = 20,
    parallel: ParallelOption = 2,
    give_up_after: GiveUpOption = 10.0,
    timeout: TimeoutOption = None,
    max_in_flight: InFlightOption = None,
    retries: RetriesOption = None,
    racing: RacingOption = True,
    counterfactuals: CounterfactualsOption = True,
    llm: LlmOption = None,
    llm_base_url: LlmUrlOption = None,
    llm_key_env: LlmKeyOption = None,
    llm_header: LlmHeaderOption = [],  # noqa: B006
    llm_timeout: LlmTimeoutOption = None,
    share_examples: ShareOption = False,
    experience: ExperienceOption = [],  # noqa: B006
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Run several methods with several seeds on one environment, and print one table."""
    from agenttts.cli.console import show
    from agenttts.cli.problem import Problem, Waiting
    from agenttts.cli.run import PlannerModel, plan, run_comparison
    from agenttts.report import comparison_table
    from agenttts.searching.progress import Limits

    problem = Problem.create(
        env,
        data=data,
        endpoints=endpoint,
        serving=_serving(serve, endpoint, weights, gpus),
        budget=budget,
        cost=cost,
        throughput=throughput,
        parallel=parallel,
        waiting=Waiting(give_up_after, timeout, max_in_flight, retries),
    )
    limits = Limits(trials=trials)
    planned = partial(
        plan,
        problem,
        store=store,
        limits=limits,
        parallel=parallel,
        racing=racing,
        baseline=problem.baseline(baseline),
        counterfactuals=counterfactuals,
    )
    names = [name.strip() for name in methods.split(",") if name.strip()]
    asked = PlannerModel.parse(llm, llm_base_url, llm_key_env, llm_header, llm_timeout, share_examples, give_up_after)
    comparisons = run_comparison(problem, planned, names, seeds, llm=asked, experience=experience, quiet=as_json)
    show([each.as_dict() for each in comparisons], comparison_table(comparisons), as_json)


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
        int | None, typer.Option("--max-tokens", min=1, help="Stop when this run has paid for as many.")
    ] = None,
    give_up_after: GiveUpOption = 10.0,
    timeout: TimeoutOption = None,
    max_in_flight: InFlightOption = None,
    retries: RetriesOption = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Record every allocation on sample levels as a table to search. Running the same command again resumes it."""
    from agenttts.cli.problem import Problem, Waiting
    from agenttts.cli.record import run_record

    problem = Problem.create(
        env,
        data=data,
        endpoints=endpoint,
        serving=_serving(serve, endpoint, weights, gpus),
        budget=budget,
        cost=cost,
        throughput=throughput,
        waiting=Waiting(give_up_after, timeout, max_in_flight, retries),
    )
    run_record(problem, levels, output, store=store, max_tokens=max_tokens)


def ablate(
    env: Env,
    data: DataOption = None,
    endpoint: EndpointOption = [],  # noqa: B006  (typer copies it)
    serve: ServeOption = None,
    weights: WeightsOption = [],  # noqa: B006
    gpus: GpusOption = None,
    seeds: SeedsOption = 5,
    budget: BudgetOption = None,
    baseline: BaselineOption = None,
    cost: CostOption = None,
    throughput: ThroughputOption = None,
    trials: TrialsOption = 20,
    parallel: ParallelOption = 2,
    give_up_after: GiveUpOption = 10.0,
    timeout: TimeoutOption = None,
    max_in_flight: InFlightOption = None,
    retries: RetriesOption = None,
    llm: LlmOption = None,
    llm_base_url: LlmUrlOption = None,
    llm_key_env: LlmKeyOption = None,
    llm_header: LlmHeaderOption = [],  # noqa: B006
    llm_timeout: LlmTimeoutOption = None,
    share_examples: ShareOption = False,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Run the agent as it is and without each of its parts, with the same seeds, and print one table."""
    from agenttts.cli.ablation import ABLATION_NOTES, run_ablations
    from agenttts.cli.console import show
    from agenttts.cli.problem import Problem, Waiting
    from agenttts.cli.run import PlannerModel, plan
    from agenttts.report import comparison_table
    from agenttts.searching.progress import Limits

    problem = Problem.create(
        env,
        data=data,
        endpoints=endpoint,
        serving=_serving(serve, endpoint, weights, gpus),
        budget=budget,
        cost=cost,
        throughput=throughput,
        parallel=parallel,
        waiting=Waiting(give_up_after, timeout, max_in_flight, retries),
    )
    limits, used = Limits(trials=trials), problem.baseline(baseline)
    planned = partial(plan, problem, store=store, limits=limits, parallel=parallel, baseline=used)
    asked = PlannerModel.parse(llm, llm_base_url, llm_key_env, llm_header, llm_timeout, share_examples, give_up_after)
    comparisons = run_ablations(problem, planned, seeds, llm=asked, quiet=as_json)
    show([each.as_dict() for each in comparisons], comparison_table(comparisons, ABLATION_NOTES), as_json)


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
    from agenttts.cli.console import show

    measured = run_calibration(
        env,
        data=data,
        endpoints=endpoint,
        serving=_serving(serve, endpoint, weights, gpus),
        batches=batches,
        repeats=repeats,
        output=output,
    )
    show(measured_rows(measured), measured_table(measured), as_json)


def check(
    env: Env,
    data: DataOption = None,
    endpoint: EndpointOption = [],  # noqa: B006  (typer copies it)
    example: Annotated[
        str | None, typer.Option("--example", help="Its id; the first one when left out.", metavar="ID")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run one example through every model: prompts, replies, parsed values, score, token lengths, seconds."""
    from rich.text import Text

    from agenttts.cli.check import check_lines, check_rows, run_check
    from agenttts.cli.console import show
    from agenttts.cli.problem import parse_endpoints
    from agenttts.environments import environment

    found = environment(env, data=data, endpoints=parse_endpoints(endpoint))
    runs = run_check(found, example)
    show(check_rows(found, runs), Text("\n".join(check_lines(found, runs))), as_json)


def init(
    file: Annotated[Path, typer.Argument(help="The file to write.", metavar="FILE")] = Path("pipeline.py"),
    kind: Annotated[
        Literal["plain", "langgraph", "dspy", "openai"],
        typer.Option("--kind", help="What the pipeline is written in: plain, langgraph, dspy or openai."),
    ] = "plain",
) -> None:
    """Write a small pipeline that runs, with examples, as a start for your own."""
    from agenttts.cli.init import write_starter

    write_starter(file, kind)


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
    from agenttts.cli.servers import ServerOptions

    return ServerOptions(engine=serve, weights=weights, gpus=gpus).serving(endpoints)

"""Commands that serve: models, simulated models, and a pipeline that was found."""

from __future__ import annotations

from typing import Annotated

import typer

from agenttts.cli.options import (
    DataOption,
    EndpointOption,
    Env,
    GpusOption,
    JsonOption,
    ReadStoreOption,
    StudyArgument,
    WeightsOption,
)
from agenttts.errors import ConfigError


def serve(
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
    from agenttts.cli.console import show
    from agenttts.cli.servers import ServerOptions, plan_rows, plan_table, planned_serving, run_serve

    if as_json and not plan:
        raise ConfigError("--json prints a plan: give --plan with it")
    options = ServerOptions(weights=weights, gpus=gpus, context=context, port=port, swaps=False, planned=plan)
    if not plan:
        run_serve(env, data=data, endpoints=endpoint, options=options)
        return
    serving = planned_serving(env, data=data, endpoints=endpoint, options=options)
    show(plan_rows(serving.placement), plan_table(serving), as_json)


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
        int | None, typer.Option("--most-n", help="Reject requests for more choices than that; 1: no n at all.")
    ] = None,
) -> None:
    """Serve simulated models of a task over the OpenAI protocol: a rehearsal without any LLM."""
    from agenttts.cli.simulate import run_simulation
    from agenttts.simulation import Faults, Simulation

    run_simulation(Simulation(task, data, faults=Faults.parse(fault, most_n=most_n)), data, port=port)


def view(
    study: StudyArgument = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where to listen; any free one when 0.")] = 8050,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    token_env: Annotated[
        str | None,
        typer.Option(
            "--token-env",
            help="Environment variable of a token that browsers need; required for any --host but loopback.",
            metavar="NAME",
        ),
    ] = None,
    store: ReadStoreOption = None,
) -> None:
    """Show a store in a browser, live: studies, trials, examples, what the models were asked and what they said."""
    from agenttts.cli.view import run_view

    run_view(study, store=store, host=host, port=port, token_env=token_env)


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
    token_env: Annotated[
        str | None,
        typer.Option(
            "--token-env",
            help="Environment variable of the bearer token that requests need; required for any --host but loopback.",
            metavar="NAME",
        ),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Import, read and ask whatever environment, data and endpoints the file names."),
    ] = False,
    data: DataOption = None,
    endpoint: EndpointOption = [],  # noqa: B006  (typer copies it)
    store: ReadStoreOption = None,
) -> None:
    """Serve a recommended allocation as an OpenAI-compatible endpoint."""
    from agenttts.cli.deploy import run_pipeline

    run_pipeline(
        source,
        store=store,
        data=data,
        endpoints=endpoint,
        timeout_s=timeout,
        host=host,
        port=port,
        trust=trust,
        token_env=token_env,
    )

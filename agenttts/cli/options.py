"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from agenttts.errors import ConfigError

DEFAULT_STORE = "agenttts.db"
_MOST_DIGITS = 18
CostName = Literal["paper", "flops", "usd", "gpu_seconds", "kinetics"]


def _lasting(store: str) -> str:
    """A store that outlives the command: what has been paid for is to stay.

    Raises:
        ConfigError: When it lies in memory.
    """
    from agenttts.db import in_memory

    if in_memory(store):
        raise ConfigError(
            f"the store {store!r} would lie in memory, and what is paid for be gone with this command: give the path "
            "of a file, as in --store runs.db"
        )
    return store


Env = Annotated[str, typer.Argument(help="Registered name, module:attribute or path.py:attribute.", metavar="ENV")]
DataOption = Annotated[
    str | None,
    typer.Option("--data", help="Examples of a task that brings none: a path or a Hub id.", metavar="PATH_OR_HUB_ID"),
]
EndpointOption = Annotated[
    list[str],
    typer.Option("--endpoint", help="Where a model is served (repeatable); else OPENAI_BASE_URL.", metavar="MODEL=URL"),
]
ServeOption = Annotated[
    Literal["vllm", "sglang"] | None,
    typer.Option(
        "--serve", help="Start servers of the models without --endpoint on this machine's GPUs: vllm or sglang."
    ),
]
WeightsOption = Annotated[
    list[str],
    typer.Option(
        "--weights",
        help="Weights to serve (repeatable): MODEL=FOLDER_OR_HUB_ID, or a folder that holds one folder per model.",
        metavar="MODEL=WEIGHTS",
    ),
]
GpusOption = Annotated[
    str | None, typer.Option("--gpus", help="Use only so many GPUs, and GiB of each: 1x80.", metavar="COUNTxGIB")
]
StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="AGENTTTS_STORE",
        help="SQLite file or postgresql:// URL of the store.",
        callback=_lasting,
    ),
]
ReadStoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="AGENTTTS_STORE",
        help=f"SQLite file or postgresql:// URL of the store; else {DEFAULT_STORE}, or the store that was last written "
        "in this folder.",
    ),
]
StudyArgument = Annotated[str | None, typer.Argument(help="Name of a study; the newest when left out.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        "--budget",
        help="Most that one query may cost, in the cost's unit (MFLOP, USD, ...) or as in 2.8PFLOP; left out: what "
        "some allocations cost.",
        metavar="AMOUNT",
    ),
]
BudgetsOption = Annotated[
    str | None,
    typer.Option(
        "--budgets",
        help="Several budgets for one search, ascending: 300,600,900, or 300:900:3 (3 from 300 to 900, evenly spaced).",
        metavar="LIST",
    ),
]
BaselineOption = Annotated[
    Path | None,
    typer.Option(
        "--baseline",
        help="What is used today, as an allocation file: a trial to compare with. Left out: the largest models that "
        "fit, once.",
        metavar="FILE",
    ),
]
CostOption = Annotated[
    CostName | None,
    typer.Option("--cost", help="What the budget counts: paper, flops, usd, gpu_seconds or kinetics.", metavar="NAME"),
]
ThroughputOption = Annotated[
    Path | None,
    typer.Option("--throughput", help="What `calibrate` measured, for --cost gpu_seconds.", metavar="FILE"),
]
TrialsOption = Annotated[int, typer.Option("--trials", help="Trials in the study, earlier runs included.")]
SeedsOption = Annotated[int, typer.Option("--seeds", help="Runs per method, with seeds 0, 1, ...")]
ParallelOption = Annotated[int, typer.Option("--parallel", help="Trials proposed and evaluated at once.")]
MaxTokensOption = Annotated[int | None, typer.Option("--max-tokens", help="Stop when the study has paid for as many.")]
MaxUsdOption = Annotated[float | None, typer.Option("--max-usd", help="Stop when the study has spent as much.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what the search will take, model by model, and stop.")
]
ConfirmOption = Annotated[
    float,
    typer.Option("--confirm-above", min=0, help="On a terminal, ask before a search that will take more dollars."),
]
GiveUpOption = Annotated[
    float,
    typer.Option("--give-up-after", help="Minutes without any answer after which an endpoint is given up."),
]
TimeoutOption = Annotated[
    float | None, typer.Option("--timeout", help="Seconds that one request may take, its answer included: 120.")
]
InFlightOption = Annotated[
    int | None,
    typer.Option("--max-in-flight", min=1, help="Requests under way at once: 64, fewer where a server is too slow."),
]
RetriesOption = Annotated[
    int | None, typer.Option("--retries", min=0, help="Further attempts of a request that got no answer: 5.")
]
RacingOption = Annotated[
    bool, typer.Option("--racing/--no-racing", help="Stop a trial early that is surely worse than the best.")
]
CounterfactualsOption = Annotated[
    bool,
    typer.Option(
        "--counterfactuals/--no-counterfactuals",
        help="Score fewer samples and other operators by the samples of a trial, at no cost.",
    ),
]
LlmOption = Annotated[
    str | None,
    typer.Option(
        "--llm", help="Model that the method asks (OPENAI_API_KEY, OPENAI_BASE_URL); 'none': the agent plans by rules."
    ),
]
LlmUrlOption = Annotated[
    str | None, typer.Option("--llm-base-url", help="Where --llm is asked; else OPENAI_BASE_URL.", metavar="URL")
]
LlmKeyOption = Annotated[
    str | None,
    typer.Option("--llm-key-env", help="Environment variable of its key; else OPENAI_API_KEY.", metavar="NAME"),
]
LlmHeaderOption = Annotated[
    list[str],
    typer.Option("--llm-header", help="Further header of --llm, its value from a variable.", metavar="NAME=VARIABLE"),
]
LlmTimeoutOption = Annotated[
    float | None, typer.Option("--llm-timeout", help="Minutes that one reply of --llm may take: 30.", metavar="MINUTES")
]
ShareOption = Annotated[
    bool,
    typer.Option(
        "--share-examples", help="Show --llm examples that fail, also where it is asked elsewhere than the stages."
    ),
]
ExperienceOption = Annotated[
    list[str],
    typer.Option(
        "--experience", help="Begin with what a study of the store taught (repeatable), or all.", metavar="STUDY"
    ),
]
InsightsOption = Annotated[
    list[int], typer.Option("--without-insight", metavar="N", help="Switch insight 1, 2 or 3 off (repeatable).")
]
MethodOption = Annotated[
    str,
    typer.Option(
        "--method",
        help="agent, random, grid, tpe, gp, evolution, coordinate, halving, or a registered one; by an LLM: "
        "agenttts-paper, llm-zs, agenthpo, mlcopilot.",
    ),
]
TrackOption = Annotated[
    list[str],
    typer.Option("--track", help="Tell mlflow or wandb about the search, too (repeatable).", metavar="NAME"),
]
StudyOption = Annotated[
    str | None, typer.Option("--study", help="Name of the study; made from the settings if left out.")
]


def whole_numbers(text: str, option: str) -> list[int]:
    """The numbers of an option's text, each once, in order.

    Raises:
        ConfigError: When one is not a whole number >= 1, or there is none.
    """
    numbers = [part.strip() for part in text.split(",") if part.strip()] or [text]
    for number in numbers:
        if not number.isdecimal() or len(number) > _MOST_DIGITS or int(number) < 1:
            raise ConfigError(f"{option} must be whole numbers >= 1, separated by commas, not {number[:60]!r}")
    return list(dict.fromkeys(map(int, numbers)))

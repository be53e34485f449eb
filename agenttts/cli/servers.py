"""Serving an environment's models for the command line: what the options mean, the plan, and servers until Ctrl-C."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from agenttts.cli.console import open_console
from agenttts.cli.problem import parse_endpoints
from agenttts.environments import environment
from agenttts.errors import ConfigError
from agenttts.pipeline import Pipeline
from agenttts.serving import SglangServing, VllmServing
from agenttts.serving.gpu_servers import GpuServing
from agenttts.serving.gpus import found_cards, parse_cards
from agenttts.serving.placement import Placement

_ENGINES: dict[str, type[GpuServing]] = {"vllm": VllmServing, "sglang": SglangServing}


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """How models are served, as the command line says it."""

    engine: str = "vllm"
    weights: Sequence[str] = ()
    gpus: str | None = None
    context: int | None = None
    port: int | None = None
    swaps: bool = True
    planned: bool = False
    """Whether the GPUs are only thought of."""

    def serving(self, endpoints: Sequence[str]) -> Callable[[Pipeline], GpuServing]:
        """What makes the servers of the models that have no endpoint."""
        console = open_console(stderr=True)
        elsewhere = list(parse_endpoints(endpoints))

        def create(pipeline: Pipeline) -> GpuServing:
            names = [model.name for model in pipeline.models if model.name not in elsewhere]
            return _ENGINES[self.engine](
                pipeline,
                elsewhere=elsewhere,
                weights=parse_weights(self.weights, names),
                cards=parse_cards(self.gpus) if self.gpus and self.planned else found_cards(self.gpus),
                context=self.context,
                port=self.port,
                swaps=self.swaps,
                tell=lambda said: console.print(said, soft_wrap=True),
            )

        return create


def parse_weights(given: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Model name -> weights, of texts MODEL=WEIGHTS, or of a folder that holds one folder per model.

    Raises:
        ConfigError: On a model named twice, or a folder that holds none of these models.
    """
    found: dict[str, str] = {}
    for text in given:
        model, separator, source = text.partition("=")
        source = str(Path(source).expanduser()) if source.startswith("~") else source
        if source.startswith(("/", ".")) and not Path(source).is_dir():
            raise ConfigError(f"--weights {text}: there is no folder {source!r}")
        if separator:
            pairs = {model: source}
        else:
            pairs = {name: str(Path(text) / name) for name in names if (Path(text) / name).is_dir()}
        if not source and not pairs:
            raise ConfigError(
                f"--weights takes MODEL=WEIGHTS, or a folder with one for each model ({', '.join(names)}), not {text!r}"
            )
        if twice := found.keys() & pairs.keys():
            raise ConfigError(f"--weights names the model {min(twice)!r} twice: give each one")
        found |= pairs
    return found


def run_serve(env: str, *, data: str | None, endpoints: Sequence[str], options: ServerOptions) -> None:
    """Start the servers and keep them until interrupted."""
    console = open_console()
    serving = planned_serving(env, data=data, endpoints=endpoints, options=options)
    console.print(plan_table(serving))

    async def keep() -> None:
        urls = await serving.start()
        try:
            for name, url in urls.items():
                console.print(f"{name} at {url}", soft_wrap=True)
            console.print("serving until Ctrl-C")
            await asyncio.Event().wait()
        finally:
            await serving.stop()

    asyncio.run(keep())


def planned_serving(env: str, *, data: str | None, endpoints: Sequence[str], options: ServerOptions) -> GpuServing:
    """The servers of an environment's models, with a plan that holds.

    Raises:
        ConfigError: On no GPU, or too little memory.
    """
    made: list[GpuServing] = []

    def create(pipeline: Pipeline) -> GpuServing:
        made.append(options.serving(endpoints)(pipeline))
        return made[0]

    environment(env, data=data, endpoints=parse_endpoints(endpoints), serving=create)
    _ = made[0].placement
    return made[0]


def plan_rows(placement: Placement) -> list[dict[str, Any]]:
    """The plan, a model a row; memory in GiB on each of its cards."""
    return [
        {
            "model": each.demand.name,
            "shift": each.shift + 1,
            "gpus": list(each.cards),
            "weights_gib": round(each.demand.weights_gib / len(each.cards), 3),
            "kv_cache_gib": round(each.kv_gib, 3),
            "engine_gib": round(each.demand.engine_gib, 3),
            "gib": round(each.awake_gib, 3),
            "context": each.demand.context,
            "sequences": each.sequences,
        }
        for each in placement.placed
    ]


def plan_table(serving: GpuServing) -> Table:
    """The plan as a table, with what it leaves of each GPU."""
    placement = serving.placement
    table = Table(title=_title(placement), title_justify="left", caption=_caption(serving), caption_justify="left")
    for name in ("model", "shift", "GPUs"):
        table.add_column(name)
    for name in ("weights", "KV cache", "engine", "together", "sequences x tokens"):
        table.add_column(name, justify="right")
    for each in placement.placed:
        table.add_row(
            each.demand.name,
            str(each.shift + 1),
            ", ".join(map(str, each.cards)),
            f"{each.demand.weights_gib / len(each.cards):.1f}",
            f"{each.kv_gib:.1f}",
            f"{each.demand.engine_gib:.1f}",
            f"{each.awake_gib:.1f}",
            f"{each.sequences} x {each.demand.context:,}",
        )
    return table


def _title(placement: Placement) -> str:
    if placement.shifts == 1:
        return "All models at once: one shift"
    how = {"sleep": "vLLM's sleep mode", "restart": "stopping and starting servers", "none": ""}[placement.swap]
    return f"{placement.shifts} shifts, one awake at a time: `search --serve vllm` swaps by {how}, `serve` does not"


def _caption(serving: GpuServing) -> str:
    most = {
        card: max(serving.placement.used_gib(card.index, shift) for shift in range(serving.placement.shifts))
        for card in serving.cards
    }
    lines = ["Memory in GiB on each of a model's GPUs; sequences x tokens: what its KV cache holds"]
    lines += [f"GPU {card.index}: at most {used:.1f} of {card.free_gib:.1f} GiB used" for card, used in most.items()]
    return "\n".join(lines)

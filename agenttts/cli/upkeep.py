"""The store itself: its size, and making it smaller."""

from __future__ import annotations

from typing import Annotated

import typer

from agenttts.cli.options import JsonOption, ReadStoreOption
from agenttts.cli.store import open_store


def store(
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete the samples that no study uses: who wants them again pays again.")
    ] = False,
    vacuum: Annotated[
        bool, typer.Option("--vacuum", help="Give back to the disk what nothing takes any more; needs as much beside.")
    ] = False,
    store: ReadStoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a store takes and holds, and make it smaller."""
    from dataclasses import asdict

    from rich.text import Text

    from agenttts.cli.console import show

    opened = open_store(store)
    done: dict[str, int] = {}
    if prune:
        done["pruned_prompts"], done["pruned_samples"] = opened.upkeep.prune()
    if vacuum:
        done["freed_bytes"] = opened.upkeep.vacuum()
    size = opened.upkeep.size()
    lines = [
        f"{opened.location}: {_mib(size.bytes)}",
        f"{size.studies:,} studies, {size.trials:,} trials, {size.samples:,} samples of {size.prompts:,} prompts",
    ]
    if prune:
        gone = f"{done['pruned_samples']:,} samples of {done['pruned_prompts']:,} prompts"
        lines.append(f"deleted {gone} that no study used")
    if vacuum:
        lines.append(f"gave back {_mib(done['freed_bytes'])}")
    show({"store": opened.location, **asdict(size), **done}, Text("\n".join(lines)), as_json)


def _mib(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"

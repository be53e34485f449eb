"""What the models of a study were asked and what they said."""

from __future__ import annotations

from typing import Annotated

import typer

from agenttts.cli.options import JsonOption, ReadStoreOption, StudyArgument
from agenttts.cli.store import open_store


def samples(
    study: StudyArgument = None,
    trial: Annotated[int | None, typer.Option("--trial", help="Only this trial.", metavar="N")] = None,
    stage: Annotated[str | None, typer.Option("--stage", help="Only this stage.", metavar="NAME")] = None,
    example: Annotated[str | None, typer.Option("--example", help="Only this example.", metavar="ID")] = None,
    failed: Annotated[
        bool,
        typer.Option("--failed", help="Only examples that failed, or with samples that could not be used or were cut."),
    ] = False,
    store: ReadStoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the models were asked and what they said: prompts, samples, parsed values, votes, outputs."""
    from dataclasses import asdict

    from agenttts.cli.console import write_json_list, write_paged
    from agenttts.report import read_said, said_lines

    opened = open_store(store)
    said = read_said(opened, opened.study(study), trial=trial, stage=stage, example=example, failed=failed)
    if as_json:
        write_json_list(map(asdict, said))
        return
    if (first := next(said, None)) is None:
        nothing = "no example failed, and every sample could be used" if failed else "nothing has been asked yet"
        write_paged([nothing])
        return
    write_paged(said_lines([first]), said_lines(said))

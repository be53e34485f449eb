"""Commands that read what is there: a store's studies, and the registered environments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from agenttts.cli.options import JsonOption, ReadStoreOption, StudyArgument
from agenttts.cli.store import open_store
from agenttts.errors import ConfigError


def studies(store: ReadStoreOption = None, as_json: JsonOption = False) -> None:
    """List the studies of a store."""
    from agenttts.cli.console import show
    from agenttts.report import studies_table, study_row

    opened = open_store(store)
    rows = [study_row(opened, study) for study in opened.studies()]
    show(rows, studies_table(rows), as_json)


def trials(
    study: StudyArgument = None,
    by_score: Annotated[bool, typer.Option("--by-score", help="Best first instead of in order.")] = False,
    store: ReadStoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the trials of a study."""
    from rich.console import Group
    from rich.text import Text

    from agenttts.cli.console import show
    from agenttts.report import cost_notes, study_scale, trial_row, trials_table

    opened = open_store(store)
    found = opened.study(study)
    listed = list(opened.archive(found).trials)
    if by_score:
        listed.sort(key=lambda trial: -trial.evaluation.score)
    rows = [trial_row(trial, opened.validation(found, trial.allocation)) for trial in listed]
    label = found.details.get("recorded", "")
    notes = map(Text, cost_notes(found, listed))
    show(rows, Group(trials_table(listed, study_scale(found), label=label), *notes), as_json)


def trace(
    study: StudyArgument = None,
    trial: Annotated[
        int | None, typer.Option("--trial", help="Only this trial: what led to it, its stages and its examples.")
    ] = None,
    prompts: Annotated[bool, typer.Option("--prompts", help="With the planner's prompts and replies.")] = False,
    store: ReadStoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show why each trial was tried: the agent's graph, node by node, with what came of it and what was rejected."""
    from rich.console import Group
    from rich.text import Text

    from agenttts.cli.console import show
    from agenttts.report import Findings, answer_lines, cost_notes, step_row, trace_lines, trace_rows

    opened = open_store(store)
    found = opened.study(study)
    numbers = {each.number for each in opened.archive(found).trials}
    if trial is not None and trial not in numbers:
        others = f"it has 1 to {max(numbers)}" if numbers else "it has none"
        raise ConfigError(f"study {found.name!r} has no trial {trial}; {others}")
    lines = trace_lines(opened, found, trial, prompts=prompts)
    if trial is None and numbers:
        if notes := cost_notes(found, opened.archive(found).trials):
            lines.insert(0, ("costs", "\n".join(notes)))
        lines.insert(0, ("the answer", "\n".join(answer_lines(Findings.read(opened, found)))))
    text = [Text.assemble((heading, "bold"), f"\n{body}\n" if body else "\n") for heading, body in lines]
    steps = [step_row(step) for step in opened.steps(found)]
    rows = steps if trial is None else trace_rows(opened, found, trial)
    show(rows, Group(Text(f"study {found.name}\n"), *text), as_json)


def best(
    study: StudyArgument = None,
    budget: Annotated[
        str | None, typer.Option("--budget", help="A smaller budget than the study's largest; nothing is paid for.")
    ] = None,
    form: Annotated[Literal["yaml", "json"], typer.Option("--format", help="yaml or json.")] = "yaml",
    as_json: JsonOption = False,
    store: ReadStoreOption = None,
) -> None:
    """Print the recommended allocation of a study, ready to be kept in a file."""
    from agenttts._util.yaml_file import written
    from agenttts.cli.console import as_json_text, write_line
    from agenttts.cli.problem import parse_budget
    from agenttts.report import cost_notes, recommendation
    from agenttts.space.cost import cost_model

    opened = open_store(store)
    found = opened.study(study)
    within = None if budget is None else parse_budget(budget, cost_model(found.spec.cost_model).unit)
    data = recommendation(opened, found, within)
    for note in cost_notes(found, opened.archive(found).trials):
        write_line(note, stderr=True)
    plain_json = as_json or form == "json"
    write_line(as_json_text(data) if plain_json else written(data).rstrip())


def watch(
    study: StudyArgument = None,
    every: Annotated[
        float, typer.Option("--every", min=0.1, help="Seconds between looks at the store.", metavar="SECONDS")
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once; as without a terminal.")] = False,
    store: ReadStoreOption = None,
) -> None:
    """Watch a study that another process searches: best, spend, newest trials, last guideline. Ctrl-C ends it."""
    from agenttts.cli.watch import run_watch

    run_watch(open_store(store), study, every_s=every, once=once)


def export(
    study: StudyArgument = None,
    optuna: Annotated[
        str, typer.Option("--optuna", help="An Optuna storage, as for optuna-dashboard.", metavar="URL")
    ] = "sqlite:///optuna.db",
    store: ReadStoreOption = None,
) -> None:
    """Write a study into an Optuna storage, in place of an earlier export, so that optuna-dashboard shows it."""
    from agenttts.cli.console import write_line
    from agenttts.llm.endpoint import shown_url
    from agenttts.tracking import export_to_optuna

    opened = open_store(store)
    found = opened.study(study)
    count = export_to_optuna(opened, found, optuna)
    write_line(f"wrote {count} trials of study {found.name} to {shown_url(optuna)}")


def frontier(study: StudyArgument = None, store: ReadStoreOption = None, as_json: JsonOption = False) -> None:
    """Show what each budget of a study affords, and its Pareto-optimal trials."""
    from rich.console import Group
    from rich.text import Text

    from agenttts.cli.console import show
    from agenttts.report import frontier_row, frontier_table, pareto_table, study_frontier, study_scale

    opened = open_store(store)
    shown = opened.study(study)
    found, scale = study_frontier(opened, shown), study_scale(shown)
    table = frontier_table(found, scale)
    heading = Text("\nPareto-optimal trials (dearer only where expected to score higher)", "bold")
    show(frontier_row(found, shown), Group(table, heading, pareto_table(found, scale)), as_json)


def report(
    studies: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names of studies, or patterns such as 'minihop-*'; the newest when left out. Several are compared.",
            metavar="STUDY...",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.", metavar="FILE")] = Path("report.html"),
    store: ReadStoreOption = None,
) -> None:
    """Write what was found, how sure it is and why each trial was tried, as one HTML file that needs nothing else."""
    from agenttts._util.files import write_whole
    from agenttts.cli.console import write_line
    from agenttts.report import read_findings, report_html

    page = report_html(read_findings(open_store(store), studies or ()))
    write_whole(output, page)
    write_line(f"wrote {output}")


def environments(as_json: JsonOption = False) -> None:
    """List the registered environments."""
    from rich.text import Text

    from agenttts.cli.console import show
    from agenttts.environments.registry import environment_names

    names = environment_names()
    rows = [{"name": name, "defined_in": target} for name, target in names.items()]
    show(rows, Text("\n".join(f"{name:<20} {target}" for name, target in names.items())), as_json)

"""The report: one HTML file that needs nothing else, of one study or of several compared (extra `report`).

Whatever a model or a server wrote is text here: the templates escape it, figures get it escaped (`style.safe`), and the
JSON of the figures cannot end its script element. A content security policy forbids the page to load anything.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from itertools import groupby
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from agenttts._util.hints import install
from agenttts._util.text import printable
from agenttts.errors import ConfigError
from agenttts.report.findings.comparison import Comparison, compare_runs
from agenttts.report.findings.findings import Findings
from agenttts.report.findings.untried import untried_models
from agenttts.report.page import faults, story
from agenttts.report.page.pictures import (
    PageTable,
    Picture,
    budget_picture,
    comparison_pictures,
    frontier_picture,
    preference_picture,
    progress_picture,
    scaling_pictures,
    scored,
)
from agenttts.report.terminal.said import samples_command
from agenttts.report.terminal.tables import comparison_cells


def report_html(findings: Sequence[Findings]) -> str:
    """The page of a study, or the page that compares several.

    Examples:
        >>> from pathlib import Path
        >>> from agenttts import report
        >>> _ = Path("report.html").write_text(report.report_html([found]), encoding="utf-8")

    Args:
        findings: At least one; several must be of one environment, budget and pricing (`read_findings` sees to it).

    Raises:
        ConfigError: When plotly is not installed.
    """
    return _study_page(findings[0]) if len(findings) == 1 else _comparison_page(findings)


def _study_page(found: Findings) -> str:
    return _render(
        "study.html.j2",
        found=found,
        answer=story.answer(found),
        how_sure=story.how_sure(found),
        budgets=story.budgets_table(found),
        progress=progress_picture(found),
        budget=budget_picture(found) if found.prices else None,
        scaling=scaling_pictures(found),
        frontier=frontier_picture(found),
        insights=story.insights_heading(found),
        preference=preference_picture(found),
        hypotheses=story.hypotheses(found),
        bridge=story.bridge(found),
        untried=untried_models(found),
        saturation=story.saturation_table(found),
        interaction=story.interaction_table(found),
        timeline=story.timeline(found),
        nodes=story.NODES,
        refusals=faults.refusals_table(found),
        failures=faults.failures_table(found),
        unparsable=faults.unparsable_table(found),
        said=samples_command(found.study, failed=True),
        trials=story.trials_page_table(found),
        repeat=story.repeat_facts(found),
    )


def _comparison_page(findings: Sequence[Findings]) -> str:
    ordered = sorted(findings, key=lambda found: (found.row, found.study.spec.seed))
    rows = {row: list(group) for row, group in groupby(ordered, key=lambda found: found.row)}
    comparisons = [compare_runs(row, runs) for row, runs in rows.items()]
    headings, cells, notes = comparison_cells(comparisons)
    return _render(
        "comparison.html.j2",
        first=ordered[0],
        findings=ordered,
        rows=rows,
        winner=_winner(comparisons),
        table_data=PageTable(headings=headings, rows=cells),
        notes=notes,
        pictures=comparison_pictures(ordered, comparisons),
        refusals={found.name: faults.refusals_table(found) for found in ordered},
        failures={found.name: faults.failures_table(found) for found in ordered},
        repeat={found.name: story.repeat_facts(found) for found in ordered},
    )


def _winner(comparisons: Sequence[Comparison]) -> str:
    """Which method did best, and whether the next one's interval leaves the order uncertain."""
    first, *others = sorted(comparisons, key=lambda each: -each.score.value)
    said = f"{first.method} recommends allocations of a mean score of {scored(*first.score)}"
    if not others:
        return f"{said}."
    second = others[0].score
    low = first.score.value if first.score.interval is None else first.score.interval.low
    high = second.value if second.interval is None else second.interval.high
    chance = "" if low > high else ": over so few seeds, their order may be chance"
    return f"{said}; {others[0].method} follows with {scored(*second)}{chance}."


def pictures_html(found: Findings) -> str:
    """The pictures of a study, to be put into a page that draws them as the report does."""
    return (
        page_environment()
        .get_template("pictures.html.j2")
        .render(
            progress=progress_picture(found),
            budget=budget_picture(found) if found.prices else None,
            scaling=scaling_pictures(found),
            frontier=frontier_picture(found),
            preference=preference_picture(found),
        )
    )


def _render(template: str, **context: Any) -> str:
    page = resources.files("agenttts.report.page") / "templates"
    inlined = {name: Markup((page / f"report.{name}").read_text("utf-8")) for name in ("css", "js")}  # ours
    return page_environment().get_template(template).render(**context, **inlined, plotly=Markup(plotly_js()))


def plotly_js() -> str:
    """The program that draws figures in a browser.

    Raises:
        ConfigError: When plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ConfigError(f"the report needs plotly: {install('report')}") from error
    return str(get_plotlyjs())


def page_environment(*packages: str) -> Environment:
    """What renders pages: whatever is put into a template is escaped and printable.

    Args:
        packages: Others whose `templates` are used; they come before those of the report.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name, "templates") for name in (*packages, "agenttts.report.page")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else printable(str(value)),
    )
    environment.filters["figure"] = _figure_json
    return environment


def _figure_json(picture: Picture) -> Markup:
    """A figure as JSON within a script element: no character of it can end the element."""
    data = json.dumps(json.loads(picture.figure.to_json()), separators=(",", ":"))
    for character in "<>&":
        data = data.replace(character, f"\\u{ord(character):04x}")
    return Markup(data)

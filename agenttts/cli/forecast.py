"""What a search will take, shown before it takes anything."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import typer
from rich.console import Console

from agenttts._util.numbers import compact, counted, duration
from agenttts.db import Store, location
from agenttts.errors import LimitReached
from agenttts.report.terminal.layout import Column, Listing
from agenttts.searching.forecast import Earlier, Forecast, forecast
from agenttts.searching.plan import SearchPlan


def forecast_of(plan: SearchPlan) -> Forecast:
    """The forecast of a plan, calibrated by what its store holds; a store that is not there is not made."""
    where = str(plan.store)
    missing = location(where) == where and "://" not in where and not os.path.isfile(os.path.expanduser(where))
    if missing:
        return forecast(plan)
    store = Store(where)
    try:
        return forecast(plan, Earlier.read(store, plan.space.pipeline.name))
    finally:
        store.close()


def forecast_lines(found: Forecast, plan: SearchPlan) -> Iterator[tuple[str, str]]:
    """Lines of the heading, each a label and a text."""
    requests = sum(amount.requests for amount in found.expected.values())
    limit = plan.limits.max_tokens
    usd = f", {_usd(found, plan)}" if found.most_usd else ""
    minutes = f", about {duration(found.seconds)}" if found.seconds is not None else ""
    tokens, most = (each if limit is None else min(each, limit) for each in (found.tokens, found.most_tokens))
    expected = f"{compact(tokens)} tokens in {compact(requests)} requests{usd}{minutes}"
    yield "to expect", f"{expected}; at most {compact(most)} tokens"
    sources = {each.source for each in found.tariffs.values() if each.source}
    if sources:
        yield "prices", f"as declared, else as listed by {', '.join(sorted(sources))}"
    if found.earlier.studies:
        studies = counted(found.earlier.studies, "earlier study").replace("studys", "studies")
        yield "known", f"{studies} of the pipeline; the pool holds {counted(found.earlier.samples, 'sample')}"


def _usd(found: Forecast, plan: SearchPlan) -> str:
    limit, known = plan.limits.max_usd, found.tariffs
    expected, most = (each if limit is None else min(each, limit) for each in (found.usd, found.most_usd))
    unpriced = [name for name in found.models if name not in known]
    without = f", without {', '.join(unpriced)}, whose price is not known" if unpriced else ""
    return f"{_cents(expected)} USD (at most {_cents(most)}{without})"


def _cents(usd: float) -> str:
    return "under 0.01" if 0 < usd < 0.005 else f"{usd:.2f}"


def forecast_table(found: Forecast) -> Listing:
    """One line per model."""

    def column(heading: str, cells: list[str]) -> Column:
        return Column(heading=heading, cells=cells, number=True)

    names = [name for name in found.models if name in found.expected or name in found.most]
    expected = [found.expected[name] if name in found.expected else None for name in names]
    most = [found.most[name] if name in found.most else None for name in names]
    models = [found.models[name] for name in names]
    known = found.tariffs
    return Listing(
        [
            Column(heading="model", cells=names),
            column("requests", [compact(each.requests) if each else "0" for each in expected]),
            column("prompt tokens", [compact(each.prompt) if each else "0" for each in expected]),
            column("completion tokens", [compact(each.completion) if each else "0" for each in expected]),
            column(
                "USD",
                [
                    f"{each.usd(model) if each else 0:.4f}" if model.name in known else "?"
                    for each, model in zip(expected, models, strict=True)
                ],
            ),
            column("tokens at most", [compact(each.tokens) if each else "" for each in most]),
            column(
                "USD at most",
                [
                    f"{each.usd(model):.4f}" if each and model.name in known else ""
                    for each, model in zip(most, models, strict=True)
                ],
            ),
        ]
    )


def confirm(console: Console, found: Forecast, plan: SearchPlan, above: float) -> None:
    """Ask before more is spent than a number of dollars; only on a terminal, where somebody can answer.

    Raises:
        LimitReached: When the answer is no.
    """
    usd = found.usd if plan.limits.max_usd is None else min(found.usd, plan.limits.max_usd)
    if usd <= above or not (console.is_terminal and sys.stdin.isatty()):
        return
    if not typer.confirm(f"Spend about {usd:.2f} USD?"):
        raise LimitReached("not confirmed: nothing was spent (--confirm-above sets from how many dollars on is asked)")

"""How a study stands right now, for a terminal: read from the store alone, while another process searches."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from rich.console import Group
from rich.text import Text

from agenttts._util.numbers import compact, counted, duration, interval
from agenttts.db import Store, Study
from agenttts.llm.samples import Spend
from agenttts.report.findings.findings import Findings
from agenttts.report.findings.spending import study_scale
from agenttts.report.terminal.layout import Listing
from agenttts.report.terminal.tables import trials_table
from agenttts.study.evaluation import Evaluation
from agenttts.study.spec import spent_on_models, verb_for
from agenttts.study.trial import Archive, Trial

_SHOWN_TRIALS = 10
_GUIDELINE_LINES = 6
_BAR_WIDTH = 24


class Standing(NamedTuple):
    """One look at a study."""

    study: Study
    archive: Archive
    spend: Spend
    """On the models: where none ran, without what the method's own LLM took."""
    best: Trial | None
    """What would be recommended now; None before the first trial."""
    cheapest: Trial | None
    """The cheapest trial that is not shown to be worse; None before the first trial."""
    check: Evaluation | None
    """The held-out check of its best trial, once it was made."""

    @classmethod
    def read(cls, store: Store, study: Study) -> Standing:
        """What the store holds of a study."""
        archive, label = store.archive(study), study.details.get("recorded", "")
        spend = spent_on_models(store.spend(study), store.own_spend(study), label)
        if not archive.trials:
            return cls(study, archive, spend, None, None, None)
        found = Findings.read(store, study)
        return cls(study, found.archive, spend, found.best, found.cheapest, found.validation)


def standing_view(now: Standing) -> Group:
    """The study, its best trial, what it spent, its newest trials, and what the agent concluded last."""
    lines = [Text(f"study {now.study.name}", "bold"), *map(Text, standing_lines(now))]
    newest = now.archive.trials[-_SHOWN_TRIALS:]
    label = now.study.details.get("recorded", "")
    whole = "the command `trials --json`"
    scale = study_scale(now.study)
    table: Sequence[Listing] = [trials_table(newest, scale, label=label, whole=whole)] if newest else []
    told = now.archive.guidelines[-1].text.splitlines() if now.archive.guidelines else []
    heading = [Text("\nThe agent's last guideline", "bold")] if told else []
    cut = [Text("...")] if len(told) > _GUIDELINE_LINES else []
    return Group(*lines, *table, *heading, *(Text(line) for line in told[:_GUIDELINE_LINES]), *cut)


def standing_lines(now: Standing) -> list[str]:
    """How a study stands, in a few lines."""
    spec, archive = now.study.spec, now.archive
    label = now.study.details.get("recorded", "")
    verb = verb_for(label)
    rejected = f", {len(archive.refusals)} rejected" if archive.refusals else ""
    labelled = f" ({label})" if label else ""
    lines = [
        f"{spec.environment}{labelled}, {spec.method}, budget {study_scale(now.study).rate(spec.budget)}",
        f"{counted(len(archive.trials), 'trial')}{rejected}; {compact(now.spend.tokens)} tokens {verb}, "
        f"{compact(now.spend.reused_tokens)} reused{_ago(archive.trials)}",
    ]
    best = now.best
    if best is None:
        return [*lines, "best  none yet"]
    done = round(_BAR_WIDTH * best.evaluation.score)
    lines.append(
        f"best  {'█' * done}{'░' * (_BAR_WIDTH - done)} {best.evaluation.score:.3f} "
        f"({interval(best.evaluation.interval)}) by trial {best.number}"
    )
    lines.append(f"      {best.allocation}")
    if now.check is not None:
        lines.append(f"held out  {now.check.score:.3f} ({interval(now.check.interval)})")
    if now.cheapest is not None and now.cheapest.number != best.number:
        scale = study_scale(now.study)
        lines.append(f"cheapest not shown to be worse  trial {now.cheapest.number}, {scale.show(now.cheapest.cost)}")
        lines.append(f"      {now.cheapest.allocation}")
    return lines


def _ago(trials: Sequence[Trial]) -> str:
    if not trials:
        return ""
    seconds = (datetime.now(UTC) - trials[-1].created).total_seconds()
    return f"; newest trial {duration(max(seconds, 0.0))} ago"

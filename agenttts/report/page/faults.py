"""What went wrong in a study: rejected proposals, failed examples, samples that no parser could use."""

from __future__ import annotations

from collections import Counter

from agenttts.report.findings.findings import Findings
from agenttts.report.page.pictures import PageTable


def refusals_table(found: Findings) -> PageTable:
    """Proposals that were never evaluated: rejected by the loop, or by the method's own check."""
    rows = [
        [str(each.round), each.searcher, f"{each.allocation}: {'; '.join(each.reasons)}"]
        for each in found.archive.refusals
    ]
    checked = [(step, line) for step in found.steps if step.node == "check" for line in step.text.splitlines()[1:]]
    rows += [[str(step.round), "its own check", line] for step, line in checked]
    rows.sort(key=lambda row: int(row[0]))
    return PageTable(headings=["after trials", "rejected by", "proposal and reasons"], rows=rows, words=3)


def failures_table(found: Findings) -> PageTable:
    """Reasons for which examples failed, by trial."""
    evaluations = [(f"trial {trial.number}", trial.evaluation) for trial in found.trials]
    evaluations += [(f"held-out check of {key}", check) for key, check in found.checks.items()]
    rows = [
        [name, reason, f"{count} of {len(evaluation.results)}"]
        for name, evaluation in evaluations
        for reason, count in evaluation.errors.items()
    ]
    return PageTable(headings=["where", "reason", "examples"], rows=rows, words=2)


def unparsable_table(found: Findings) -> PageTable:
    """Samples that a parser could not use, by stage and model."""
    drawn, unusable = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for trial in found.trials:
        for stage, usage in trial.evaluation.usage.items():
            place = stage, trial.allocation[stage].pairing
            drawn[place] += usage.samples
            unusable[place] += usage.unparsable
    rows = [
        [stage, model, f"{unusable[stage, model]:,}", f"{count:,}", f"{100 * unusable[stage, model] / count:.1f} %"]
        for (stage, model), count in sorted(drawn.items())
        if count
    ]
    return PageTable(headings=["stage", "model", "unusable samples", "samples drawn", "share"], rows=rows, words=2)

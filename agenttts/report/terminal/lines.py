"""Lines of text: a score with its interval, the end of a search, a trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agenttts._util.numbers import Scale, counted, duration, interval
from agenttts._util.text import one_line, printable
from agenttts.db import Store, Study
from agenttts.errors import ConfigError
from agenttts.llm.prefix_cache import CacheUse
from agenttts.llm.samples import Spend
from agenttts.posterior.frontier import Estimate, Expected
from agenttts.report.data.rows import stage_rows
from agenttts.report.findings.history import new_bests
from agenttts.report.findings.spending import study_prices, study_scale
from agenttts.report.terminal.said import samples_command
from agenttts.searching.progress import SearchResult
from agenttts.space.allocation import Choice
from agenttts.study.evaluation import Evaluation, ExampleResult
from agenttts.study.spec import spent_on_models, verb_for
from agenttts.study.trial import RULES, AgentStep, Trial

_MOST_REASONS = 3
_MOST_OUTPUT = 80


def summary_lines(result: SearchResult) -> list[str]:
    """The end of a search, the answer first.

    Examples:
        >>> from agenttts import report
        >>> report.summary_lines(result)[:3]
        ['Best allocation (by posterior mean over all trials):', '  find: small x4', '  answer: small x5']
    """
    best, check, scale = result.best, result.validation, study_scale(result.study)
    lines = ["Best allocation (by posterior mean over all trials):"]
    lines += [f"  {name}: {choice}" for name, choice in best.allocation.items()]
    if check is not None:
        lines += scored(check, f"Score on {len(check.results)} held-out examples: ")
    lines += _baseline_lines(result)
    lines.append(f"Cost: {scale.of(best.cost, result.study.spec.budget)}")
    lines += _cheapest_lines(result)
    score, (low, high) = result.expected
    lines.append(f"Score expected by the posterior: {score:.3f} (95 % interval {low:.3f} to {high:.3f})")
    lines += scored(
        best.evaluation, f"Score on the {len(best.evaluation.results)} examples searched, flattered by the choice: "
    )
    if result.explanation:
        lines.append(f"Why, in the words of the planner: {one_line(result.explanation)}")
    if result.passed_over is not None:
        lines.append(passed_over_in_words(result.passed_over, best, result.expected))
    lines.append(spent(result.spend, _checks(result), result.own, label=result.study.details.get("recorded", "")))
    if result.prefix_caches:
        lines.append(f"Found in the servers' prefix caches: {cache_uses(result.prefix_caches)}")
    if rejected := len(result.archive.refusals):
        verb = "was" if rejected == 1 else "were"
        lines.append(f"{counted(rejected, 'proposal')} of the method {verb} rejected before anything was paid for")
    lines += _filled(result.archive.trials)
    if result.misdeclared:
        lines += ["Declared token lengths that are far off:", *(f"  {each}" for each in result.misdeclared)]
    lines.append(f"This run took: {duration(result.seconds)}")
    lines.append(f"Stopped: {result.stopped}")
    return [printable(line) for line in lines]


def _baseline_lines(result: SearchResult) -> list[str]:
    """What is used today, and what the recommended allocation gains over it."""
    baseline, gain = result.baseline, result.gain
    if baseline is None:
        return []
    if gain is None:
        same = baseline.allocation == result.best.allocation
        return [f"Baseline ({baseline.allocation}): {'it is what is recommended' if same else 'nothing to compare by'}"]
    evaluation = result.baseline_check if gain.held_out and result.baseline_check else baseline.evaluation
    where = "held-out" if gain.held_out else "searched"
    low, high = gain.interval
    return [
        f"Baseline ({baseline.allocation}): {evaluation.score:.3f} at {study_scale(result.study).rate(baseline.cost)}",
        f"Gain over the baseline: {gain.value:+.3f} (95 % interval {low:+.3f} to {high:+.3f}) on the same "
        f"{gain.examples} {where} examples",
    ]


def _cheapest_lines(result: SearchResult) -> list[str]:
    cheapest = result.cheapest
    if cheapest is None:
        return []
    if cheapest.number == result.best.number:
        line = none_cheaper(result.archive.trials, result.best)
        return [line[0].upper() + line[1:]]
    return [
        f"Cheapest not shown to be worse: trial {cheapest.number} ({cheapest.allocation}) at "
        f"{study_scale(result.study).rate(cheapest.cost)}"
    ]


def none_cheaper(trials: Sequence[Trial], best: Trial) -> str:
    """Why no cheaper trial than the recommended one would do as well."""
    if any(trial.cost < best.cost for trial in trials):
        return "every cheaper trial is worse, as far as the posterior is sure (97.5 %)"
    return "no trial is cheaper"


def passed_over_in_words(other: Estimate, best: Trial, expected: Expected) -> str:
    """Why a trial that scored more than the recommended one on the same examples is not recommended."""
    mine = {result.example for result in best.evaluation.results}
    scores = [result.score for result in other.trial.evaluation.results if result.example in mine]
    return (
        f"Trial {other.trial.number} ({other.trial.allocation}) scored {sum(scores) / len(scores):.3f} on the same "
        f"{counted(len(scores), 'example')}, but is expected at {other.expected.score:.3f}, the recommended one at "
        f"{expected.score:.3f}: where a score differs from those of similar allocations, the posterior takes most of "
        "it for chance, until more examples confirm it"
    )


def _checks(result: SearchResult) -> list[Evaluation]:
    """Every held-out check that the search ended with, each once."""
    found = {result.best.allocation.key: result.validation}
    if result.baseline is not None:
        found.setdefault(result.baseline.allocation.key, result.baseline_check)
    if result.frontier is not None:
        found |= {point.trial.allocation.key: point.check for point in result.frontier.points}
    return [check for check in found.values() if check is not None]


def _filled(trials: Sequence[Trial]) -> list[str]:
    count = sum(trial.searcher == RULES for trial in trials)
    why = "the planner's own proposals were rejected or unreadable, or it gave no answer"
    return [f"{count} of {len(trials)} trials were filled in by rule: {why}"] if count else []


def scored(evaluation: Evaluation, label: str = "", *, reasons: int | None = _MOST_REASONS) -> list[str]:
    """Score and interval, then a line for each distinct reason of failure.

    Args:
        evaluation: What was scored.
        label: Put before the score.
        reasons: Most reasons to list; None lists all.
    """
    lines = [f"{label}{evaluation.score:.3f} (95 % interval {interval(evaluation.interval)})"]
    failed = list(evaluation.errors.items())
    lines += [f"  {count} failed: {' '.join(reason.split())}" for reason, count in failed[:reasons]]
    if others := len(failed) - len(failed[:reasons]):
        lines.append(
            f"  {evaluation.failures} failed in all, for {others} other reasons too (trace --trial shows them)"
        )
    if evaluation.missing:
        reason = " ".join(next(iter(evaluation.missing.values())).split())
        lines.append(f"  {len(evaluation.missing)} got no answer and are missing: {reason}")
    return lines


def spent(spend: Spend, checks: Sequence[Evaluation], own: Spend, *, label: str = "") -> str:
    """What was paid for and reused, the held-out checks included, in words.

    Where no model runs, nothing was paid for but what the method asked an LLM.

    Args:
        spend: Of the study.
        checks: Held-out checks.
        own: Of the method.
        label: What the samples are, where no model gives them (`study.recorded`).
    """
    spend = spent_on_models(spend, own, label)
    usd = f", {priced(spend.usd, label)}" if spend.usd else ""
    estimated = f" ({spend.estimated_tokens:,} of them estimated)" if spend.estimated_tokens else ""
    tokens = sum(check.spend.tokens for check in checks)
    held_out = f", of which the held-out check{'s' * (len(checks) > 1)} {tokens:,} tokens" if tokens else ""
    verb = f"{verb_for(label)} ({nothing_paid(own)})" if label else "paid for"
    requests = counted(spend.requests, "request")
    return (
        f"The search {verb}: {spend.tokens:,} tokens{estimated} in {requests}{usd}{held_out}; "
        f"{spend.reused_tokens:,} further tokens came from the sample pool"
    )


def nothing_paid(own: Spend) -> str:
    """What was paid for where no model runs, given what the method itself took."""
    return "nothing was paid for" + (f" but the {own.tokens:,} tokens of the method's own LLM" if own.tokens else "")


def priced(usd: float, label: str) -> str:
    """What tokens cost, or would have cost where nothing was paid for."""
    return f"{usd:.4f} USD{' if they were paid for' if label else ''}"


def cache_uses(uses: Mapping[str, CacheUse]) -> str:
    """What each model's server found of its prompts in its prefix cache."""
    return "; ".join(f"{name} {use}" for name, use in uses.items())


def trace_lines(
    store: Store, study: Study, trial_number: int | None = None, *, prompts: bool = False
) -> list[tuple[str, str]]:
    """(heading, body) pairs: the agent's steps round by round, each with the trials that came of it.

    Examples:
        >>> from agenttts import report
        >>> report.trace_lines(store, study)[0]
        ('after 0 trials', '')

    Args:
        store: Holds the study.
        study: Which study.
        trial_number: Only the round that led to this trial, which then shows its stages, every example and every
            reason of failure.
        prompts: Whether to include the planner's prompts and replies.

    Raises:
        ConfigError: When nothing has happened yet.
    """
    archive, steps = store.archive(study), store.steps(study)
    trials = [trial for trial in archive.trials if trial_number in (None, trial.number)]
    bests = new_bests(study.spec.sizes, archive, study.spec.budget) if trial_number is None else {}
    scale, reasons = study_scale(study), _MOST_REASONS if trial_number is None else None
    every = (trials, archive.refusals, steps) if trial_number is None else (trials,)
    lines: list[tuple[str, str]] = []
    for number in sorted({each.round for part in every for each in part}):
        lines.append((f"after {number} trials", ""))
        for step in (step for step in steps if step.round == number):
            lines += _step_lines(step, prompts=prompts)
        for trial in (trial for trial in trials if trial.round == number):
            lines.append((f"trial {trial.number}", _trial_text(trial, scale, reasons)))
            if trial_number is not None:
                lines += _details(trial, study, store.validation(study, trial.allocation))
                lines.append(("what was asked and said", samples_command(study, trial_number)))
        for refusal in (refusal for refusal in archive.refusals if refusal.round == number):
            lines.append((f"rejected ({refusal.searcher})", f"{refusal.allocation}: {'; '.join(refusal.reasons)}"))
        if number in bests:
            within = f" within {scale.show(study.spec.budget)}" if study.spec.budgets else ""
            lines.append(("new best", f"trial {bests[number].number}{within}, by what had been seen until then"))
    if not lines:
        raise ConfigError(f"study {study.name!r} has no finished trial yet")
    return [(printable(heading), printable(body)) for heading, body in lines]


def _trial_text(trial: Trial, scale: Scale, reasons: int | None) -> str:
    score, *failures = scored(trial.evaluation, reasons=reasons)
    examples = len(trial.evaluation.results)
    lines = [str(trial.allocation), f"{score} on {examples} examples, cost {scale.show(trial.cost)}", *failures]
    return "\n".join([*lines, f"why: {trial.rationale}"])


def _details(trial: Trial, study: Study, check: Evaluation | None) -> list[tuple[str, str]]:
    """What a trial's stages used, and each of its examples."""
    scale = study_scale(study)
    stages = [_stage_line(row, scale) for row in stage_rows(trial, study_prices(study))]
    lines = [("stages", "\n".join(stages)), ("examples", _example_lines(trial.evaluation))]
    if check is None:
        return lines
    score, *failures = scored(check, reasons=None)
    said = f"{score} on {len(check.results)} examples (--json lists them)"
    return [*lines, ("held-out check", "\n".join([said, *failures]))]


def _stage_line(row: Mapping[str, Any], scale: Scale) -> str:
    parts = [f"{row['stage']}: {Choice(row['model'], row['samples'], row['operator'], row['options'])}"]
    if row["score"] is not None:
        parts.append(f"its own score {row['score']:.3f}")
    if row["samples_drawn"] is not None:
        drawn = f"{row['samples_drawn']:,} samples drawn, {row['unparsable']:,} of them unusable"
        parts += [drawn, f"{row['prompt_tokens']:.0f} prompt tokens and {row['completion_tokens']:.0f} per sample"]
    costs = {name: row[f"{name}_cost"] for name in ("prompt", "generation", "aggregation") if f"{name}_cost" in row}
    if costs:
        shown = ", ".join(f"{name} {scale.number(cost)}" for name, cost in costs.items() if cost)
        parts.append(f"cost {scale.show(sum(costs.values()))} ({shown})")
    return "; ".join(parts)


def _example_lines(evaluation: Evaluation) -> str:
    width = max(len(result.example) for result in evaluation.results)
    return "\n".join(
        f"{result.example:<{width}}  {result.score:.3f}  {_one_line(result)}".rstrip() for result in evaluation.results
    )


def _one_line(result: ExampleResult) -> str:
    said = " ".join((result.output if result.error is None else f"failed: {result.error}").split())
    return said if len(said) <= _MOST_OUTPUT else f"{said[:_MOST_OUTPUT]} ..."


def _step_lines(step: AgentStep, *, prompts: bool) -> list[tuple[str, str]]:
    spend = f", {step.spend.tokens:,} tokens, {step.spend.seconds:.1f} s" if step.spend.tokens else ""
    lines = [(f"{step.node} ({step.planner}{spend})", step.text)]
    if prompts and step.prompt:
        lines += [(f"{step.node}: prompt", step.prompt), (f"{step.node}: reply", step.reply)]
    return lines

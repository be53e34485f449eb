"""What the page of a study says in words and tables: the answer, the insights, the timeline, how to repeat it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from agenttts._util.numbers import chance, counted, duration, percent
from agenttts._util.text import printable
from agenttts.llm.prefix_cache import CacheUse
from agenttts.llm.samples import Spend
from agenttts.pipeline.pairing import paired, parted
from agenttts.posterior.frontier import chances_behind
from agenttts.posterior.insights import Hypothesis
from agenttts.report.findings.evidence import told_evidence, told_guideline, weighed_models
from agenttts.report.findings.findings import Findings, Round
from agenttts.report.findings.spending import wall_seconds
from agenttts.report.page.pictures import PageTable, scored
from agenttts.report.terminal.lines import cache_uses, none_cheaper, nothing_paid, passed_over_in_words, priced
from agenttts.report.terminal.tables import numbered
from agenttts.space.allocation import Allocation, Choice
from agenttts.study.evaluation import Evaluation
from agenttts.study.spec import spent_on_models, verb_for
from agenttts.study.trial import Trial


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One line of the answer."""

    label: str
    value: str
    note: str = ""


def answer(found: Findings) -> list[Fact]:
    """Score, gain over the baseline, cost, spend and what reuse saved, of a study."""
    best, check, spec = found.best, found.validation, found.study.spec
    facts = [_score_fact("Held-out score", check, "held-out examples, fresh samples")] if check else []
    facts += _baseline_facts(found)
    facts.append(_score_fact("Score in the search", best.evaluation, "examples, on which it was chosen"))
    share = f"{percent(best.cost / spec.budget)} of " if spec.budget > 0 else ""
    share = f"{share}the budget of {found.scale.show(spec.budget)}"
    facts.append(Fact(label="Cost of one query", value=found.scale.show(best.cost), note=share))
    facts.append(_cheapest_fact(found))
    facts.append(_spend_fact(found))
    facts += [_reuse_fact(found)] if found.spend.reused_tokens else []
    return [*facts, _cache_fact(found)] if found.prefix_caches else facts


def _score_fact(label: str, evaluation: Evaluation, on: str) -> Fact:
    low, high = evaluation.interval
    failed = f"; {evaluation.failures} failed and count as 0" if evaluation.failures else ""
    interval = f"95 % interval {low:.3f} to {high:.3f}"
    return Fact(
        label=label, value=f"{evaluation.score:.3f}", note=f"{interval}; {len(evaluation.results)} {on}{failed}"
    )


def _baseline_facts(found: Findings) -> list[Fact]:
    """What is used today, and what the recommended allocation gains over it."""
    baseline, gain = found.archive.baseline, found.gain
    if baseline is None:
        return []
    evaluation = found.checks.get(baseline.allocation.key) or baseline.evaluation
    if gain is None:
        same = baseline.allocation == found.best.allocation
        note = "it is what is recommended" if same else "too few examples are shared to tell"
        return [_baseline_fact(found, baseline, evaluation), Fact(label="Gain over it", value="none", note=note)]
    low, high = gain.interval
    where = "held-out examples" if gain.held_out else "examples of the search"
    note = f"95 % interval {low:+.3f} to {high:+.3f}; mean difference on the same {gain.examples} {where}"
    shown = _baseline_fact(found, baseline, evaluation if gain.held_out else baseline.evaluation)
    return [shown, Fact(label="Gain over it", value=f"{gain.value:+.3f}", note=note)]


def _baseline_fact(found: Findings, baseline: Trial, evaluation: Evaluation) -> Fact:
    low, high = evaluation.interval
    note = f"95 % interval {low:.3f} to {high:.3f}; {baseline.allocation}, at {found.scale.show(baseline.cost)}"
    return Fact(label="Score of the baseline", value=f"{evaluation.score:.3f}", note=note)


def _cheapest_fact(found: Findings) -> Fact:
    label, cheapest = "Cheapest not shown to be worse", found.cheapest
    if cheapest.number == found.best.number:
        return Fact(label=label, value="none cheaper", note=none_cheaper(found.trials, found.best))
    note = f"trial {cheapest.number} ({cheapest.allocation}), expected at {_expected(found, cheapest)}"
    return Fact(label=label, value=found.scale.show(cheapest.cost), note=note)


def _spend_fact(found: Findings) -> Fact:
    own = sum((step.spend for step in found.steps), start=Spend())
    spend = spent_on_models(found.spend, own, found.recorded)
    seconds = wall_seconds(found.trials) + sum(check.spend.seconds for check in found.checks.values())
    usd = f", {priced(spend.usd, found.recorded)}" if spend.usd else ""
    planner = f"; {own.tokens:,} of them the method's own" if own.tokens and not found.recorded else ""
    free = f"{nothing_paid(own)}; " if found.recorded else ""
    return Fact(
        label=f"Tokens {verb_for(found.recorded)}",
        value=f"{spend.tokens:,}",
        note=f"{free}{counted(len(found.trials), 'trial')}, {counted(spend.requests, 'request')}{usd}, "
        f"{duration(seconds)}{planner}",
    )


def _reuse_fact(found: Findings) -> Fact:
    taken, reused = found.spend.tokens, found.spend.reused_tokens
    note = f"{percent(reused / (taken + reused))} of what the trials would take without the sample pool"
    return Fact(label="Tokens saved by reuse", value=f"{reused:,}", note=note)


def _cache_fact(found: Findings) -> Fact:
    whole = sum(found.prefix_caches.values(), start=CacheUse())
    return Fact(
        label="Found in the servers' prefix caches",
        value=percent(whole.found / whole.looked_up),
        note=cache_uses(found.prefix_caches),
    )


def how_sure(found: Findings) -> str:
    """The expected score of the best beside the next best's."""
    best = found.best
    rest = [trial for trial in found.trials if trial.number != best.number and not _equalled(found, trial)]
    said = (
        f"Over all trials, the true score of the recommended allocation is expected at {_expected(found, best)}: the "
        "mean of a posterior fitted to every trial, with its 95 % interval."
    )
    if found.validation is None:
        said += " It has not been checked on held-out examples."
    if found.passed_over is not None:
        said += f" {passed_over_in_words(found.passed_over, best, found.expected[best.number])}."
    if not rest:
        return f"{said} There is no other trial to compare it with that did better than a cheaper one on any example."
    second = max(rest, key=lambda trial: found.expected[trial.number].score)
    (better,) = chances_behind(found.surrogate, [second], best)
    return (
        f"{said} Of the others, most is expected of trial {second.number} ({second.allocation}), "
        f"{_expected(found, second)} for {found.scale.show(second.cost)}; that the recommended one is really better "
        f"has a probability of {chance(better)}."
    )


def _equalled(found: Findings, trial: Trial) -> bool:
    """Whether a cheaper trial did just as well, example by example: then it is not recommended."""
    return any(each.cost < trial.cost and each.ties_with(trial) for each in found.trials)


def _expected(found: Findings, trial: Trial) -> str:
    return scored(*found.expected[trial.number])


def answer_lines(found: Findings) -> list[str]:
    """The answer for a terminal.

    Examples:
        >>> from agenttts import report
        >>> report.answer_lines(found)[:2]
        ['find: small x4', 'answer: small x5']
    """
    allocation = [f"{stage}: {choice}" for stage, choice in found.best.allocation.items()]
    facts = [f"{fact.label}: {fact.value} ({fact.note})" for fact in answer(found)]
    label = [found.recorded] if found.recorded else []
    return [printable(line) for line in (*label, *allocation, *facts, how_sure(found))]


def budgets_table(found: Findings) -> PageTable | None:
    """What each budget affords; None where the study has one."""
    if not found.study.spec.budgets:
        return None
    rows, scale = [], found.scale
    for point in found.frontier.points:
        check = "" if point.check is None else scored(point.check.score, point.check.interval)
        gain = point.gain
        gained = "" if gain is None else f"{gain.value:+.3f} ({gain.interval.low:+.3f} to {gain.interval.high:+.3f})"
        choices = map(str, point.trial.allocation.values())
        figures = [scale.number(point.trial.cost), scored(*point.expected), check, gained]
        rows.append([scale.number(point.budget), *choices, *figures])
    stages, unit = list(found.study.spec.sizes), scale.unit
    headings = [f"budget ({unit})", *stages, f"cost ({unit})", "expected score", "held-out score"]
    return PageTable(headings=[*headings, "the next budget gains"], rows=rows, words=1 + len(stages))


def insights_heading(found: Findings) -> str:
    """Which guideline the insights are read from; empty where there is none with evidence."""
    guideline = told_guideline(found)
    if guideline is None:
        return ""
    incumbent = Allocation.from_dict(guideline.evidence["incumbent"])
    return (
        f"As the guideline after {guideline.round} trials states them, around the best allocation at the time "
        f"({incumbent}); the trials behind each are those that used the model in question."
    )


def hypotheses(found: Findings) -> list[str]:
    """The insights as the trials weighed them by then, in sentences; none while the trials were few."""
    return [str(each) for each in _hypotheses(found)]


def bridge(found: Findings) -> str:
    """How rules that are not decided go with choices that are sure; empty where there is nothing to reconcile."""
    undecided = sum(not each.decided for each in _hypotheses(found))
    if not undecided or not any(each.chance is not None for each in weighed_models(found)):
        return ""
    rules = f"{undecided} of these rules are" if undecided > 1 else "One of these rules is"
    return (
        f"{rules} not decided, and yet a stage's model below may be nearly sure: that is another question. A rule "
        "speaks of all models and numbers of samples, of which most were not tried; below, the best of a stage's "
        "models within the budget is compared with the next best one, on which the trials concentrated."
    )


def _hypotheses(found: Findings) -> list[Hypothesis]:
    return [Hypothesis(**each) for each in told_evidence(found).get("hypotheses", ())]


def saturation_table(found: Findings) -> PageTable:
    """Insight 2 as a guideline states it."""
    rows = [
        [each["subtask"], each["model"], *_flat_from(each["curve"]), *_behind(found, each["subtask"], each["model"])]
        for each in told_evidence(found).get("saturations", ())
    ]
    headings = ["stage", "model", "flat from", "80 % interval", "form", "weighed up to", "trials behind it"]
    return PageTable(headings=[*headings, "their example evaluations"], rows=rows, words=5)


def _flat_from(curve: dict[str, Any]) -> list[str]:
    most, form = curve["counts"][-1], f"{curve['form']} ({curve['share']:.0%} of the draws)"
    if not curve.get("told", True):  # studies of earlier versions did not keep it
        return ["not told from flat", "", form, str(most)]
    if curve["knee"] >= most > 1:
        return ["still rising", "", form, str(most)]
    return [f"x{curve['knee']}", f"x{curve['knee_low']} to x{curve['knee_high']}", form, str(most)]


def interaction_table(found: Findings) -> PageTable:
    """Insight 3 as a guideline states it."""
    rows = []
    for each in told_evidence(found).get("interactions", ()):
        option, model = each["best"], _pairing(each["choice"])
        quality = "" if each["quality"] is None else f"{each['quality']:.3f}"
        spread = f"{option['score']:.3f} ± {1.96 * option['sd']:.3f}"
        best = str(Choice.of(option["model"], option["samples"]))
        behind = _behind(found, each["upstream"], model)
        choices = [f"{each['upstream']}: {each['choice']}", quality, f"{each['downstream']}: {best}"]
        rows.append([*choices, spread, *behind])
    headings = ["behind this choice", "its own score", "this does best", "expected (± 95 %)", "trials behind it"]
    return PageTable(headings=[*headings, "their example evaluations"], rows=rows, words=3)


def _pairing(choice: str) -> str:
    """The pairing of a choice that was written out."""
    model, *how = parted(choice)
    return paired(model.rpartition(" x")[0], *how)


def _behind(found: Findings, stage: str, model: str) -> list[str]:
    mine = [trial.evaluation for trial in found.trials if trial.allocation[stage].pairing == model]
    return [str(len(mine)), f"{sum(len(evaluation.results) for evaluation in mine):,}"]


NODES = {
    "recall": "saw",
    "initial": "chose",
    "reflect": "concluded",
    "propose": "proposed",
    "check": "checked",
    "repair": "fixed",
    "fill": "filled in",
    "explain": "explained",
}
"""What a node of the agent's graph did, in a word."""


@dataclass(frozen=True, kw_only=True)
class TrialOutcome:
    """A trial of a round and how it did."""

    trial: Trial
    observed: str
    expected: str
    rank: int
    """Among all trials of the study, by expected score."""


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """One round of the timeline."""

    round: Round
    outcomes: tuple[TrialOutcome, ...]
    new_best: Trial | None
    """What was recommended from then on, by what was known then; None where nothing changed or the order is unknown."""

    @property
    def own(self) -> str:
        """The planner, and what it took."""
        planners = ", ".join(dict.fromkeys(step.planner for step in self.round.steps))
        spend = self.round.spend
        took = f"{spend.tokens:,} tokens, {spend.seconds:.1f} s" if spend.tokens else "no tokens"
        return f"{planners}: {took}" if planners else ""


def timeline(found: Findings) -> list[Chapter]:
    """Round by round."""
    expected = {number: each.score for number, each in found.expected.items()}
    ranks = {number: place for place, number in enumerate(sorted(expected, key=lambda n: -expected[n]), start=1)}
    chapters = []
    for each in found.rounds:
        outcomes = tuple(
            TrialOutcome(
                trial=trial,
                observed=scored(trial.evaluation.score, trial.evaluation.interval),
                expected=_expected(found, trial),
                rank=ranks[trial.number],
            )
            for trial in each.trials
        )
        chapters.append(Chapter(round=each, outcomes=outcomes, new_best=found.new_bests.get(each.number)))
    return chapters


def trials_page_table(found: Findings) -> PageTable:
    """Every trial, the best expected first."""
    ranked = sorted(found.trials, key=lambda trial: -found.expected[trial.number].score)
    stages = list(found.study.spec.sizes)
    return PageTable(
        headings=["trial", *stages, f"cost ({found.scale.unit})", "expected (95 %)", "observed (95 %)", "examples",
                  "failed", f"tokens {verb_for(found.recorded)}", "tokens reused"],
        rows=[_trial_cells(found, trial) for trial in ranked],
        words=1 + len(stages),
    )  # fmt: skip


def _trial_cells(found: Findings, trial: Trial) -> list[str]:
    evaluation = trial.evaluation
    return [
        f"recommended {numbered(trial)}" if trial.number == found.best.number else numbered(trial),
        *map(str, trial.allocation.values()),
        found.scale.number(trial.cost),
        _expected(found, trial),
        scored(evaluation.score, evaluation.interval),
        str(len(evaluation.results)),
        str(evaluation.failures),
        f"{evaluation.spend.tokens:,}",
        f"{evaluation.spend.reused_tokens:,}",
    ]


def repeat_facts(found: Findings) -> Mapping[str, str]:
    """Everything needed to repeat a study."""
    spec, details = found.study.spec, found.study.details
    kept: dict[str, Any] = {
        "command": details.get("command") or "run from Python: at.search(...)",
        "study": found.name,
        "begun": f"{found.study.created:%Y-%m-%d %H:%M} UTC",
        "agenttts": details.get("agenttts") or "not recorded",
        "Python": details.get("python") or "not recorded",
        "method": details.get("planner") or spec.method,
        "seed": spec.seed,
        **({"experience": spec.experience} if spec.experience else {}),
        "environment": f"{spec.environment} ({found.recorded or 'live'}), {spec.examples} examples",
        "fingerprint of the environment": spec.fingerprint,
        **{f"fingerprint of {part}": each for part, each in spec.fingerprints.items()},
        "cost model and budget": f"{spec.cost_model}, "
        f"{'; '.join(map(found.scale.show, spec.budgets or [spec.budget]))}, pricing {spec.pricing}",
        **({"throughput": details["throughput"]["source"]} if "throughput" in details else {}),
        "this page": f"made by agenttts {version('agenttts')} on Python {platform.python_version()}",
    }
    return {label: str(value) for label, value in kept.items()}

"""The report: whole and well-formed, readable without its pictures, and never led by what a model wrote."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from agenttts.db import Store
from agenttts.environments import LiveEnvironment
from agenttts.errors import ConfigError
from agenttts.llm.samples import Spend
from agenttts.posterior.curves import Floats, fit_curve
from agenttts.protocols import Searcher
from agenttts.report import Curve, Findings, read_findings, report_html, trace_lines
from agenttts.report.findings.untried import untried_models
from agenttts.searching import search
from agenttts.searching.methods import searcher
from agenttts.searching.progress import Limits
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.study.evaluation import Evaluation, ExampleResult
from agenttts.study.trial import AgentStep, Archive, Proposal, Refusal

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;%{x}<b>{{ 7 * 7 }}\x1b[31m"
_VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """What a browser would make of a page, as far as the standard library can tell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.figures: dict[str, Any] = {}
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        tag, attributes = self._open[-1] if self._open else ("", {})
        if tag == "script" and (name := attributes.get("data-figure")):
            self.figures[name] = json.loads(data)
        elif tag not in ("script", "style"):
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.text).split())


async def searched(
    environment: LiveEnvironment, space: SearchSpace, store: Store, name: str, *, method: str = "agent", seed: int = 0
) -> Findings:
    await search(
        environment, searcher(method, seed=seed, llm="none"), space, store, study_name=name, seed=seed,
        limits=Limits(trials=8), parallel=2,
    )  # fmt: skip
    (found,) = read_findings(store, [name])
    return found


@pytest.fixture
async def found(toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store) -> Findings:
    return await searched(toy_environment, toy_space, store, "toy")


@pytest.fixture
async def hostile(found: Findings, store: Store, toy_space: SearchSpace) -> Findings:
    """The same study after everything that a model, a server or a user can write has been hostile."""
    (allocation,) = [a for a in toy_space.enumerate() if a.key not in found.archive.tried][:1]
    results = tuple(
        ExampleResult(example=HOSTILE + str(i), score=float(i % 2), error=None if i % 2 else HOSTILE, output=HOSTILE)
        for i in range(4)
    )
    proposal = Proposal(allocation, HOSTILE)
    store.add_trial(
        found.study, proposal, Evaluation(results=results), cost=toy_space.cost(allocation), searcher=HOSTILE, round=8
    )
    step = AgentStep(
        round=8, node="reflect", planner=HOSTILE, text=HOSTILE, evidence=found.archive.guidelines[-1].evidence,
        prompt=HOSTILE, reply=HOSTILE, spend=Spend(prompt_tokens=1200, completion_tokens=34, seconds=1.5),
    )  # fmt: skip
    store.add_step(found.study, step)
    store.add_step(found.study, replace(step, node="check", text=f"0 accepted\n{HOSTILE}"))
    refusal = Refusal(allocation=Allocation({"find": ("small", 99)}), reasons=(HOSTILE,), searcher=HOSTILE, round=8)
    store.add_refusal(found.study, refusal)
    (again,) = read_findings(store)
    return replace(again, study=replace(again.study, details={**again.study.details, "command": HOSTILE}))


def strings(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from (key, *strings(value))
    elif isinstance(data, list):
        for each in data:
            yield from strings(each)


def test_the_page_is_whole_and_needs_nothing_else(found: Findings) -> None:
    page = Page(report_html([found]))
    assert page.all("html") == [{"lang": "en"}] and len(page.all("title")) == len(page.all("main")) == 1
    assert not any(set(attributes) & {"src", "srcset", "data-src"} for _, attributes in page.elements)
    assert not page.all("link") and all(str(a["href"]).startswith("#") for a in page.all("a"))
    (policy,) = (each for each in page.all("meta") if "http-equiv" in each)
    assert str(policy["content"]).startswith("default-src 'none';")
    ids = Counter(str(attributes["id"]) for _, attributes in page.elements if "id" in attributes)
    assert set(ids.values()) == {1} and {str(a["href"])[1:] for a in page.all("a")} <= set(ids)


def test_every_picture_can_be_read_without_seeing_it(found: Findings) -> None:
    page = Page(report_html([found]))
    pictures = [each for each in page.all("div") if each.get("role") == "img"]
    names = ["progress", "budget", "scaling-find", "scaling-answer", "frontier", "preference"]
    assert [picture["id"] for picture in pictures] == list(page.figures) == names
    assert len(page.all("figcaption")) == len(page.all("figure")) == len(pictures)
    assert all(len(str(picture["aria-label"])) > 20 for picture in pictures)
    assert page.said.count("These numbers as a table") == len(pictures)
    assert all(
        region["tabindex"] == "0" and region["aria-label"]
        for region in page.all("div")
        if "role" in region and region["role"] == "region"
    )
    assert any(each for figure in page.figures.values() for trace in figure["data"] for each in trace["x"])


def test_the_answer_comes_first_and_is_that_of_the_search(found: Findings) -> None:
    said = Page(report_html([found])).said
    best, check = found.best, found.validation
    assert check is not None
    for part in (
        f"Held-out score {check.score:.3f}", f"Score in the search {best.evaluation.score:.3f}",
        f"Cost of one query {best.cost:.4g} MFLOP", f"Tokens paid for {found.spend.tokens:,}",
        f"Tokens saved by reuse {found.spend.reused_tokens:,}", "The answer", "Timeline", "new best", "fingerprint of",
        "None: every proposal fitted the budget and was new.", "Insight 1", "Insight 3",
    ):  # fmt: skip
        assert part in said
    assert said.index("Held-out score") < said.index("How the search got there")


def test_what_a_model_wrote_is_text_everywhere(hostile: Findings) -> None:
    page = Page(report_html([hostile]))
    assert not page.all("img") and len(page.all("script")) == len(page.figures) + 2
    shown = " ".join(HOSTILE.replace("\x1b", "\\x1b").split())
    # command, searcher, rationale, guideline, prompt, reply, planner, errors, both kinds of refusal
    assert page.said.count(shown) >= 10
    assert "{{ 7 * 7 }}" in page.said and "\x1b" not in page.said
    assert "1,234 tokens" in page.said
    marked = [text for text in strings(page.figures) if "<" in text.replace("<br>", "")]
    assert marked == []
    assert any("alert(1)" in html.unescape(text) for text in strings(page.figures))


def test_progress_is_one_panel_with_a_switch_of_its_axis(found: Findings) -> None:
    figure = Page(report_html([found])).figures["progress"]
    (menu,) = figure["layout"]["updatemenus"]
    assert [button["label"] for button in menu["buttons"]] == ["trials", "example evaluations", "tokens paid for"]
    assert len([name for name in figure["layout"] if name.startswith("xaxis")]) == 1
    for button in menu["buttons"]:
        visible, title = button["args"]
        shown = [trace for trace, seen in zip(figure["data"], visible["visible"], strict=True) if seen]
        assert {trace["meta"] for trace in shown} == {button["label"]} == {title["xaxis.title.text"]}


async def test_the_baseline_the_winner_and_what_was_never_tried_are_shown(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store
) -> None:
    first = Allocation({"find": ("small", 1), "answer": ("small", 1)})
    result = await search(
        toy_environment, _OneModel(), toy_space, store, study_name="s", limits=Limits(trials=5), baseline=first
    )
    (found,) = read_findings(store, ["s"])
    page = Page(report_html([found]))
    assert result.baseline_check is not None
    assert f"Score of the baseline {result.baseline_check.score:.3f}" in page.said
    assert "Cheapest not shown to be worse" in page.said and f"recommended {found.best.number} " in page.said
    bars = page.figures["budget"]["data"][0]["y"]
    assert bars[-2:] == ["baseline, find: small x1", "baseline, answer: small x1"] and len(bars) == 4
    assert [trace["x"] for trace in page.figures["scaling-find"]["data"] if trace["name"] == "recommended"][0] != [None]
    assert "No trial used large at find: it fits the budget only where other stages cost less" in page.said
    alone = replace(found, archive=replace(found.archive, trials=found.trials[:1]))
    assert untried_models(alone)[0].startswith(
        "No trial used large at find: beside the recommended other stages it is expected at 0."
    )
    tight = replace(found, study=replace(found.study, details={**found.study.details, "prices": {"find": {}}}))
    assert untried_models(tight)[0].startswith("No trial used large at find: it does not fit the budget")


async def test_no_knee_is_shown_where_a_curve_cannot_be_told_from_a_flat_one() -> None:
    rng, counts = np.random.default_rng(0), (1, 2, 4, 8, 16)
    flat = 0.5 + 0.1 * rng.standard_normal((200, 1)) + 0.02 * rng.standard_normal((200, 5))
    rising = flat + np.array([-0.3, -0.1, 0.0, 0.0, 0.0])
    assert not fit_curve(counts, flat).told and fit_curve(counts, rising).told
    assert curve_of(flat).knee is None and curve_of(rising).knee is not None


def curve_of(draws: Floats) -> Curve:
    counts = (1, 2, 4, 8, 16)
    return Curve(
        subtask="find", model="small", counts=counts, expected=(), fit=fit_curve(counts, draws), on_curve=(),
        elsewhere=(),
    )  # fmt: skip


class _OneModel(Searcher):
    """Tries one model at each stage."""

    name = "one-model"

    async def propose(self, archive: Archive, space: SearchSpace, count: int) -> list[Proposal]:
        small = [a for a in space.enumerate() if a["find"].model == "small" and a["answer"].model == "large"]
        return [Proposal(a) for a in small if a not in archive.tried][:count]


async def test_hostile_names_are_text_in_figures(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store
) -> None:
    for seed, name in enumerate((HOSTILE, f"b{HOSTILE}")):
        await searched(toy_environment, toy_space, store, name, seed=seed)
    page = Page(report_html(read_findings(store, [HOSTILE, f"b{HOSTILE}"])))
    assert not page.all("img") and len(page.all("script")) == len(page.figures) + 2
    assert not any("<" in text.replace("<br>", "") for text in strings(page.figures))
    assert any("&lt;img" in text for text in strings(page.figures))


async def test_several_studies_are_compared_with_bands(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store
) -> None:
    for method in ("random", "tpe"):
        for seed in (0, 1):
            await searched(toy_environment, toy_space, store, f"{method}-s{seed}", method=method, seed=seed)
    page = Page(report_html(read_findings(store, ["random-*", "tpe-s0", "tpe-s1"])))
    assert list(page.figures) == ["progress", "recommended"]
    shown = [trace for trace in page.figures["progress"]["data"] if trace.get("visible", True)]
    assert [trace["name"] for trace in shown if trace.get("showlegend", True)] == ["random, 2 seeds", "tpe, 2 seeds"]
    assert sum(trace.get("fill") == "tonexty" for trace in shown) == 2
    assert "4 studies of toy" in page.said and "2 methods compared" in page.said


async def test_what_cannot_be_reported_is_one_sentence(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store, found: Findings
) -> None:
    store.start("empty", found.study.spec)
    with pytest.raises(ConfigError, match="study 'empty' has no finished trial yet"):
        read_findings(store, ["empty"])
    with pytest.raises(ConfigError, match="study 'empty' has no finished trial yet"):
        trace_lines(store, store.study("empty"))
    store.start("elsewhere", replace(found.study.spec, environment="other", fingerprint="0"))
    with pytest.raises(ConfigError, match="'toy' and 'elsewhere' are of different environments .* page of its own"):
        read_findings(store, ["toy", "elsewhere"])
    store.start("dearer", replace(found.study.spec, budget=500.0))
    with pytest.raises(ConfigError, match="'toy' and 'dearer' were searched under different budgets"):
        read_findings(store, ["toy", "dearer"])
    with pytest.raises(ConfigError, match="there is no study 'none'"):
        read_findings(store, ["none"])


def test_a_study_of_which_no_prices_were_kept_says_so(found: Findings) -> None:
    page = Page(report_html([replace(found, study=replace(found.study, details={}))]))
    assert "did not keep prices" in page.said and "budget" not in page.figures and "not recorded" in page.said

"""Operators: what each makes of known samples, what it asks for, and what that costs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import agenttts as at
from agenttts.errors import ConfigError
from agenttts.execution.pool import SamplePool
from agenttts.execution.run import ExampleRun
from agenttts.pipeline import Message, Model, Operator, Subtask
from agenttts.pipeline.operator import Amount, Lengths, Load, SubtaskRun, named
from agenttts.pipeline.operators import (
    AdaptiveVote,
    BestOf,
    Cascade,
    Listwise,
    Mix,
    Refine,
    Revise,
    StepSearch,
    Tree,
    Verifier,
    Vote,
    WeightedVote,
    WindowVote,
    leads,
)
from agenttts.space import SearchSpace, cost_model
from agenttts.space.cost import COST_MODELS
from agenttts.testing import OperatorSuite, ScriptedClient

SMALL, LARGE, JUDGE = at.Model("small", 1e9), at.Model("large", 8e9), at.Model("judge", 4e9)
LENGTHS = Lengths(100, 20)
Reply = Callable[[Model, Sequence[Message], int], str]


def longest(value: Any, given: at.SubtaskInput) -> float:
    return len(str(value))


@dataclass(frozen=True)
class Debate(Operator):
    """An operator of a user's own: everybody answers, then everybody answers again after reading the others."""

    rounds: int = 2

    @property
    def name(self) -> str:
        return f"debate(rounds={self.rounds})"

    async def run(self, stage: SubtaskRun) -> Any:
        said = await stage.usable()
        for _ in range(self.rounds - 1):
            others = [{"role": "user", "content": " / ".join(each.text for each in said)}]
            said = stage.require_usable(await stage.sample([*stage.messages, *others]))
        return at.operators.winner([each.value for each in said])

    def loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        read = lengths.prompt + samples * lengths.completion
        first = Load(1, lengths.prompt, samples, lengths.completion)
        return [first, Load(self.rounds - 1, read, samples, lengths.completion)]


@dataclass(frozen=True)
class Panel(Operator):
    """An operator of a user's own that asks several models, each once."""

    panel: tuple[at.Model, ...]

    @property
    def name(self) -> str:
        return named("panel", models="+".join(model.name for model in self.panel))

    async def run(self, stage: SubtaskRun) -> Any:
        said = [drawn for model in self.panel for drawn in await stage.sample(samples=1, model=model)]
        return at.operators.winner([each.value for each in stage.require_usable(said)])

    def loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        return [Load(1, lengths.prompt, 1, lengths.completion, model) for model in self.panel]


MADE = [
    Vote(),
    Vote(key=str.lower),
    AdaptiveVote(),
    AdaptiveVote(confidence=0.8, window=1),
    WindowVote(window=3),
    Cascade(to=LARGE, samples=3),
    Cascade(to=LARGE, agree=0.95, share=0.3),
    Mix(other=LARGE, share=0.25),
    BestOf(JUDGE),
    BestOf(Verifier(JUDGE, tokens=5), votes=4),
    BestOf(Verifier(JUDGE, logprobs=True), votes=2),
    BestOf(longest),
    BestOf((longest, JUDGE, Verifier(LARGE))),
    WeightedVote(JUDGE, votes=2),
    Listwise(),
    Listwise(judge=LARGE),
    Revise(width=1),
    Revise(width=3),
    Revise(width=2, verifier=(JUDGE, longest)),
    Refine(JUDGE, width=2),
    Refine(longest),
    StepSearch(JUDGE),
    StepSearch(JUDGE, width=3, depth=2, temperature=0),
    StepSearch(JUDGE, sharing=1, diversity=1.5),
    Tree(JUDGE),
    Tree(lambda value, given: 1 / len(str(value))),
    Debate(),
    Panel((LARGE, JUDGE)),
]


@pytest.mark.parametrize("operator", MADE, ids=lambda operator: operator.name)
class TestEvery(OperatorSuite):
    @pytest.fixture(autouse=True)
    def _chosen(self, operator: Operator) -> None:
        self.operator = operator

    def make(self) -> Operator:
        return self.operator


def output(operator: Operator, samples: int, reply: Reply, **fields: Any) -> tuple[Any, ScriptedClient, ExampleRun]:
    subtask = at.Subtask("s", (SMALL, LARGE), "{{ question }}", operators=(operator,), **fields)
    pipeline = at.Pipeline("p", (subtask,), metric=at.metrics.equal("question"))
    client = ScriptedClient(reply)
    run = ExampleRun(
        pipeline, at.Allocation({"s": ("small", samples)}), {"id": "1", "question": "q"}, client, SamplePool()
    )
    return asyncio.run(run.walk()), client, run


def answers(*texts: str) -> Reply:
    """The same answers in turn to every prompt."""
    return lambda model, messages, position: texts[position % len(texts)]


# Votes


def test_spellings_of_one_answer_are_one_candidate() -> None:
    reply = answers("London", "Paris", "london", "PARIS", "paris")
    assert output(Vote(), 5, reply)[0] == "London"
    assert output(Vote(key=str.lower), 5, reply)[0] == "Paris"


@pytest.mark.parametrize(
    ("first", "second", "chance"),
    [(3, 0, 0.9375), (4, 0, 0.96875), (5, 1, 0.9375), (6, 1, 0.9648), (9, 3, 0.9539)],
)
def test_the_stopping_rule_is_that_of_adaptive_consistency(first: int, second: int, chance: float) -> None:
    """Worked out from arXiv 2305.11860."""
    assert leads(first, second) == pytest.approx(chance, abs=5e-5)


@pytest.mark.parametrize(("window", "texts", "drawn"), [
    (1, "aaaa", 4), (4, "aaaa", 4), (3, "aaaa", 6), (1, "aabaaaaa", 7), (4, "abab", 16), (1, "ab", 16), (5, "aaaaa", 5)
])  # fmt: skip
def test_an_adaptive_vote_stops_when_its_leader_is_sure(window: int, texts: str, drawn: int) -> None:
    said, _, run = output(AdaptiveVote(window=window), 16, answers(*texts))
    assert said == "a" and run.tallies["s"].samples == drawn


def test_samples_that_are_looked_at_again_are_counted_once() -> None:
    _, client, run = output(AdaptiveVote(window=2), 6, answers("1", "x", "2"), parser=at.parsers.number)
    tally = run.tallies["s"]
    assert (tally.samples, tally.unparsable, tally.requests, client.requests) == (6, 2, 3, 3)


@pytest.mark.parametrize(("texts", "drawn"), [("aaab", 3), ("abaaaa", 6), ("abc", 9), ("aab", 9)])
def test_a_window_vote_stops_at_a_unanimous_window(texts: str, drawn: int) -> None:
    assert output(WindowVote(window=3), 9, answers(*texts))[2].tallies["s"].samples == drawn


@given(st.integers(1, 6), st.floats(0.6, 0.99), st.integers(1, 40))
def test_the_mean_of_an_adaptive_vote_is_what_it_draws_in_the_mean(
    window: int, confidence: float, samples: int
) -> None:
    """Against every sequence of votes, weighed as the rule's prior does."""
    operator, total = AdaptiveVote(confidence=confidence, window=window), 0.0
    samples = min(samples, 9)

    def walk(one: int, other: int, chance: float) -> float:
        count = one + other
        stops = count % window == 0 and count and leads(max(one, other), min(one, other)) >= confidence
        if count == samples or stops:
            return chance * count
        more = (one + 1) / (count + 2)
        return walk(one + 1, other, chance * more) + walk(one, other + 1, chance * (1 - more))

    total = walk(0, 0, 1.0)
    (load,) = operator.loads(samples, LENGTHS)
    assert float(load.requests * load.choices) == pytest.approx(total)


def test_a_cascade_asks_the_dearer_model_only_where_samples_disagree() -> None:
    def reply(model: Model, messages: Sequence[Message], position: int) -> str:
        return "sure" if model is LARGE else texts[position]

    texts = "aaab"
    said, client, _ = output(Cascade(to=LARGE, agree=0.75), 4, reply)
    assert said == "a" and client.requests == 1
    texts = "aabb"
    said, client, _ = output(Cascade(to=LARGE, agree=0.75), 4, reply)
    assert said == "sure" and client.requests == 2


def test_a_mix_votes_over_the_samples_of_two_models() -> None:
    said, _, run = output(Mix(other=LARGE, share=0.6), 5, lambda model, messages, position: model.name)
    assert said == "large" and run.tallies["s"].samples == 2  # only its own model's tell of its lengths


# Verifiers


def verdict(right: str) -> Reply:
    def reply(model: Model, messages: Sequence[Message], position: int) -> str:
        if model is JUDGE:
            return "Yes" if messages[-1]["content"].endswith(f"\n{right}") else "No"
        return "aabab"[position % 5]

    return reply


def test_the_verified_candidate_wins_against_more_votes() -> None:
    assert output(Vote(), 5, verdict("b"))[0] == "a"
    said, client, _ = output(BestOf(JUDGE), 5, verdict("b"))
    assert said == "b" and client.requests == 3  # each distinct candidate is judged once
    assert output(WeightedVote(JUDGE), 5, verdict("b"))[0] == "b"


def test_candidates_that_agree_are_not_judged() -> None:
    assert output(BestOf(JUDGE), 4, answers("a"))[1].requests == 1


def test_a_verdict_that_is_none_is_half_a_yes_and_counted() -> None:
    said, _, run = output(BestOf(JUDGE), 5, lambda m, _, i: "perhaps" if m is JUDGE else "aabab"[i])
    assert said == "a" and run.tallies["s"].unparsable == 2


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("Yes", True), ("**Yes**", True), ("It is not yes.\nNo.", False), ("Yes, no mistakes.", True),
        ("Yes.\nThere are no errors in it.", True), ("It has no errors. Yes", True), ("No, it has no support.", False),
        ("no it is not", False), ("Yes or no? No", False), ("NO\nAnd no more of this", False),
    ],
)  # fmt: skip
def test_a_verdict_is_what_a_reader_takes_it_for(text: str, right: bool) -> None:
    other = "No" if right else "Yes"

    def reply(model: Model, messages: Sequence[Message], position: int) -> str:
        if model is JUDGE:
            return text if messages[-1]["content"].endswith("\nb") else other
        return "aabab"[position % 5]

    said, _, run = output(BestOf(JUDGE), 5, reply)
    assert (said == "b") == right and run.tallies["s"].unparsable == 0


def test_a_function_can_verify_and_may_be_a_coroutine() -> None:
    async def slow(value: Any, given: at.SubtaskInput) -> float:
        assert given.example["question"] == "q"
        return float(value)

    reply = answers("1", "1", "7", "3")
    assert output(BestOf(slow), 4, reply)[0] == "7"
    assert output(BestOf(lambda value, given: -float(value)), 4, reply)[0] == "1"


def test_several_verifiers_count_together() -> None:
    """Of what passes the tests, the judge's choice; of what the judge likes, what passes."""

    def passes(value: Any, given: at.SubtaskInput) -> float:
        return float(value in ("b", "c"))

    def reply(model: Model, messages: Sequence[Message], position: int) -> str:
        if model is JUDGE:
            return "Yes" if messages[-1]["content"][-1] in "ac" else "No"
        return "aabbc"[position % 5]

    hybrid = BestOf((passes, JUDGE))
    assert output(hybrid, 5, reply)[0] == "c" and output(hybrid, 4, reply)[0] == "a"  # as good as "b", drawn first
    assert hybrid.name == "best-of(verifier=passes+judge)" and [each.name for each in hybrid.models] == ["judge"]


def test_a_verifier_that_gives_no_number_is_named() -> None:
    with pytest.raises(ConfigError, match="subtask 's': the verifier of best-of.* gave NaN"):
        output(BestOf(lambda value, given: float("nan")), 3, answers("1", "2"))


def test_a_name_is_the_same_in_every_process() -> None:
    class Reward:
        def __call__(self, value: Any, given: at.SubtaskInput) -> float:
            return 1.0

    assert BestOf(Reward()).name == "best-of(verifier=Reward)"
    assert Cascade(to=at.Model("a@1", 1e9)).name == "cascade(to=a1,samples=1,agree=0.6)"


def test_a_judge_reads_the_candidates_in_an_order_that_favours_none() -> None:
    def first(model: Model, messages: Sequence[Message], position: int) -> str:
        if model is JUDGE:
            shown.append(messages[-1]["content"].split("Candidates:")[1].split())
            return "The best is 1."
        return texts[position]

    shown: list[list[str]] = []
    firsts = set()
    for texts in ("abcd", "bcda", "efgh", "hgfe", "dcba", "badc"):
        firsts.add(texts.index(output(Listwise(judge=JUDGE), 4, first)[0]))
        assert sorted(shown[-1][1::2]) == sorted(texts)
    assert len(firsts) > 1


# Attempts that build on one another


def test_a_revision_sees_the_last_four_attempts_of_its_chain() -> None:
    def reply(model: Model, messages: Sequence[Message], position: int) -> str:
        prompts.append(messages)
        return f"attempt {len(prompts)}"

    prompts: list[Sequence[Message]] = []
    output(Revise(width=1), 7, reply)
    assert [message["content"].count("attempt ") for messages in prompts for message in messages[1:]] == [
        1,
        2,
        3,
        4,
        4,
        4,
    ]
    assert "attempt 2" not in prompts[6][1]["content"] and "attempt 6" in prompts[6][1]["content"]


def test_a_verifier_chooses_among_the_attempts_of_all_chains() -> None:
    def once(model: Model, messages: Sequence[Message], position: int) -> str:
        return "9" if len(messages) == 1 and position == 1 else "1"

    assert output(Revise(width=2), 6, once)[0] == "1"
    assert output(Revise(width=2, verifier=lambda value, given: float(value)), 6, once)[0] == "9"


def test_chains_that_came_to_the_same_attempts_go_on_apart() -> None:
    def reply(model: Model, messages: Sequence[Message], position: int) -> str:
        return "same" if len(messages) == 1 else f"{position}"

    assert output(Revise(width=3), 6, reply)[2].tallies["s"].samples == 3
    seen = output(Revise(width=3), 6, lambda m, s, i: "9" if len(s) == 1 else str(i), parser=at.parsers.number)[0]
    assert seen == 9


def test_refinement_shows_the_best_and_the_worst_and_returns_the_best_ever() -> None:
    def reply(model: Model, messages: Sequence[Message], position: int) -> str:
        if len(messages) > 1:
            shown.append(messages[-1]["content"])
            return "0"
        return ("3", "9")[position]

    shown: list[str] = []
    assert output(Refine(lambda value, given: float(value), width=2), 4, reply)[0] == "9"
    assert "Best so far:\n9" in shown[0] and "Worst so far:\n3" in shown[0]


def test_a_tree_builds_on_its_attempts_and_returns_the_best() -> None:
    def reply(model: Model, messages: Sequence[Message], position: int) -> str:
        if len(messages) > 1:
            shown.append(messages[-1]["content"])
            return str(int(re.findall(r"(\d)\n", messages[-1]["content"])[-1]) + 1)
        return "1"

    shown: list[str] = []
    said, client, _ = output(Tree(lambda value, given: int(value) / 10), 8, reply)
    again = output(Tree(lambda value, given: int(value) / 10), 8, reply)
    assert int(said) > 1 and again[0] == said and client.requests == 8
    assert "(found to be 0.10)" in shown[0]


@pytest.mark.parametrize("operator", MADE, ids=lambda operator: operator.name)
def test_without_a_usable_sample_the_default_is_the_output(operator: Operator) -> None:
    if isinstance(operator, Debate | Panel):
        pytest.skip("tested by its own promise")

    def reply(model: Model, messages: Sequence[Message], position: int) -> str:
        return "1" if model is JUDGE else "?"

    said, *_ = output(operator, 6, reply, parser=at.parsers.number, default=-1)
    assert said == -1
    with pytest.raises(at.ParseError, match="none of .* could be parsed"):
        output(operator, 6, reply, parser=at.parsers.number)


# Costs


@pytest.mark.parametrize("name", COST_MODELS)
def test_every_request_is_priced_at_the_model_that_answers_it(name: str) -> None:
    figures: dict[str, Any] = {"layers": 2, "hidden_size": 8, "prefill_tokens_per_s": 9.0, "decode_tokens_per_s": 3.0,
               "usd_per_million_prompt_tokens": 2.0, "usd_per_million_completion_tokens": 7.0}  # fmt: skip
    small, large = at.Model("small", 1e9, **figures), at.Model("large", 8e9, **figures)
    subtask, model = at.Subtask("s", (small,), "x", prompt_tokens=100, completion_tokens=20), cost_model(name)
    cascade, vote = Cascade(to=large, samples=3, share=0.25), Vote()
    alone = [float(model.cost(subtask, each, n, vote)) for each, n in ((small, 4), (large, 3))]
    offset = 2 if name == "paper" else 0  # which the paper's unit takes off once
    assert float(model.cost(subtask, small, 4, cascade)) == pytest.approx(alone[0] + 0.25 * (alone[1] + offset))


def test_the_prices_of_known_operators_are_their_formulas() -> None:
    flops, p, g, samples = cost_model("flops"), 100, 20, 6
    subtask = Subtask("s", (SMALL,), "x", prompt_tokens=p, completion_tokens=g)

    def tokens(operator: Operator) -> float:
        return float(flops.cost(subtask, SMALL, samples, operator)) * 1e6 / 2e9

    own = p + samples * g
    judge = 4 * 6 * (p + g + 60 + 2 * 128)  # a verdict on each candidate, by a model four times the size
    assert tokens(Vote()) == pytest.approx(own)
    assert tokens(BestOf(JUDGE, votes=2)) == tokens(WeightedVote(JUDGE, votes=2)) == pytest.approx(own + judge)
    assert tokens(BestOf(longest)) == pytest.approx(own)
    share = 128 / g  # arXiv 2504.01005: S samples with V verdicts each take S (1 + share V) times the tokens of one
    for votes in (1, 2, 4):
        loads = BestOf(JUDGE, votes=votes).loads(samples, Lengths(p, g))
        generated = sum(float(load.requests * load.choices * load.completion) for load in loads)
        assert generated == pytest.approx(samples * g * (1 + share * votes))
    assert tokens(Listwise()) == pytest.approx(own + p + samples * g + 8)
    assert tokens(Revise(width=1)) == pytest.approx(sum(p + min(j, 4) * g for j in range(samples)) + samples * g)
    assert tokens(Revise(width=2)) == pytest.approx(p + 2 * (p + g) + 2 * (p + 2 * g) + samples * g)
    assert tokens(Mix(other=LARGE, share=0.5)) == pytest.approx(p + 3 * g + 8 * (p + 3 * g))


# What a subtask accepts, and what a search chooses from


def space(budget: float = 5000, **fields: Any) -> SearchSpace:
    operators = (Vote(), BestOf(JUDGE), Cascade(to=LARGE), Revise(width=2))
    answer = at.Subtask("answer", (SMALL, LARGE), "x", operators=operators, prompt_tokens=100, completion_tokens=20,
                        **{"max_samples": 12, **fields})  # fmt: skip
    find = at.Subtask("find", (SMALL, LARGE), "x", prompt_tokens=50, completion_tokens=10, max_samples=3)
    return SearchSpace(
        at.Pipeline("p", (find, answer), metric=at.metrics.equal("x")), cost_model("flops"), 1000 * budget
    )


@pytest.mark.parametrize("budget", [700, 2000, 5000, 9000])
@pytest.mark.parametrize("fields", [{}, {"sample_counts": (1, 2, 5, 9)}])
def test_the_space_counts_lists_and_draws_operators_like_models(budget: float, fields: dict[str, Any]) -> None:
    searched = space(budget, **fields)
    listed = list(searched.enumerate())
    assert len(listed) == searched.size == len({each.key for each in listed})
    assert all(each in searched and searched.cost(each) <= searched.limit for each in listed)
    assert searched.cheapest in listed and searched.cost(searched.cheapest) == min(map(searched.cost, listed))
    fits = [
        allocation
        for find in (("small", n) for n in range(1, 4))
        for answer in searched.pipeline.subtask("answer").pairings
        for n in range(1, 13)
        if (allocation := at.Allocation({"find": find, "answer": (answer.model.name, n, answer.operator_name)}))
        in searched
    ]
    assert {each.key for each in fits} == {each.key for each in listed if each["find"].model == "small"}
    drawn = {each.key for each in searched.sample(at.Archive(trials=()).rng(0), 4000)}
    assert drawn <= {each.key for each in listed}
    for allocation in listed[::37]:
        assert all(each in searched for each in searched.neighbours(allocation))
        assert searched.worst_cost(allocation) >= searched.cost(allocation) - 1e-6


def test_an_operator_that_does_not_fit_is_refused_in_a_sentence() -> None:
    searched = space()
    for choice, said in (
        (
            ("small", 4, "debate"),
            "subtask 'answer' has no operator 'debate'; choose one of vote, best-of(verifier=judge)",
        ),
        (
            ("small", 1, "best-of(verifier=judge)"),
            "operator 'best-of(verifier=judge)' of subtask 'answer' takes 2 samples",
        ),
        (("small", 4, "vote"), "operator 'vote' is the first of subtask 'answer': leave it out"),
    ):
        (fault,) = searched.faults(at.Allocation({"find": ("small", 1), "answer": choice}))
        assert fault.startswith(said)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"operators": (Vote(), Vote())}, "lists the operator 'vote' twice"),
        ({"operators": (Vote(),), "aggregator": at.aggregators.Fuse()}, "has both operators and its short form"),
        ({"operators": ("vote",)}, "must be a list of operators such as at.operators.Vote(), not 'vote'"),
        ({"operators": Vote}, "must be a list of operators such as"),
    ],
)
def test_operators_that_cannot_be_are_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("(", r"\(").replace(")", r"\)")):
        at.Subtask("s", (SMALL,), "x", **fields)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: AdaptiveVote(confidence=1.0), "AdaptiveVote: confidence must be a number over 0 and under 1, not 1.0"),
        (lambda: WindowVote(window=0), "WindowVote: window must be a whole number >= 1, not 0"),
        (lambda: Cascade(to="large"), "Cascade: to must be a Model, not 'large'"),  # type: ignore[arg-type]
        (lambda: Mix(other=LARGE, share=0), "Mix: share must be a number over 0 and under 1, not 0"),
        (lambda: BestOf("judge"), "BestOf: verifier must be a Model, a Verifier, or a function"),  # type: ignore[arg-type]
        (lambda: BestOf(longest, votes=2), "BestOf: votes=2 takes a model as the verifier"),
        (lambda: Refine(3), "verifier must be a Model, a Verifier, or a function"),  # type: ignore[arg-type]
        (lambda: Revise(width=2.5), "Revise: width must be a whole number >= 1, not 2.5"),  # type: ignore[arg-type]
    ],
)
def test_settings_that_cannot_be_are_named(make: Callable[[], Operator], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        make()


def alone(operators: tuple[Operator, ...]) -> at.Pipeline:
    subtask = at.Subtask("s", (SMALL,), "x", operators=operators)
    return at.Pipeline("p", (subtask,), metric=at.metrics.equal("x"))


def test_an_operator_counts_in_the_fingerprint() -> None:
    prints = {
        alone(operators).fingerprint
        for operators in ((), (Vote(),), (Vote(), Revise()), (Vote(), Revise(width=2)), (Vote(), Cascade(to=LARGE)),
                          (Vote(), Cascade(to=JUDGE)), (Vote(), Cascade(to=LARGE, share=0.9)))
    }  # fmt: skip
    assert len(prints) == 6  # the share prices a cascade, and decides nothing


def test_the_models_of_operators_are_models_of_the_pipeline() -> None:
    pipeline = space().pipeline
    assert [model.name for model in pipeline.models] == ["small", "large", "judge"]
    assert {model.revision for model in pipeline.with_revision("r2").models} == {"r2"}
    with pytest.raises(ConfigError, match="model 'small' has"):
        alone((Cascade(to=at.Model("small", 2e9)),))


def test_the_models_of_an_operator_may_stand_in_a_list() -> None:
    pipeline = alone((Panel((LARGE, JUDGE)),))
    assert [model.name for model in pipeline.models] == ["small", "large", "judge"]
    assert {model.revision for model in pipeline.with_revision("r2").models} == {"r2"}

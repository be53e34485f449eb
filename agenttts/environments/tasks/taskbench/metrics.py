"""TaskBench's metrics of one plan, as the paper uses them: each is (output of a stage, example) -> [0, 1].

    step ROUGE-L    F-measure of the longest common subsequence of the steps' tokens (`rouge_score`, Porter stemming)
    node F1         common tools over the numbers of predicted and gold nodes
    argument F1     common (tool, argument) pairs over the numbers of predicted and gold arguments: the paper's headline
    link F1         common (source, target) pairs over the numbers of predicted and gold links

What is common is counted once, what is listed is counted as often as it is (the authors' sets over list lengths), so
that repeating oneself costs precision. An argument is compared as it stands: `<node-j>` too, so that a plan that lists
its tools in another order than the labels (in 2023 the alphabetical one) loses the arguments that refer to outputs.
Where nothing was to be listed and nothing was, the score is 1. TaskBench's own n-F1 and t-F1 are other figures:
micro-averages over the whole test set. The authors leave out replies that are no plan; here they score 0 and are
counted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from agenttts._util.hints import install
from agenttts.errors import ConfigError
from agenttts.pipeline import Example, Metric
from agenttts.pipeline.fingerprint import identified, identified_factory


@identified_factory("tasks.taskbench.step_rouge_l", version=1)
def step_rouge_l() -> Metric:
    """ROUGE-L of the steps, joined by line breaks.

    Raises:
        ConfigError: When `rouge_score` is not installed.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise ConfigError(f"TaskBench's step metric needs rouge_score: {install('tasks')}") from error
    scorer = RougeScorer(["rougeL"], use_stemmer=True)

    def score(output: Any, example: Example) -> float:
        gold, predicted = "\n".join(example["steps"]), "\n".join(output["task_steps"])
        return float(scorer.score(gold, predicted)["rougeL"].fmeasure)

    return score


@identified_factory("tasks.taskbench.node_f1", version=1)
def node_f1(*, spaced: bool = False) -> Metric:
    """F1 of the tools.

    Args:
        spaced: Whether `_` in a tool's name is read as a space, as where outputs feed inputs.
    """

    def score(output: Any, example: Example) -> float:
        predicted, gold = (
            [_tool(node["task"], spaced) for node in nodes] for nodes in (output["task_nodes"], example["nodes"])
        )
        return _f1(predicted, gold)

    return score


@identified_factory("tasks.taskbench.argument_f1", version=1)
def argument_f1(*, spaced: bool = False) -> Metric:
    """F1 of the arguments, each with its tool; a value must be exactly the gold one.

    Args:
        spaced: As for `node_f1`.
    """

    def score(output: Any, example: Example) -> float:
        predicted, gold = (_arguments(nodes, spaced) for nodes in (output["task_nodes"], example["nodes"]))
        return _f1(predicted, gold)

    return score


@identified("tasks.taskbench.link_f1", version=1)
def link_f1(output: Any, example: Example) -> float:
    """F1 of the links."""
    predicted, gold = (
        [(link["source"], link["target"]) for link in links] for links in (output["task_links"], example["links"])
    )
    return _f1(predicted, gold)


def _arguments(nodes: Sequence[dict[str, Any]], spaced: bool) -> list[tuple[str, str]]:
    # Printed, as the authors compare them, but whatever the order of an object's keys.
    return [
        (_tool(node["task"], spaced), argument if isinstance(argument, str) else json.dumps(argument, sort_keys=True))
        for node in nodes
        for argument in node["arguments"]
    ]


def _tool(name: str, spaced: bool) -> str:
    return name.replace("_", " ") if spaced else name


def _f1(predicted: Sequence[Any], gold: Sequence[Any]) -> float:
    if not predicted and not gold:
        return 1.0
    return 2 * len(set(predicted) & set(gold)) / (len(predicted) + len(gold))

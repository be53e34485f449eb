"""TaskBench (Shen et al., NeurIPS 2024 D&B) as the paper runs it: decomposition, tool selection, parameter prediction.

`agenttts search taskbench --data data_dailylifeapis` (the paper's domain), `--data data_multimedia` or `--data
data_huggingface`: the folders as published, or `--data microsoft/Taskbench:multimedia` from the Hub.

Token lengths, models and temperature are the paper's (table 4, section A.4; its code has 0.5), token limits and the
merging temperature its code's, which gives 100 requests to the search and the next 500 to the test. The samples of a
stage are merged by the stage's own model: the paper's operator (eq. 1), which its code replaces by a fixed
Llama-3.1-8B that runs for a single sample too and is free. Here one sample is passed on as it is, and merging costs.
Also unlike the code: no second model repairs broken JSON (a sample that is no plan is a counted non-vote), and what
fails scores 0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from agenttts.environments.live import LiveEnvironment
from agenttts.environments.tasks.models import LLAMA_8B, LLAMA_70B
from agenttts.environments.tasks.rows import split
from agenttts.environments.tasks.taskbench import plans, prompts
from agenttts.environments.tasks.taskbench.examples import TASK, find_data, read_examples
from agenttts.environments.tasks.taskbench.metrics import argument_f1, node_f1, step_rouge_l
from agenttts.environments.tasks.taskbench.tools import ToolGraph
from agenttts.pipeline import Metric, Parser, Pipeline, Sampling, Subtask, SubtaskInput
from agenttts.pipeline.aggregators import Fuse
from agenttts.space.cost import Budget

BUDGET = 1978
"""The largest model of each stage once (1977.33), in the paper's unit."""
SEARCHED = 100
_MAX_TOKENS = 2048
_SAMPLING = Sampling(temperature=0.9, max_tokens=_MAX_TOKENS)
_MERGE = Fuse("merge", prompts.MERGE, Sampling(temperature=0.3, max_tokens=_MAX_TOKENS))


def pipeline(graph: ToolGraph) -> Pipeline:
    """The three stages over the tools of one domain."""
    spaced = not graph.temporal
    stages = (
        _stage("decomposition", graph, prompts.decomposition, plans.steps, step_rouge_l(), (1024, 64)),
        _stage("tool_selection", graph, prompts.tool_selection, plans.tools, node_f1(spaced=spaced), (1024, 256)),
        _stage(
            "parameter_prediction",
            graph,
            prompts.parameter_prediction,
            plans.arguments,
            argument_f1(spaced=spaced),
            (1024, 2048),
            after=("decomposition", "tool_selection"),
        ),
    )
    return Pipeline(TASK, stages, metric=argument_f1(spaced=spaced))


def _stage(
    name: str,
    graph: ToolGraph,
    prompt: Callable[[ToolGraph, SubtaskInput], str],
    parser: Parser,
    metric: Metric,
    tokens: tuple[int, int],
    *,
    after: tuple[str, ...] | None = None,
) -> Subtask:
    return Subtask(
        name,
        (LLAMA_8B, LLAMA_70B),
        partial(prompt, graph),
        parser=parser,
        aggregator=_MERGE,
        metric=metric,
        after=after,
        prompt_tokens=tokens[0],
        completion_tokens=tokens[1],
        sampling=_SAMPLING,
    )


def taskbench(data: str | None = None) -> LiveEnvironment:
    """TaskBench on these data: the first 100 requests are searched, the next 500 held out.

    Args:
        data: The folder of a domain as published, its file of requests, or a Hub id.

    Raises:
        ConfigError: When there are no data, an example is malformed, or it uses a tool that the graph does not have.
    """
    path = find_data(data)
    graph = ToolGraph.load(path.parent)
    examples = split(read_examples(path, graph), searched=SEARCHED)
    return LiveEnvironment(
        pipeline(graph),
        examples.searched,
        held_out=examples.held_out,
        name=path.parent.name.replace("data_", f"{TASK}-") if path.parent.name.startswith("data_") else TASK,
        default_budget=Budget(BUDGET, "paper"),
    )

"""ChatDev (Qian et al., ACL 2024) on its data set SRDD as the paper runs it: coding, static testing, dynamic testing.

`agenttts search chatdev --data data_attribute_format.csv`, with an endpoint that also has embeddings. The paper's
embedding model is text-embedding-ada-002; AGENTTTS_EMBEDDING_MODEL names another, and AGENTTTS_EMBEDDING_URL (or
`--endpoint NAME=URL`) an endpoint of its own. Consistencies under different embedding models cannot be compared.

Token lengths and models are the paper's (table 4), the temperature too (section A.4; its code has 0.2, under which
samples hardly differ). Unlike its code: samples are drawn and fused (see `turns`), the search sees the paper's 50
descriptions and not 5, the next 100 are held out and share none with them, and programs run in a sandbox. Phases that
always ran the largest model and are in no budget (demand analysis, manual, requirements) are left out. Where the paper
prices one call a stage, `flops` and the others price both turns and their fusion.
"""

from __future__ import annotations

import os

from agenttts.environments.live import LiveEnvironment
from agenttts.environments.tasks.chatdev import prompts, stages
from agenttts.environments.tasks.chatdev.examples import TASK, read_examples
from agenttts.environments.tasks.chatdev.program import completeness, consistency, executability
from agenttts.environments.tasks.chatdev.sandbox import require_sandbox
from agenttts.environments.tasks.chatdev.turns import FuseTurns
from agenttts.environments.tasks.models import LLAMA_3B, LLAMA_70B
from agenttts.environments.tasks.rows import split
from agenttts.pipeline import Metric, Model, Pipeline, Sampling, Subtask
from agenttts.pipeline.handles import Coroutine
from agenttts.space.cost import Budget

BUDGET = 1768
"""The largest model of each stage once (1767.33), in the paper's unit."""
HELD_OUT = 100
EMBEDDER = "text-embedding-ada-002"
_MAX_TOKENS = 4096
_SAMPLING = Sampling(temperature=0.9, max_tokens=_MAX_TOKENS)
_FUSE = FuseTurns("fuse", prompts.MERGE, Sampling(temperature=0.3, max_tokens=_MAX_TOKENS))


def pipeline(metric: Metric = consistency) -> Pipeline:
    """The three stages, and the metric of the final program."""
    subtasks = (
        _stage("coding", stages.coding, completeness, 1024),
        _stage("static_testing", stages.static_testing, consistency, 512),
        _stage("dynamic_testing", stages.dynamic_testing, executability, 256),
    )
    return Pipeline(TASK, subtasks, metric=metric)


def _stage(name: str, run: Coroutine, metric: Metric, completion_tokens: float) -> Subtask:
    return Subtask(
        name,
        (LLAMA_3B, LLAMA_70B),
        run=run,
        aggregator=_FUSE,
        metric=metric,
        prompt_tokens=1024,
        completion_tokens=completion_tokens,
        sampling=_SAMPLING,
    )


def embedder() -> Model:
    """The embedding model that the environment variables name, the paper's where they do not."""
    name = os.environ.get("AGENTTTS_EMBEDDING_MODEL") or EMBEDDER
    usd = 0.10 if name == EMBEDDER else None
    return Model(
        name,
        1,  # what it costs is counted as spend, and is in no budget
        base_url=os.environ.get("AGENTTTS_EMBEDDING_URL") or None,
        usd_per_million_prompt_tokens=usd,
        usd_per_million_completion_tokens=usd,
    )


def chatdev(data: str | None = None, *, metric: Metric = consistency) -> LiveEnvironment:
    """ChatDev on these descriptions: the first 50 are searched, the next 100 held out.

    Args:
        data: SRDD as CSV or JSON, the authors' tasks.json, or a Hub id.
        metric: What the search maximises: the paper's consistency, or `quality`, which also asks that it runs.

    Raises:
        ConfigError: When there are no data, one is malformed, or the machine has no sandbox.
    """
    examples = split(read_examples(data), held_out=HELD_OUT)
    require_sandbox()
    return LiveEnvironment(
        pipeline(metric),
        examples.searched,
        held_out=examples.held_out,
        default_budget=Budget(BUDGET, "paper"),
        embedder=embedder(),
    )

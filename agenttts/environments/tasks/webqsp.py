"""WebQSP (Yih et al., ACL 2016) as the paper runs it: simple questions over Freebase triples.

`agenttts search webqsp --data data_with_ct_0.5.json`, a file of Generate-on-Graph (Xu et al., EMNLP 2024). Stages,
prompts and where they differ from the authors' code: `tasks.qa.stages`; format: `tasks.qa.triples`. The answering
prompt counts as 128 tokens, as in the paper's table 4; the authors' code has 256. The paper's price table (tables 5 to
9) is wrong in this column; its formula is used.
"""

from __future__ import annotations

from agenttts.environments.live import LiveEnvironment
from agenttts.environments.tasks.models import LLAMA_8B, LLAMA_70B, QWEN_7B, QWEN_72B
from agenttts.environments.tasks.qa import qa_environment, qa_pipeline, triple_examples
from agenttts.environments.tasks.rows import read_rows
from agenttts.pipeline import Pipeline

BUDGET = 474
"""The largest model of each stage once, in the paper's unit."""


def pipeline() -> Pipeline:
    """The paper's pipeline."""
    return qa_pipeline(
        "webqsp",
        retrievers=(QWEN_7B, QWEN_72B),
        retrieve_tokens=(1024, 64),
        answerers=(LLAMA_8B, LLAMA_70B),
        answer_tokens=(128, 64),
    )


def webqsp(data: str | None = None) -> LiveEnvironment:
    """WebQSP on these data.

    Args:
        data: Path or Hub id of the dataset, in the format of `tasks.qa.triples`.

    Raises:
        ConfigError: When there are no data, or an example is malformed.
    """
    return qa_environment(pipeline(), triple_examples(read_rows(data, task="webqsp")), budget=BUDGET)

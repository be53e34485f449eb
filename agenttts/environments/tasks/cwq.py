"""ComplexWebQuestions (Talmor & Berant, NAACL 2018) as the paper runs it: Freebase triples, some of them withheld.

`agenttts search cwq --data data_with_ct_0.5.json`, a file of Generate-on-Graph (Xu et al., EMNLP 2024). Stages, prompts
and where they differ from the authors' code: `tasks.qa.stages`; format: `tasks.qa.triples`. The authors search on 100
examples here; the paper says 50, as for the other datasets. Their test file holds the examples that they search on;
here the held-out ones are others of the same file.
"""

from __future__ import annotations

from agenttts.environments.live import LiveEnvironment
from agenttts.environments.tasks.models import LLAMA_8B, LLAMA_70B, QWEN_7B, QWEN_72B
from agenttts.environments.tasks.qa import qa_environment, qa_pipeline, triple_examples
from agenttts.environments.tasks.rows import read_rows
from agenttts.pipeline import Pipeline

BUDGET = 521
"""The largest model of each stage once (520.67), in the paper's unit."""


def pipeline() -> Pipeline:
    """The paper's pipeline."""
    return qa_pipeline(
        "cwq",
        retrievers=(QWEN_7B, QWEN_72B),
        retrieve_tokens=(1024, 64),
        answerers=(LLAMA_8B, LLAMA_70B),
        answer_tokens=(256, 64),
    )


def cwq(data: str | None = None) -> LiveEnvironment:
    """ComplexWebQuestions on these data.

    Args:
        data: Path or Hub id of the dataset, in the format of `tasks.qa.triples`.

    Raises:
        ConfigError: When there are no data, or an example is malformed.
    """
    return qa_environment(pipeline(), triple_examples(read_rows(data, task="cwq")), budget=BUDGET)

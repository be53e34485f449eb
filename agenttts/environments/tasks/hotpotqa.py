"""HotpotQA (Yang et al., EMNLP 2018) as the paper runs it: questions over two paragraphs among about 100.

`agenttts search hotpotqa --data hotpot_dev_distractor_v1.json`, or `--data hotpotqa/hotpot_qa:distractor` from the Hub.
Stages, prompts and where they differ from the authors' code: `tasks.qa.stages`; formats: `tasks.qa.passages`.
"""

from __future__ import annotations

from agenttts.environments.live import LiveEnvironment
from agenttts.environments.tasks.models import LLAMA_3B, LLAMA_8B, LLAMA_70B, QWEN_7B, QWEN_32B, QWEN_72B
from agenttts.environments.tasks.qa import passage_examples, qa_environment, qa_pipeline
from agenttts.environments.tasks.qa.passages import CANDIDATES
from agenttts.environments.tasks.rows import read_rows
from agenttts.pipeline import Pipeline

BUDGET = 929
"""The largest model of each stage once (928.67), in the paper's unit."""


def pipeline(name: str = "hotpotqa") -> Pipeline:
    """The paper's pipeline for questions over passages."""
    return qa_pipeline(
        name,
        retrievers=(QWEN_7B, QWEN_32B, QWEN_72B),
        retrieve_tokens=(2048, 128),
        answerers=(LLAMA_3B, LLAMA_8B, LLAMA_70B),
        answer_tokens=(256, 64),
    )


def hotpotqa(data: str | None = None, *, candidates: int = CANDIDATES) -> LiveEnvironment:
    """HotpotQA on these data.

    Args:
        data: Path or Hub id of the dataset, in either format of `tasks.qa.passages`.
        candidates: Passages that the 10 of the official format are filled up to.

    Raises:
        ConfigError: When there are no data, or an example is malformed.
    """
    examples = passage_examples(read_rows(data, task="hotpotqa"), candidates=candidates)
    return qa_environment(pipeline(), examples, budget=BUDGET)

"""2WikiMultiHopQA (Ho et al., COLING 2020) as the paper runs it: questions over two to four of about 100 paragraphs.

`agenttts search 2wikimultihopqa --data dev.json`. The pipeline is HotpotQA's. Stages, prompts and where they differ
from the authors' code: `tasks.qa.stages`; formats: `tasks.qa.passages`.
"""

from __future__ import annotations

from agenttts.environments.live import LiveEnvironment
from agenttts.environments.tasks import hotpotqa
from agenttts.environments.tasks.qa import passage_examples, qa_environment
from agenttts.environments.tasks.qa.passages import CANDIDATES
from agenttts.environments.tasks.rows import read_rows


def twowikimultihopqa(data: str | None = None, *, candidates: int = CANDIDATES) -> LiveEnvironment:
    """2WikiMultiHopQA on these data; see `hotpotqa.hotpotqa`.

    Raises:
        ConfigError: When there are no data, or an example is malformed.
    """
    name = "2wikimultihopqa"
    examples = passage_examples(read_rows(data, task=name), candidates=candidates)
    return qa_environment(hotpotqa.pipeline(name), examples, budget=hotpotqa.BUDGET)

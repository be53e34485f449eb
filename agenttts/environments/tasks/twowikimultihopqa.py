"""2WikiMultiHopQA (Ho et al., COLING 2020) as the paper runs it: questions over two to four of about 100 paragraphs.

`agenttts search 2wikimultihopqa --data dev.json`. The pipeline is HotpotQA's. Stages, prompts and where they differ
from the authors' code: `tasks.qa.stages`; formats: `tasks.qa.passages`. Where the release with ids is given and its
`id_aliases.json` is in the same folder, the aliases and demonyms of an answer are right too, as in the dataset's own
evaluation (its script of version 1.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agenttts._util.checks import TEXT
from agenttts.environments.examples import read_lines
from agenttts.environments.live import LiveEnvironment
from agenttts.environments.tasks import hotpotqa
from agenttts.environments.tasks.qa import passage_examples, qa_environment
from agenttts.environments.tasks.qa.passages import CANDIDATES
from agenttts.environments.tasks.rows import TEXT_LIST, Row, read_rows

ALIASES = "id_aliases.json"


def twowikimultihopqa(data: str | None = None, *, candidates: int = CANDIDATES) -> LiveEnvironment:
    """2WikiMultiHopQA on these data; see `hotpotqa.hotpotqa`.

    Raises:
        ConfigError: When there are no data, or an example is malformed.
    """
    name = "2wikimultihopqa"
    rows = read_rows(data, task=name)
    examples = passage_examples(rows, candidates=candidates, aliases=_aliases(Path(data or "").expanduser().parent))
    return qa_environment(hotpotqa.pipeline(name), examples, budget=hotpotqa.BUDGET)


def _aliases(folder: Path) -> dict[str, Sequence[str]]:
    """Wikidata id -> other names, of the file in this folder if there is one."""
    path = folder / ALIASES
    lines = read_lines(path) if path.is_file() else ()
    rows = [Row(f"{path}, line {number}", fields) for number, fields in lines]
    return {row.get("Q_id", TEXT): _names(row) for row in rows}


def _names(row: Row) -> list[str]:
    return [name for field in ("aliases", "demonyms") for name in row.get(field, TEXT_LIST, filled=False)]

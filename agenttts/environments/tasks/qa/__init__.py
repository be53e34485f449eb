"""What the paper's four question-answering tasks share: the two stages, and the loaders of their public formats."""

from agenttts.environments.tasks.qa.passages import passage_examples
from agenttts.environments.tasks.qa.stages import qa_environment, qa_pipeline
from agenttts.environments.tasks.qa.triples import triple_examples

__all__ = ["passage_examples", "qa_environment", "qa_pipeline", "triple_examples"]

"""Tree search over attempts: AB-MCTS (arXiv 2503.04412), by the package `treequest` (the extra `tree`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from agenttts._util.extras import imported
from agenttts.pipeline.fingerprint import identified
from agenttts.pipeline.model import Message, Model
from agenttts.pipeline.operator import Amount, Drawn, Lengths, Load, Operator, SubtaskRun, named
from agenttts.pipeline.operators.sequential import attempts_shown, best_attempt
from agenttts.pipeline.operators.verify import BestOf, Check, Verifier

_INSTRUCTION = (
    "An earlier attempt at this request follows, with how good it was found to be, from 0 to 1. Work out what is wrong "
    "with it, and write a better response in the form that the request asks for, without mentioning the attempt."
)
_NEED = "the operator 'tree' needs treequest"


@identified("operators.tree", version=2)
@dataclass(frozen=True)
class Tree(Operator):
    """Every sample is a new attempt or improves on an earlier one, whichever a Thompson draw says is worth more.

    A verifier scores each attempt in [0, 1]; the best one is the output. The draws are seeded by the stage's prompt,
    so that a repeated run takes the same way.

    Examples:
        >>> at.operators.Tree(large).name
        'tree(verifier=large)'

    Raises:
        ConfigError: When `treequest` is not installed.
    """

    writes_anew = True

    verifier: Model | Verifier | Check | Sequence[Model | Verifier | Check]
    """As of `BestOf`."""

    def __post_init__(self) -> None:
        BestOf(self.verifier)  # checks it
        imported("treequest", _NEED, extra="tree")

    @property
    def least_samples(self) -> int:
        return 2

    @property
    def name(self) -> str:
        return named("tree", verifier=self.verifier)

    async def run(self, stage: SubtaskRun) -> Any:
        search = imported("treequest", _NEED, extra="tree").ABMCTSA()
        tree, random = search.init_tree(), np.random.RandomState(_seed(stage.messages))
        attempts: list[tuple[float, Drawn]] = []
        drawn: Counter[str] = Counter()
        for _ in range(stage.samples):
            with _global_draws_of(random):
                tree, trial = search.ask(tree, ["attempt"])
            prompt = stage.messages if trial.parent_state is None else _improving(stage, *trial.parent_state)
            position = drawn[repr(prompt)]
            drawn[repr(prompt)] += 1
            attempt = (await stage.sample(prompt, position + 1))[position]
            usable = attempt.value is not None
            score = min(max(await BestOf(self.verifier).score(stage, attempt), 0.0), 1.0) if usable else 0.0
            attempts.append((score, attempt))
            with _global_draws_of(random):
                tree = search.tell(tree, trial.trial_id, (attempts[-1], score))
        return best_attempt(stage, attempts)

    def loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        verdicts = BestOf(self.verifier).loads(samples, lengths)[1:]
        return [
            Load(samples, lengths.prompt + lengths.completion, 1, lengths.completion),
            *(each._replace(requests=samples) for each in verdicts),
        ]


def _improving(stage: SubtaskRun, score: float, attempt: Drawn) -> list[Message]:
    return attempts_shown(stage, _INSTRUCTION, [f"{attempt.text}\n(found to be {score:.2f})"])


def _seed(messages: Sequence[Message]) -> list[int]:
    return list(repr(messages).encode())


@contextmanager
def _global_draws_of(random: np.random.RandomState) -> Iterator[None]:
    """treequest draws from numpy's global generator: lend it ours, and put the user's back."""
    users = np.random.get_state()
    np.random.set_state(random.get_state())
    try:
        yield
    finally:
        random.set_state(np.random.get_state())
        np.random.set_state(users)

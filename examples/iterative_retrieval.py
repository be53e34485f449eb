"""An operator of one's own: every sample looks facts up in rounds (as IterDRAG, arXiv 2410.04343), then all vote.

The models are SIMULATED, no LLM runs. `tests/test_examples.py` runs the suite of operators on this one.
"""

import asyncio
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

import agenttts as at
from agenttts.pipeline.operators import Lengths, Load, Operator, SubtaskRun, named, one_each, winner
from agenttts.testing import ScriptedClient

FACTS = {
    "Emma": "Jane Austen wrote Emma.",
    "Jane Austen": "Cassandra Leigh was the mother of Jane Austen.",
    "Dracula": "Bram Stoker wrote Dracula.",
    "Bram Stoker": "Charlotte Thornley was the mother of Bram Stoker.",
}
FACT_TOKENS = 10


@dataclass(frozen=True)
class LookUp(Operator):
    """What the model asks to look up is shown to it, at most `rounds` times."""

    rounds: int = 2

    @property
    def name(self) -> str:
        return named("look-up", rounds=self.rounds)

    async def run(self, stage: SubtaskRun) -> str:
        chains = [list(stage.messages) for _ in range(stage.samples)]
        said = [""] * len(chains)
        for number in range(self.rounds + 1):
            asking = [i for i, text in enumerate(said) if not number or text.startswith("Look up: ")]
            for i in asking if number else ():
                fact = FACTS.get(said[i].removeprefix("Look up: "), "Nothing was found.")
                chains[i] += [{"role": "assistant", "content": said[i]}, {"role": "user", "content": fact}]
            for i, drawn in zip(asking, await one_each(stage, [chains[i] for i in asking]), strict=True):
                said[i] = drawn.text
        return str(winner(said))

    def loads(self, samples: int, lengths: Lengths) -> Sequence[Load]:
        round_tokens = lengths.completion + FACT_TOKENS
        prompts = [lengths.prompt + number * round_tokens for number in range(self.rounds + 1)]
        return [Load(samples, prompt, 1, lengths.completion) for prompt in prompts]


def simulated(model: at.Model, messages: Sequence[dict[str, str]], position: int) -> str:
    """It knows no book, but it may notice what it would have to know: the larger model more often."""
    last = messages[-1]["content"]
    if known := re.match(r"(\w+ \w+) was the mother of", last):
        return known[1]
    if random.Random(f"{model.name} {last} {position}").random() > {"small": 0.8, "large": 0.95}[model.name]:
        return "Mary Shelley"
    missing = re.match(r"(.*) wrote", last) or re.search(r"of (\w+)[?]", last)
    return f"Look up: {missing[1]}" if missing else "Mary Shelley"


def main() -> None:
    models, ways = (at.Model("small", 1e9), at.Model("large", 8e9)), (at.operators.Vote(), LookUp())
    prompt = "Who was the mother of the author of {{ book }}?"
    answer = at.Subtask("answer", models, prompt, operators=ways, prompt_tokens=20, completion_tokens=5, max_samples=8)
    rows = [{"id": "1", "book": "Emma", "gold": "Cassandra Leigh"},
            {"id": "2", "book": "Dracula", "gold": "Charlotte Thornley"}]  # fmt: skip
    books = at.Pipeline("books", (answer,), metric=at.metrics.exact_match("gold"))
    environment = at.LiveEnvironment(books, rows, client=ScriptedClient(simulated))
    space, limits = at.SearchSpace(books, at.cost_model("flops"), 3e6), at.Limits(trials=10)
    search = at.search(environment, at.searcher("agent", llm="none"), space, at.Store(), study_name="b", limits=limits)
    for trial in asyncio.run(search).archive.trials:
        print(f"simulated models, {trial.allocation}: {trial.evaluation.score:.1f}, {trial.cost / 1e3:.0f} GFLOP")


if __name__ == "__main__":
    main()

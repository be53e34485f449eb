"""The two stages of the paper's question answering: retrieve numbered candidates, then answer from those kept.

An example holds `question`, `candidates` (texts), `gold` (numbers of the needed candidates, from 1) and `answers`.

    retrieve   T 0.9; the samples' [numbers] are voted on: most frequent length, then most frequent numbers
    answer     T 0.9; sees the kept candidates alone, renumbered; the same model fuses its samples at T 0.3

The score is strict exact match (SQuAD's normalisation, best of the gold answers) of the final answer, which the
prompt asks for on a line of its own. The authors' metric is not published; their prompt asks for no form, so it
probably tested whether a gold answer is contained in the response, which an answer that lists every candidate
passes. Strict match is the datasets' own measure; asked for one answer where several are accepted, as on CWQ and
WebQSP, it is the Hits@1 that is reported there. Scores are therefore not those of the paper's tables. Stage evidence:
set F1 of the kept numbers, and token F1 of the answer.

The lengths that the cost models price are the paper's (table 4). 100 whole paragraphs of HotpotQA or 2WikiMultiHopQA
are about 13,000 tokens, not 2,048: `pipeline.with_lengths(evaluation.lengths)` prices what was measured.

Where this is the paper and not its code:

- Fusing means several samples: a single one is passed on. The code fuses also a single one, and prices no fusion;
  here every cost model but `paper` does.
- Fusion sees the answering prompt, so the kept candidates alone. The code shows it all 100 candidates, twice.
- The answering temperature is the paper's 0.9 (section A.4; the code has 0.7). The paper gives none for fusion; 0.3 is
  the code's.
- Votes count a number once per sample, and only numbers of candidates (`aggregators.IdVote`). Where no sample names
  one, nothing is kept and retrieval scores 0; the code keeps the first candidate.
- A response without a final answer is a counted non-vote; an example without any is a counted failure that scores 0.
  The code drops failed examples from its means.
- An example without gold candidates (17 of 100 in CWQ's public sample) scores 0 in retrieval whatever is kept, as in
  the code: that lowers the mean of every allocation alike, and changes no comparison. Its answer counts as any other.
"""

from __future__ import annotations

from typing import Any

from agenttts.environments.live import LiveEnvironment
from agenttts.environments.tasks.rows import split
from agenttts.pipeline import Example, Model, Pipeline, Sampling, Subtask, SubtaskInput
from agenttts.pipeline.aggregators import Fuse, IdVote
from agenttts.pipeline.fingerprint import identified
from agenttts.pipeline.metrics import exact_match, set_f1, token_f1
from agenttts.pipeline.parsers import ids, tagged
from agenttts.space.cost import Budget

MARKER = "Answer:"
"""What the final answer stands behind."""

_SAMPLING = Sampling(temperature=0.9, max_tokens=512)
_FUSION = Sampling(temperature=0.3, max_tokens=512)

RETRIEVE = """\
Question: {{ question }}

Candidates:
{% for candidate in candidates %}[{{ loop.index }}] {{ candidate }}
{% endfor %}
Which of these candidates are needed, taken together, to answer the question? Leave out those that are merely about \
the same things. Reply with one line for each needed one: its number in brackets, such as [3], and then in a few words \
what it contributes."""

ANSWER = """\
{references}Question: {question}

Answer the question from the numbered references; where they do not suffice, use what you know. Reason in a sentence \
or two, then end with a line that begins with "Answer:" and gives one answer alone, as short as it can be: a name, a \
date, a number, yes or no."""

_final = tagged(MARKER)


def qa_pipeline(
    name: str,
    *,
    retrievers: tuple[Model, ...],
    retrieve_tokens: tuple[int, int],
    answerers: tuple[Model, ...],
    answer_tokens: tuple[int, int],
) -> Pipeline:
    """The pipeline of one task.

    Args:
        name: The task.
        retrievers: Candidate models of the first stage.
        retrieve_tokens: Its mean prompt and completion lengths (the paper's Np and Nd, table 4).
        answerers: Candidate models of the second stage.
        answer_tokens: Its lengths.
    """
    retrieve = Subtask(
        "retrieve",
        retrievers,
        RETRIEVE,
        parser=ids(among="candidates"),
        aggregator=IdVote(),
        default=(),
        metric=set_f1("gold", both_empty=0.0),
        prompt_tokens=retrieve_tokens[0],
        completion_tokens=retrieve_tokens[1],
        sampling=_SAMPLING,
    )
    answer = Subtask(
        "answer",
        answerers,
        _answer_prompt,
        parser=_concluded,
        aggregator=Fuse(sampling=_FUSION),
        metric=_answer_f1,
        prompt_tokens=answer_tokens[0],
        completion_tokens=answer_tokens[1],
        sampling=_SAMPLING,
    )
    return Pipeline(name, (retrieve, answer), metric=_exact_match)


def qa_environment(pipeline: Pipeline, examples: list[Example], *, budget: float) -> LiveEnvironment:
    """The task on the paper's split of these examples, with its budget in the paper's unit."""
    searched, held_out = split(examples)
    return LiveEnvironment(pipeline, searched, held_out=held_out, default_budget=Budget(budget, "paper"))


@identified("tasks.qa.answer_prompt", version=1)
def _answer_prompt(given: SubtaskInput) -> str:
    kept = [given.example["candidates"][number - 1] for number in given.inputs["retrieve"]]
    references = "".join(f"[{place}] {text}\n" for place, text in enumerate(kept, start=1))
    head = f"References:\n{references}\n" if kept else ""
    return ANSWER.format(references=head, question=given.example["question"])


@identified("tasks.qa.concluded", version=3)
def _concluded(sample: str, given: SubtaskInput) -> str:
    """The whole response, which fusion weighs, provided that it ends in an answer."""
    _final(sample, given)
    return sample.strip()


@identified("tasks.qa.exact_match", version=5)
def _exact_match(output: Any, example: Example) -> float:
    return exact_match("answers")(_final(output, SubtaskInput(example)), example)


@identified("tasks.qa.answer_f1", version=5)
def _answer_f1(output: Any, example: Example) -> float:
    return token_f1("answers")(_final(output, SubtaskInput(example)), example)

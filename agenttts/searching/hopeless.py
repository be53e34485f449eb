"""A pipeline of which nothing comes: it is found out early, shown with one prompt and reply, and never recommended."""

from __future__ import annotations

from agenttts._util.text import bounded, one_line
from agenttts.errors import ConfigError
from agenttts.pipeline.tools import message_text
from agenttts.searching.running import RunningSearch
from agenttts.study.evaluation import Evaluation
from agenttts.study.trial import Trial

_TRIALS = 2
"""So many in a row say that it is the pipeline, not an allocation."""
_EXAMPLES = 5
"""So many examples of each."""
_MOST_QUOTED = 300


def is_hopeless(evaluation: Evaluation) -> bool:
    """Whether every example failed, or no sample of some subtask could be parsed."""
    return bool(_unparsed(evaluation)) or evaluation.failures == len(evaluation.results)


def require_some_use(search: RunningSearch, *, least: int = _TRIALS) -> None:
    """Make sure that something comes of some trial, once there are enough to tell.

    Raises:
        ConfigError: When nothing does; with what one model was asked and said.
    """
    trials = [trial for trial in search.archive.trials if not trial.evaluation.refused]
    seen = sum(len(trial.evaluation.results) for trial in trials)
    if len(trials) < least or seen < _EXAMPLES or not all(is_hopeless(trial.evaluation) for trial in trials):
        return
    trial = trials[-1]
    raise ConfigError(
        f"in none of {len(trials)} trials could anything of the pipeline be used: {_reason(trial.evaluation)}"
        f"{_quoted(search, trial)}; nothing is recommended: change the prompt or the parser, and look at it with "
        "`agenttts check`"
    )


def _reason(evaluation: Evaluation) -> str:
    if evaluation.errors:
        reason, count = next(iter(evaluation.errors.items()))
        return f"{count} of {len(evaluation.results)} examples failed, with {one_line(reason)}"
    return f"no sample of subtask {_unparsed(evaluation)[0]!r} could be parsed"


def _unparsed(evaluation: Evaluation) -> list[str]:
    """The subtasks of which no sample could be parsed."""
    return [name for name, used in evaluation.usage.items() if 0 < used.samples <= used.unparsable]


def _quoted(search: RunningSearch, trial: Trial) -> str:
    """What the stage that is to blame was asked and said, as the store holds it."""
    transcripts, useless = search.store.transcripts, _unparsed(trial.evaluation)
    first = next(transcripts.of(search.study.id, trial=trial.number), None)
    stages = [stage for stage in first.stages if stage.drawn] if first else []
    if not stages:
        return ""
    stage = next((each for each in stages if each.stage in useless), stages[-1])
    drawn = stage.drawn[0]
    kept = transcripts.texts([stage])[drawn.key]
    prompt = one_line(bounded(message_text(kept.prompt.messages[-1]), _MOST_QUOTED))
    reply = one_line(bounded(kept.samples[0].text, _MOST_QUOTED)) if kept.samples else ""
    return f". For example, subtask {stage.stage!r} asked {drawn.model}: {prompt!r}, which said: {reply!r}"

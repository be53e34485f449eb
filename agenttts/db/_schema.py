"""The tables, as the newest migration leaves them (a test compares the two)."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

from agenttts.db._types import Label, Logprobs, PlainText, UtcTime

metadata = MetaData()
NAME_LENGTH = 200
"""Most characters of a study's name."""


def _study() -> Column[int]:
    return Column("study_id", Integer, ForeignKey("studies.id"), nullable=False)


studies = Table(
    "studies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Label(NAME_LENGTH), nullable=False, unique=True),
    Column("created", UtcTime, nullable=False),
    Column("spec", JSON, nullable=False),  # study.StudySpec
    Column("details", JSON, nullable=False),  # command, versions: what a reader needs to repeat it
)

trials = Table(
    "trials",
    metadata,
    Column("id", Integer, primary_key=True),
    _study(),
    Column("number", Integer, nullable=False),
    Column("allocation", PlainText, nullable=False),  # canonical key
    Column("cost", Float, nullable=False),
    Column("score", Float, nullable=False),
    Column("searcher", Label(200), nullable=False),
    Column("rationale", PlainText, nullable=False),
    Column("round", Integer, nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("evaluation", JSON, nullable=False),  # evaluation.Evaluation with per-example results
    Column("looks", JSON),  # of trial.Look; null in trials of a version that did not keep them
    UniqueConstraint("study_id", "number"),
    UniqueConstraint("study_id", "allocation"),
)

proposals = Table(
    "proposals",  # what is being evaluated, until it is recorded as a trial: a search that was killed goes on with it
    metadata,
    Column("id", Integer, primary_key=True),
    _study(),
    Column("allocation", PlainText, nullable=False),
    Column("rationale", PlainText, nullable=False),
    Column("searcher", Label(200), nullable=False),
    Column("examples", Integer),  # null: the loop decides
    Column("round", Integer, nullable=False),
    UniqueConstraint("study_id", "allocation"),
)

counterfactuals = Table(
    "counterfactuals",
    metadata,
    Column("id", Integer, primary_key=True),
    _study(),
    Column("allocation", PlainText, nullable=False),
    Column("cost", Float, nullable=False),
    Column("scored_by", Integer, nullable=False),  # number of the trial whose samples scored it
    Column("round", Integer, nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("evaluation", JSON, nullable=False),  # evaluation.Evaluation without outputs
    UniqueConstraint("study_id", "allocation"),
)

validations = Table(
    "validations",
    metadata,
    Column("id", Integer, primary_key=True),
    _study(),
    Column("allocation", PlainText, nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("evaluation", JSON, nullable=False),  # evaluation.Evaluation on held-out examples, fresh samples
    UniqueConstraint("study_id", "allocation"),
)

refusals = Table(
    "refusals",
    metadata,
    Column("id", Integer, primary_key=True),
    _study(),
    Column("allocation", PlainText, nullable=False),
    Column("reasons", JSON, nullable=False),
    Column("searcher", Label(200), nullable=False),
    Column("round", Integer, nullable=False),
    Column("created", UtcTime, nullable=False),
)

steps = Table(
    "steps",
    metadata,
    Column("id", Integer, primary_key=True),
    _study(),
    Column("round", Integer, nullable=False),
    Column("node", Label(50), nullable=False),
    Column("planner", Label(200), nullable=False),
    Column("text", PlainText, nullable=False),
    Column("evidence", JSON),
    Column("prompt", PlainText, nullable=False),
    Column("reply", PlainText, nullable=False),
    Column("spend", JSON, nullable=False),
    Column("created", UtcTime, nullable=False),
)

purchases = Table(
    "purchases",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", Integer, ForeignKey("studies.id")),  # null: paid for outside a study
    Column("model", Label(200), nullable=False),
    Column("requests", Integer, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("usd", Float, nullable=False),
    Column("cached_prompt_tokens", Integer, nullable=False, server_default="0"),
    Column("reasoning_tokens", Integer, nullable=False, server_default="0"),
    Column("estimated_tokens", Integer, nullable=False, server_default="0"),
    Column("created", UtcTime, nullable=False),
)

totals = Table(
    "totals",  # of the spend of its purchases, trials, validations and steps, added up as they are recorded
    metadata,
    Column("study_id", Integer, ForeignKey("studies.id"), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cached_prompt_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("estimated_tokens", BigInteger, nullable=False),
    Column("reused_prompt_tokens", BigInteger, nullable=False),
    Column("reused_completion_tokens", BigInteger, nullable=False),
    Column("usd", Float, nullable=False),
    Column("seconds", Float, nullable=False),
)

prompts = Table(
    "prompts",
    metadata,
    Column("key", String(32), primary_key=True),
    Column("model", Label(200), nullable=False),
    Column("namespace", Label(50), nullable=False),
    Column("messages", JSON, nullable=False),
    Column("sampling", JSON, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    sqlite_with_rowid=False,
)

samples = Table(
    "samples",
    metadata,
    Column("key", String(32), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("text", PlainText, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("ended", String(20)),  # samples.Ended; null where there is something to parse
    Column("logprobs", Logprobs),  # samples.Sample.logprobs; null where they were not asked for, or not told
    sqlite_with_rowid=False,
)

transcripts = Table(
    "transcripts",  # one example under a trial's allocation: which samples its stages drew, and what they handed on
    metadata,
    Column("id", Integer, primary_key=True),
    _study(),
    Column("trial", Integer, nullable=False),  # its number
    Column("held_out", Boolean, nullable=False),  # a check on held-out examples, with fresh samples
    Column("example", PlainText, nullable=False),
    Column("score", Float, nullable=False),
    Column("failed", Boolean, nullable=False),
    Column("unusable", Integer, nullable=False),  # samples that no parser could use
    Column("cut", Integer, nullable=False),  # samples that were cut at max_tokens
    Column("error", PlainText),
    Column("stages", JSON, nullable=False),  # of transcript.StageTranscript
)

examples = Table(
    "examples",  # as the environment has them: the same for every trial
    metadata,
    Column("id", Integer, primary_key=True),
    _study(),
    Column("example", PlainText, nullable=False),
    Column("fields", JSON, nullable=False),
)

claims = Table(
    "claims",
    metadata,
    Column("key", String(32), primary_key=True),
    Column("owner", String(32), nullable=False),
    Column("expires", Float, nullable=False),  # seconds since the epoch
    sqlite_with_rowid=False,
)

Index("ix_transcripts_trial", transcripts.c.study_id, transcripts.c.trial)
Index("ix_transcripts_worst", transcripts.c.study_id, transcripts.c.failed, transcripts.c.unusable, transcripts.c.cut)
Index("ix_trials_round", trials.c.study_id, trials.c.round)
Index("ix_trials_score", trials.c.study_id, trials.c.score)
Index("ix_trials_cost", trials.c.study_id, trials.c.cost)
Index("ix_steps_round", steps.c.study_id, steps.c.round)
Index("ix_examples_study", examples.c.study_id)
Index("ix_refusals_study", refusals.c.study_id)
Index("ix_steps_study", steps.c.study_id)
Index("ix_purchases_study", purchases.c.study_id)

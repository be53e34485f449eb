"""The tables, as the newest migration leaves them (a test compares the two)."""

from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()


def _study() -> Column[int]:
    return Column("study_id", Integer, ForeignKey("studies.id"), nullable=False)


studies = Table(
    "studies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("created", DateTime(timezone=True), nullable=False),
    Column("spec", JSON, nullable=False),  # trial.StudySpec
    Column("details", JSON, nullable=False),  # command, versions: what a reader needs to repeat it
)

trials = Table(
    "trials",
    metadata,
    Column("id", Integer, primary_key=True),
    _study(),
    Column("number", Integer, nullable=False),
    Column("allocation", Text, nullable=False),  # canonical key
    Column("cost", Float, nullable=False),
    Column("score", Float, nullable=False),
    Column("searcher", String(200), nullable=False),
    Column("rationale", Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("created", DateTime(timezone=True), nullable=False),
    Column("evaluation", JSON, nullable=False),  # trial.Evaluation with per-example results
    UniqueConstraint("study_id", "number"),
    UniqueConstraint("study_id", "allocation"),
)

validations = Table(
    "validations",
    metadata,
    Column("id", Integer, primary_key=True),
    _study(),
    Column("allocation", Text, nullable=False),
    Column("created", DateTime(timezone=True), nullable=False),
    Column("evaluation", JSON, nullable=False),  # trial.Evaluation on held-out examples, fresh samples
    UniqueConstraint("study_id", "allocation"),
)

refusals = Table(
    "refusals",
    metadata,
    Column("id", Integer, primary_key=True),
    _study(),
    Column("allocation", Text, nullable=False),
    Column("reasons", JSON, nullable=False),
    Column("searcher", String(200), nullable=False),
    Column("round", Integer, nullable=False),
    Column("created", DateTime(timezone=True), nullable=False),
)

steps = Table(
    "steps",
    metadata,
    Column("id", Integer, primary_key=True),
    _study(),
    Column("round", Integer, nullable=False),
    Column("node", String(50), nullable=False),
    Column("planner", String(200), nullable=False),
    Column("text", Text, nullable=False),
    Column("evidence", JSON),
    Column("prompt", Text, nullable=False),
    Column("reply", Text, nullable=False),
    Column("spend", JSON, nullable=False),
    Column("created", DateTime(timezone=True), nullable=False),
)

purchases = Table(
    "purchases",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", Integer, ForeignKey("studies.id")),  # null: bought outside a study
    Column("model", String(200), nullable=False),
    Column("requests", Integer, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("usd", Float, nullable=False),
    Column("created", DateTime(timezone=True), nullable=False),
)

prompts = Table(
    "prompts",
    metadata,
    Column("key", String(32), primary_key=True),
    Column("model", String(200), nullable=False),
    Column("namespace", String(50), nullable=False),
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
    Column("text", Text, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    sqlite_with_rowid=False,
)

claims = Table(
    "claims",
    metadata,
    Column("key", String(32), primary_key=True),
    Column("owner", String(32), nullable=False),
    Column("expires", Float, nullable=False),  # seconds since the epoch
    sqlite_with_rowid=False,
)

Index("ix_refusals_study", refusals.c.study_id)
Index("ix_steps_study", steps.c.study_id)
Index("ix_purchases_study", purchases.c.study_id)

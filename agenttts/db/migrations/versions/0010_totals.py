"""What each study has spent in all, so that its searches can keep to a limit together at each request."""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_COUNTS = (
    "requests",
    "prompt_tokens",
    "completion_tokens",
    "cached_prompt_tokens",
    "reasoning_tokens",
    "estimated_tokens",
    "reused_prompt_tokens",
    "reused_completion_tokens",
)
_AMOUNTS = {**dict.fromkeys(_COUNTS, sa.BigInteger), "usd": sa.Float, "seconds": sa.Float}
_UNBOUGHT = {"reused_prompt_tokens", "reused_completion_tokens", "seconds"}
"""What purchases do not hold, and is taken of trials and validations."""


def upgrade() -> None:
    totals = op.create_table(
        "totals",
        sa.Column("study_id", sa.Integer, sa.ForeignKey("studies.id"), primary_key=True),
        *(sa.Column(name, kind, nullable=False) for name, kind in _AMOUNTS.items()),
    )
    study: Any = sa.column("study_id")
    bought = [sa.literal(0) if name in _UNBOUGHT else sa.column(name) for name in _AMOUNTS]
    parts = [
        sa.select(study, *bought).select_from(sa.table("purchases")).where(study.is_not(None)),
        _recorded("steps", sa.column("spend", sa.JSON), set(_AMOUNTS)),
        _recorded("trials", sa.column("evaluation", sa.JSON)["spend"], _UNBOUGHT),
        _recorded("validations", sa.column("evaluation", sa.JSON)["spend"], _UNBOUGHT),
    ]
    spent = sa.union_all(*parts).subquery()
    sums = [sa.func.sum(spent.columns[place]) for place in range(1, len(_AMOUNTS) + 1)]
    summed = sa.select(spent.c.study_id, *sums).group_by(spent.c.study_id)
    op.execute(totals.insert().from_select(["study_id", *_AMOUNTS], summed))


def _recorded(table: str, spend: Any, names: Collection[str]) -> Any:
    """The amounts of these names, as the rows of a table have them in JSON, which leaves out what is 0."""
    said = {name: spend[name].as_integer() if name in _COUNTS else spend[name].as_float() for name in names}
    amounts = [sa.func.coalesce(said[name], 0) if name in names else sa.literal(0) for name in _AMOUNTS]
    return sa.select(sa.column("study_id"), *amounts).select_from(sa.table(table))

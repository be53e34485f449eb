"""What each study has paid for in all, so that the searches of one can keep to a limit together at each request."""

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
)
_KINDS = {**dict.fromkeys(_COUNTS, sa.BigInteger), "usd": sa.Float}


def upgrade() -> None:
    totals = op.create_table(
        "totals",
        sa.Column("study_id", sa.Integer, sa.ForeignKey("studies.id"), primary_key=True),
        *(sa.Column(name, kind, nullable=False) for name, kind in _KINDS.items()),
    )
    purchases = sa.table("purchases", sa.column("study_id"), *(sa.column(name, kind) for name, kind in _KINDS.items()))
    steps = sa.table("steps", sa.column("study_id"), sa.column("spend", sa.JSON))
    of_step = {name: steps.c.spend[name].as_integer() for name in _COUNTS} | {"usd": steps.c.spend["usd"].as_float()}
    paid = sa.union_all(
        sa.select(purchases).where(purchases.c.study_id.is_not(None)),
        sa.select(steps.c.study_id, *(sa.func.coalesce(of_step[name], 0).label(name) for name in _KINDS)),
    ).subquery()
    summed = (sa.func.sum(paid.c[name]) for name in _KINDS)
    op.execute(
        totals.insert().from_select(
            ["study_id", *_KINDS], sa.select(paid.c.study_id, *summed).group_by(paid.c.study_id)
        )
    )

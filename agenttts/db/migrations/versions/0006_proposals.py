"""Proposals that are being evaluated; allocations that are scored by the samples of others."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "proposals",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study_id", sa.Integer, sa.ForeignKey("studies.id"), nullable=False),
        sa.Column("allocation", sa.Text, nullable=False),
        sa.Column("rationale", sa.Text, nullable=False),
        sa.Column("searcher", sa.String(200), nullable=False),
        sa.Column("examples", sa.Integer),
        sa.Column("round", sa.Integer, nullable=False),
        sa.UniqueConstraint("study_id", "allocation"),
    )
    op.create_table(
        "counterfactuals",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study_id", sa.Integer, sa.ForeignKey("studies.id"), nullable=False),
        sa.Column("allocation", sa.Text, nullable=False),
        sa.Column("cost", sa.Float, nullable=False),
        sa.Column("scored_by", sa.Integer, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("evaluation", sa.JSON, nullable=False),
        sa.UniqueConstraint("study_id", "allocation"),
    )

"""What each stage of an example drew and handed on, and the examples themselves; unknown of earlier trials."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "transcripts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study_id", sa.Integer, sa.ForeignKey("studies.id"), nullable=False),
        sa.Column("trial", sa.Integer, nullable=False),
        sa.Column("held_out", sa.Boolean, nullable=False),
        sa.Column("example", sa.Text, nullable=False),
        sa.Column("score", sa.Float, nullable=False),
        sa.Column("failed", sa.Boolean, nullable=False),
        sa.Column("unusable", sa.Integer, nullable=False),
        sa.Column("cut", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("stages", sa.JSON, nullable=False),
    )
    op.create_index("ix_transcripts_trial", "transcripts", ["study_id", "trial"])
    op.create_index("ix_transcripts_worst", "transcripts", ["study_id", "failed", "unusable", "cut"])
    op.create_table(
        "examples",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study_id", sa.Integer, sa.ForeignKey("studies.id"), nullable=False),
        sa.Column("example", sa.Text, nullable=False),
        sa.Column("fields", sa.JSON, nullable=False),
    )
    op.create_index("ix_examples_study", "examples", ["study_id"])
    op.create_index("ix_trials_round", "trials", ["study_id", "round"])
    op.create_index("ix_trials_score", "trials", ["study_id", "score"])
    op.create_index("ix_trials_cost", "trials", ["study_id", "cost"])
    op.create_index("ix_steps_round", "steps", ["study_id", "round"])

"""Log probabilities of the tokens of samples for which they were asked."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("samples", sa.Column("logprobs", sa.JSON))

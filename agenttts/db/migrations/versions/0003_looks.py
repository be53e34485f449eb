"""When a trial saw which of its examples; unknown of the trials that are there already."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("trials", sa.Column("looks", sa.JSON))

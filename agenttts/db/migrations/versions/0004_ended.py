"""Why a sample holds nothing to parse (a refusal, or tokens used up); unknown of those that are there already."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("samples", sa.Column("ended", sa.String(20)))

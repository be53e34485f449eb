"""Of what was paid for: prompt tokens from a cache, tokens of reasoning, and those that were estimated."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for name in ("cached_prompt_tokens", "reasoning_tokens", "estimated_tokens"):
        op.add_column("purchases", sa.Column(name, sa.Integer, nullable=False, server_default="0"))

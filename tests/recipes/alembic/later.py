import sqlalchemy as sa
from alembic import op

revision = "3c7e20"
down_revision = "2b6d1f"


def upgrade() -> None:
    op.add_column("products", sa.Column("label", sa.String(40)))

import sqlalchemy as sa
from alembic import op

revision = "1a5c0e"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "categories",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("slug", sa.String(40), nullable=False, unique=True),
        sa.Column("parent_id", sa.Uuid, sa.ForeignKey("categories.id")),
    )
    op.create_table(
        "products",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("sku", sa.String(20), nullable=False, unique=True),
        sa.Column("price", sa.Numeric(8, 2), nullable=False),
        sa.Column("category_id", sa.Uuid, sa.ForeignKey("categories.id"), nullable=False),
        sa.Column("stock", sa.Integer, nullable=False, server_default="0"),
    )

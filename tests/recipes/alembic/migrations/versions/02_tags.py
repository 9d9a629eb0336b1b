import sqlalchemy as sa
from alembic import op

revision = "2b6d1f"
down_revision = "1a5c0e"


def upgrade() -> None:
    op.create_table("tags", sa.Column("name", sa.String(40), primary_key=True))
    op.create_table(
        "product_tags",
        sa.Column("product_id", sa.Integer, sa.ForeignKey("products.id"), primary_key=True),
        sa.Column("tag_name", sa.String(40), sa.ForeignKey("tags.name"), primary_key=True),
    )


def downgrade() -> None:
    op.drop_table("product_tags")
    op.drop_table("tags")

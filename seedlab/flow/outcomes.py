"""Counts of row outcomes: created, updated, unchanged, deleted, rejected."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """How many rows had each outcome."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    rejected: int = 0

    def __add__(self, other: Outcomes) -> Outcomes:
        return Outcomes(
            created=self.created + other.created,
            updated=self.updated + other.updated,
            unchanged=self.unchanged + other.unchanged,
            deleted=self.deleted + other.deleted,
            rejected=self.rejected + other.rejected,
        )

    @property
    def total(self) -> int:
        """The number of rows with any outcome."""
        return self.created + self.updated + self.unchanged + self.deleted + self.rejected

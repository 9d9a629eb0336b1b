"""How state machines are run."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings


def walks(count: int, *, steps: int) -> settings:
    """So many random walks; to make a failing one shorter would take a database for each attempt."""
    return settings(
        max_examples=count,
        stateful_step_count=steps,
        derandomize=False,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

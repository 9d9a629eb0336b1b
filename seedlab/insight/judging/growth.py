"""Fits how time grows with rows: seconds = fixed + factor * rows ^ exponent. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ENOUGH = 4  # different sizes that a fit of three parameters needs
_STEP = 0.01
_EXPONENTS = tuple(n * _STEP for n in range(5, 351))
# Student's t for a 95 % interval, by degrees of freedom from 1 on; 1.96 for more.
_STUDENT = (
    12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11,
    2.10, 2.09, 2.09, 2.08, 2.07, 2.07, 2.06, 2.06, 2.06, 2.05, 2.05, 2.05, 2.04,
)  # fmt: skip

Point = tuple[float, float]  # rows, seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A fit of seconds = fixed + factor * rows ** exponent, with the 95 % interval of the exponent."""

    fixed: float
    factor: float
    exponent: float
    low: float
    high: float

    def seconds(self, rows: float) -> float:
        """Return the seconds that the fit predicts for a number of rows."""
        return self.fixed + self.factor * float(rows**self.exponent)


def fit(points: Sequence[Point]) -> Growth | None:
    """Fit seconds to rows with the least relative errors; None for fewer than `ENOUGH` sizes.

    For each exponent, least squares give the other two parameters; the fixed part is never negative. The
    confidence interval contains the exponents whose error is not larger than chance allows (profile
    likelihood: Bates & Watts, Nonlinear Regression Analysis, chapter 6). Points without rows or seconds are
    left out.
    """
    usable = [(rows, seconds) for rows, seconds in points if rows > 0 < seconds]
    if len({rows for rows, _ in usable}) < ENOUGH:
        return None
    tried = [(exponent, *_linear(usable, exponent)) for exponent in _EXPONENTS]
    exponent, fixed, factor, error = min(tried, key=lambda each: each[3])
    freedom = len(usable) - 3
    student = _STUDENT[freedom - 1] if freedom <= len(_STUDENT) else 1.96
    # An error below a thousandth is no evidence, since no clock is more exact.
    allowed = max(error, len(usable) * 1e-6) * (1 + student**2 / freedom)
    fair = [each[0] for each in tried if each[3] <= allowed]
    return Growth(fixed=fixed, factor=factor, exponent=exponent, low=min(fair), high=max(fair))


def _linear(points: Sequence[Point], exponent: float) -> tuple[float, float, float]:
    """Return fixed part, factor and the sum of squared relative errors for an exponent."""
    # Least squares for the equations fixed/t + factor * n^k/t = 1, one per point, with u = 1/t and v = n^k/t.
    us = [1 / seconds for _, seconds in points]
    vs = [rows**exponent / seconds for rows, seconds in points]
    uu, vv = sum(u * u for u in us), sum(v * v for v in vs)
    uv, u1, v1 = sum(u * v for u, v in zip(us, vs, strict=True)), sum(us), sum(vs)
    determinant = uu * vv - uv * uv
    fixed = (u1 * vv - v1 * uv) / determinant if determinant > 0 else 0.0
    factor = (v1 * uu - u1 * uv) / determinant if determinant > 0 else 0.0
    if fixed <= 0 or factor < 0:
        fixed, factor = 0.0, v1 / vv
    error = sum((fixed * u + factor * v - 1) ** 2 for u, v in zip(us, vs, strict=True))
    return fixed, factor, error

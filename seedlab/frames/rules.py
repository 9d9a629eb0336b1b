"""Evaluate rules over frames, and find the rows that break them.

A rule is a named boolean expression that is true for a bad row. First one aggregate per rule tells whether
any row breaks it, for all loads together; only for broken rules are the rows looked up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from seedlab.flow import FILE, HANDLE, ROW, Load, Suspect
from seedlab.frames.batcher import SMALL, select_all
from seedlab.frames.resolve import Handled

REJECTED_PARENT = "rejected-parent"  # the rule of rows that depend on rejected ones

VALUE = "_seedlab_value"  # the column of rules alike
# By the rule that the target names for an invalid value: what is added to the message of the suspect rule.
MESSAGES = {
    "type": "{}, and the value is not",
    "overflow": "{}, and the value is out of its range",
    "rounding": "{}, and the value would be rounded or changed to fit",
    "too-long": "{}, and the value is longer",
}
# The rows that break a rule: their place, the value that conflicting rows share (`same`), and the column's
# value, which is shown only on request.
BROKEN = pl.Schema({FILE: pl.UInt16, ROW: pl.UInt32, "same": pl.String, "value": pl.String})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rule:
    """A named boolean expression over a load's handle frame that is true for a bad row.

    `column` is the source column to blame, and `message` says what was expected. `shown` are the columns
    whose values are reported, if other than `column`. The rows of a `suspect` rule may be valid: they are
    sent to the target, which decides. `alike` is the same rule for a column VALUE of any table, where `bad`
    looks at nothing but `column`.
    """

    name: str
    column: str
    message: str
    bad: pl.Expr
    suspect: bool = False
    shown: tuple[str, ...] = ()
    alike: Rule | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Broken:
    """The rows of one load that break one rule; `frame` has the columns of BROKEN.

    `before` has the rows of other loads that conflict with them and come first, or the rejected rows that
    they depend on.
    """

    load: Load
    rule: Rule
    frame: pl.DataFrame
    before: tuple[Broken, ...] = ()


def broken_rules(frames: Sequence[pl.DataFrame], rules: Sequence[Sequence[Rule]]) -> list[list[Rule]]:
    """Return the rules of each frame that at least one row breaks; one pass over all frames."""
    kept = _kept_by_all(frames, rules)
    left = [
        [rule for rule in of_frame if frame.height >= SMALL or rule.alike not in kept]
        for frame, of_frame in zip(frames, rules, strict=True)
    ]
    verdicts = select_all(
        [frame for frame, of_frame in zip(frames, left, strict=True) if of_frame],
        ([r.bad.any().alias(str(n)) for n, r in enumerate(of_frame)] for of_frame in left if of_frame),
    )
    answers = iter(verdicts)
    return [
        [rule for rule, bad in zip(of_frame, next(answers).row(0), strict=True) if bad] if of_frame else []
        for of_frame in left
    ]


def _kept_by_all(frames: Sequence[pl.DataFrame], rules: Sequence[Sequence[Rule]]) -> set[Rule | None]:
    """Find the rules alike that no row of a small frame breaks, which is usual, by the values of all of them.

    For small frames the fixed cost per frame is most of the cost. The stacks are collected together, because
    polars hands both sides of an operator to its threads, and for each frame alone waits for them every time.
    """
    values: dict[Rule, list[pl.Series]] = {}
    for frame, of_frame in zip(frames, rules, strict=True):
        for rule in of_frame:
            if rule.alike is not None and frame.height < SMALL:
                values.setdefault(rule.alike, []).append(frame.get_column(rule.column))
    stacks = [pl.concat(each, rechunk=True).alias(VALUE).to_frame() for each in values.values()]
    verdicts = select_all(stacks, ([rule.bad.any()] for rule in values), large=0)
    return {rule for rule, verdict in zip(values, verdicts, strict=True) if not verdict.item()}


def judge(handled: Sequence[Handled], rules: Sequence[Sequence[Rule]]) -> list[Broken]:
    """Evaluate every load's rules; return the broken ones with the rows that break them.

    Cost: one pass over all loads, plus one per broken rule.
    """
    return broken_by(handled, broken_rules([each.frame for each in handled], rules))


def broken_by(handled: Sequence[Handled], rules: Sequence[Sequence[Rule]]) -> list[Broken]:
    """Find the rows of each load that break its rules; one pass per rule."""
    return [
        Broken(load=each.load, rule=rule, frame=frame)
        for each, of_load in zip(handled, rules, strict=True)
        for rule in of_load
        if (frame := _rows(each.frame, rule)).height
    ]


def suspects(broken: Sequence[Broken]) -> list[Suspect]:
    """Return the values that only the target can validate."""
    return [Suspect(load=b.load, column=b.rule.column, frame=b.frame) for b in broken if b.rule.suspect]


def confirm(doubtful: Sequence[Broken], verdicts: Sequence[pl.DataFrame]) -> list[Broken]:
    """Reduce suspect rows to those that the target found invalid, under the rule that it named."""
    found = []
    for each, verdict in zip(doubtful, verdicts, strict=True):
        for (name, hint), judged in verdict.group_by("rule", "hint", maintain_order=True):
            frame = each.frame.join(judged, on=[FILE, ROW], how="semi", maintain_order="left")
            message = MESSAGES[str(name)].format(each.rule.message) + (f"; {hint}" if hint else "")
            rule = replace(each.rule, name=str(name), message=message)
            found.append(replace(each, rule=replace(rule, suspect=False), frame=frame))
    return found


def _rows(frame: pl.DataFrame, rule: Rule) -> pl.DataFrame:
    known = [name for name in rule.shown or (rule.column,) if name in frame.columns]
    value = pl.concat_str(known, separator=", ", ignore_nulls=True) if known else pl.lit(None)
    value = value.cast(pl.String)
    same = pl.col(HANDLE).cast(pl.String) if rule.name == "duplicate-key" else value
    columns = [
        pl.col(FILE).cast(pl.UInt16),
        pl.col(ROW).cast(pl.UInt32),
        same.alias("same"),
        value.alias("value"),
    ]
    return frame.lazy().filter(rule.bad).select(columns).collect()  # lazy: filters only these columns

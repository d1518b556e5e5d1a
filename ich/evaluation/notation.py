"""Measured values as a reader sees them."""

import math
from collections.abc import Iterable, Mapping
from string import ascii_lowercase
from typing import Any


def number(value: float, lower: float = math.nan, upper: float = math.nan, sd: float = math.nan) -> str:
    """Write a measured value for a reader, with its interval and SD over seeds if it has them; a dash for none."""
    if math.isnan(value):
        return "–"
    written, low, high, spread = (f"{each:.3f}".replace("inf", "∞") for each in (value, lower, upper, sd))
    interval = "" if math.isnan(lower) else f"{low} to {high}"
    inside = "; ".join(filter(None, [interval, "" if math.isnan(sd) else f"SD {spread}"]))
    return f"{written} ({inside})" if inside else written


def p_value(p: float) -> str:
    """Write a p value for a reader; none is so small that it were zero."""
    return "<0.001" if p < 0.001 else number(p)


def reason_of(row: Mapping[str, Any]) -> str:
    """Give the reason of a row; an empty one is NaN once it was a CSV file."""
    return row["reason"] if isinstance(row.get("reason"), str) else ""


def duration(seconds: float) -> str:
    """Write a duration as hours, minutes and seconds, or as seconds below a minute."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def letters(reasons: Iterable[str]) -> dict[str, str]:
    """Give each of the reasons that is not empty a letter, in order: a to z, then aa, bb."""
    found = dict.fromkeys(reason for reason in reasons if reason)
    return {reason: ascii_lowercase[place % 26] * (place // 26 + 1) for place, reason in enumerate(found)}

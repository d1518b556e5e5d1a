"""Pieces of the messages about a faulty configuration."""

import difflib
import math
from collections.abc import Iterable
from typing import Any


def lower_first(text: str) -> str:
    """Write the first letter small."""
    return text[:1].lower() + text[1:]


def choice(word: Any, known: Iterable[str]) -> str:
    """Suggest the known word closest to an unknown one, or list all of them."""
    close = difflib.get_close_matches(str(word), known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"


def is_number(text: str) -> bool:
    """Tell whether text reads as a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def yaml_number(text: str) -> str:
    """Write a number as YAML reads it: with a decimal point before the exponent, and the exponent's sign."""
    mantissa, _, exponent = text.lower().partition("e")
    return f"{float(mantissa)}e{int(exponent):+d}" if exponent else repr(float(text))

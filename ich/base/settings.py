"""Nested settings, and one of their values by its dotted key, as `optimizer.learning_rate`."""

from collections.abc import Mapping
from typing import Any


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one mapping over another, key by key at every depth."""
    result = dict(base)
    for key, value in over.items():
        inside = isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
        result[key] = merged(base[key], value) if inside else value
    return result


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn values by dotted keys into nested mappings: `{"a.b": 1}` into `{"a": {"b": 1}}`."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        result = merged(result, value)
    return result


def value_at(settings: Mapping[str, Any], key: str) -> Any:
    """Give the value at a dotted key.

    Raises
    ------
    KeyError
        There is no such key.
    """
    value: Any = settings
    for part in key.split("."):
        if not isinstance(value, Mapping):
            raise KeyError(key)
        value = value[part]
    return value

"""The JSON schema of the configuration, and what it says of a place in the file."""

from functools import cache
from typing import Any

from ich.config.configuration import Config


@cache
def schema() -> dict[str, Any]:
    """Return the JSON schema of the configuration."""
    schema = Config.model_json_schema()
    schema["$defs"]["Experiment"]["required"] = ["model"]  # it takes the other keys from `training`
    return schema


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    """Follow a node of the schema to the section that it refers to, if any."""
    refers = next((each for each in [node, *node.get("anyOf", [])] if "$ref" in each), None)
    return schema()["$defs"][refers["$ref"].rpartition("/")[2]] if refers else node


def entry_of(node: dict[str, Any]) -> dict[str, Any] | None:
    """Give the schema of the entries of a table by name; None for what is no such table."""
    entries = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
    return entries[0] or None


def schema_at(loc: tuple[int | str, ...]) -> dict[str, Any] | None:
    """Give the schema of the value at a place in the file, None where the file has no such place."""
    node = schema()
    for part in loc:
        node = resolved(node)
        if isinstance(part, int):
            inside = next((each["items"] for each in [node, *node.get("anyOf", [])] if "items" in each), None)
        else:
            inside = node.get("properties", {}).get(part) or entry_of(node)
        if inside is None:
            return None
        node = inside
    return node


def description_at(loc: tuple[int | str, ...]) -> str:
    """Return the first line of the description of a place in the file, or of the nearest place above that has one."""
    node = schema_at(loc) or {}
    text = node.get("description") or resolved(node).get("description") or description_at(loc[:-1])
    return text.split("\n")[0]

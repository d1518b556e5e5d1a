"""The reference page (docs/configuration.md) and the JSON schema for editors (docs/config.schema.json)."""

import json
from collections.abc import Iterator
from typing import Any

from ich.config.lookup import entry_of, resolved, schema


def reference() -> str:
    """Write the reference page of the configuration in Markdown."""
    lines = [
        "# Configuration reference",
        "",
        "Generated from `ich/config/` by `python -m ich.config`. The paper's values stand in `config.yaml`; lay a",
        "file of your own over it with `--configfile mine.yaml`. An entry of `windows`, `caches` or `experiments` that",
        "is set to `null` is left out. `<name>` is a name that you choose.",
    ]
    return "\n".join([*lines, *_reference_of(schema(), "")]) + "\n"


def _reference_of(section: dict[str, Any], prefix: str) -> Iterator[str]:
    title = f"`{prefix.rstrip('.')}`" if prefix else "Top level"
    yield from (
        "",
        f"## {title}",
        "",
        section["description"].split("\n")[0],
        "",
        "| key | type | meaning |",
        "|---|---|---|",
    )
    below = []
    inherited = schema()["$defs"]["Training"]["properties"] if section["title"] == "Experiment" else {}
    for key, node in section["properties"].items():
        entry = entry_of(node)
        inner = resolved(entry or node)
        if key in inherited:
            continue
        if "properties" in inner:
            below.append((inner, f"{prefix}{key}.{'<name>.' if entry else ''}"))
        meaning = (node.get("description") or inner["description"]).split("\n")[0]
        yield f"| `{key}` | {_type_text(node)} | {meaning} |"
    if inherited:
        yield "| all keys of `training` | | Each optional; one that is missing has the value that stands there. |"
    for inner, inner_prefix in below:
        yield from _reference_of(inner, inner_prefix)


def _type_text(node: dict[str, Any]) -> str:
    if "anyOf" in node:
        return " or ".join(_type_text(each) for each in node["anyOf"] if each.get("type") != "null")
    if "enum" in node:
        return "one of " + ", ".join(f"`{value}`" for value in node["enum"])
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = ", ".join(f"{sign} {node[name]}" for name, sign in bounds.items() if name in node)
    kinds = {
        "boolean": "true or false",
        "integer": "whole number",
        "number": "number",
        "string": "text",
        "array": "list",
        "object": "table by name",
    }
    return f"{kinds[node['type']]} {limits}".strip() if "type" in node else "section"


def json_schema() -> str:
    """Write the JSON schema of the configuration, for editors."""
    return json.dumps(schema(), indent=2, sort_keys=True) + "\n"

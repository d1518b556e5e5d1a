"""Write the reference page and the JSON schema of the configuration: `python -m ich.config`, in the repository."""

from pathlib import Path

from ich.config.reference import json_schema, reference

docs = Path(__file__).parents[2] / "docs"
(docs / "configuration.md").write_text(reference(), encoding="utf-8")
(docs / "config.schema.json").write_text(json_schema(), encoding="utf-8")

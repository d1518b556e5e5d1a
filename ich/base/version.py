"""The version of the package: the one number, which stands in pyproject.toml."""

import tomllib
from importlib import metadata
from pathlib import Path

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def version() -> str:
    """Return the version of the package.

    In a checkout pyproject.toml has it, else the installed package's metadata. It is no constant of a module, so that
    a release by itself changes no code hash and makes nothing run again.
    """
    if PROJECT.is_file():
        return tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["version"]
    return metadata.version("ich")

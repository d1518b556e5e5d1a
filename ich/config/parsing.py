"""From the file's values to the configuration."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ich.base.errors import InputError
from ich.base.settings import merged
from ich.config.configuration import Config
from ich.config.experiments import Experiment, seeded
from ich.config.messages import explain


def parse(raw: Mapping[str, Any]) -> Config:
    """Check a configuration.

    Parameters
    ----------
    raw : mapping
        The configuration as read from YAML.

    Returns
    -------
    Config
        In its `experiments`, one with `seeds` has become a training for each, by the name `{experiment}_seed{seed}`.

    Raises
    ------
    InputError
        The message has a line `key: problem, what to write instead` for every fault of the file.
    """
    try:
        config = Config.model_validate(dict(raw))
    except ValidationError as error:
        first = dict(
            reversed([*explain(error)])
        )  # a value of two possible types has a problem with each: one is enough
        lines = [f"  {line}" for line in reversed(first.values())]
        raise InputError("\n".join(["The configuration cannot be used:", *lines])) from None
    trainings: dict[str, Experiment] = {}
    for name, each in config.experiments.items():
        seeds = {seeded(name, seed): seed for seed in each.seeds or []} or {name: each.seed}
        trainings |= {training: each.model_copy(update={"seed": seed}) for training, seed in seeds.items()}
    return config.model_copy(update={"experiments": trainings})


def read(paths: Iterable[str | Path]) -> Config:
    """Read a configuration as Snakemake does: each file merged over those before it.

    Parameters
    ----------
    paths : iterable of path
        `config.yaml` and its overlays.

    Returns
    -------
    Config
        As from `parse`.

    Raises
    ------
    InputError
        A file is missing or not YAML, or as of `parse`.
    """
    raw: dict[str, Any] = {}
    for path in map(Path, paths):
        try:
            raw = merged(raw, yaml.safe_load(path.read_text(encoding="utf-8")) or {})
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}). Name a configuration file.") from error
        except (yaml.YAMLError, AttributeError) as error:
            raise InputError(f"{path}: not a configuration in YAML ({error})") from error
    return parse(raw)

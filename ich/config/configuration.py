"""The one typed description of config.yaml.

The reference page (docs/configuration.md) and the JSON schema for editors (docs/config.schema.json) are generated from
it: `python -m ich.config` writes both. Only the Snakefile imports this module; a job gets the values that it uses as
parameters, so that a new key here makes nothing run again.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from pydantic import Field, model_validator

from ich.base.settings import merged, nested
from ich.config.data import Data
from ich.config.evaluation import Evaluation, Report
from ich.config.experiments import FIXED, Experiment, Model, leaves, seeded, value_faults
from ich.config.images import Cache, Window
from ich.config.section import Name, Section, canonical
from ich.config.split import Split
from ich.config.training import Training
from ich.config.words import choice


class Config(Section):
    """The configuration of a run."""

    results: str = Field(min_length=1, description="Folder of all that the pipeline makes.")
    shards: int = Field(ge=1, le=4096, description="Number of pieces that headers and caches are made in, a job each.")
    data: Data
    split: Split
    windows: dict[Name, Window] = Field(description="Windows by name.")
    caches: dict[Name, Cache] = Field(description="Caches by name. Only those that an experiment uses are made.")
    imagenet: dict[Model, str] = Field(
        default_factory=dict,
        description="Address (https:// or file://) of a model's ImageNet weights, where torchvision's is out of reach.",
    )
    training: Training
    experiments: dict[Name, Experiment] = Field(min_length=1, description="Experiments by name.")
    evaluation: Evaluation
    report: Report

    @model_validator(mode="before")
    @classmethod
    def _inherit(cls, raw: Any) -> Any:
        """Drop entries set to null and lay each experiment over `training`."""
        if not isinstance(raw, Mapping):
            return raw
        raw = dict(raw)
        for key in ("windows", "caches", "experiments"):
            if isinstance(raw.get(key), Mapping):
                raw[key] = {name: value for name, value in raw[key].items() if value is not None}
        if isinstance(raw.get("experiments"), Mapping) and isinstance(raw.get("training"), Mapping):
            raw["experiments"] = {
                name: merged(raw["training"], value) if isinstance(value, Mapping) else value
                for name, value in raw["experiments"].items()
            }
        return raw

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        problems = [
            f"caches.{name}.windows: there is no window {window!r}; {choice(window, self.windows)}"
            for name, cache in self.caches.items()
            for window in cache.windows
            if window not in self.windows
        ]
        problems += [
            f"experiments.{name}.cache: there is no cache {each.cache!r}; {choice(each.cache, self.caches)}"
            for name, each in self.experiments.items()
            if each.cache not in self.caches
        ]
        for name, each in self.experiments.items():
            problems += [f"experiments.{name}.{line}" for line in self._problems_of(name, each)]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _problems_of(self, name: str, experiment: Experiment) -> Iterator[str]:
        """Give the faults of an experiment's seeds and search that its section alone does not show."""
        for seed in experiment.seeds or []:
            if seeded(name, seed) in self.experiments:
                yield f"seeds: the training with seed {seed} would be called as experiments.{seeded(name, seed)} is"
        searched = [each for each, other in self.experiments.items() if other.search]
        if experiment.from_search is True and not experiment.search:
            yield "from_search: this experiment has no search; write one, or the name of an experiment that has"
        elif isinstance(experiment.from_search, str) and experiment.from_search not in searched:
            yield f"from_search: no search in {experiment.from_search!r}; {choice(experiment.from_search, searched)}"
        known = [*leaves(canonical(self.training))]
        for key, values in experiment.search.grid.items() if experiment.search else ():
            if key in FIXED:
                yield f"search.grid.{key}: decides what the job asks for; make each value an experiment of its own"
            elif key not in known:
                yield f"search.grid.{key}: not a single value of training; {choice(key, known)}"
            else:
                faults = (fault for value in values for fault in value_faults(experiment, key, value))
                yield from (f"search.grid.{key}: {fault}" for fault in faults)

    def members(self) -> dict[str, list[str]]:
        """Name the trainings of each experiment as it is written: itself, or one for each of its seeds."""
        found: dict[str, list[str]] = {}
        for name, each in self.experiments.items():
            found.setdefault(name.removesuffix(seeded("", each.seed)) if each.seeds else name, []).append(name)
        return found

    def searches(self) -> dict[str, Experiment]:
        """Give the experiments that have a search, by the name that is written."""
        first = {name: self.experiments[members[0]] for name, members in self.members().items()}
        return {name: each for name, each in first.items() if each.search}

    def search_of(self, training: str) -> str | None:
        """Name the experiment whose search a training takes its values from, if any."""
        taken = self.experiments[training].from_search
        if taken is True:
            return next(name for name, members in self.members().items() if training in members)
        return taken or None

    def training_settings(self, training: str) -> dict[str, Any]:
        """Give what a training is told; what a search chooses is known only when it has run."""
        settings, search = self.experiments[training].settings(), self.search_of(training)
        if search is None:
            return settings
        return merged(
            settings, nested(dict.fromkeys(self.searches()[search].grid(), f"chosen by the search of {search}"))
        )

    def job_parts(self, rule: str, logs: Sequence[str]) -> list[str]:
        """Name the optional parts of code that a job uses, from its rule and its log files.

        Raises
        ------
        InputError
            The experiment or search of the job is not in this configuration.
        """
        return []

    def cache_windows(self, cache: str) -> list[dict[str, Any]]:
        """Name, level and width (HU) of each channel of a cache."""
        return [{"name": name, **canonical(self.windows[name])} for name in self.caches[cache].windows]

    def used_caches(self) -> list[str]:
        """Names of the caches that experiments use, in alphabetical order."""
        return sorted({experiment.cache for experiment in self.experiments.values()})

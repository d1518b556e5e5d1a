"""The section `experiments`: a training's settings, its seeds and its search."""

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from ich.base.settings import merged, nested, value_at
from ich.config.section import Name, Patients, Section, Seed, canonical
from ich.config.training import Training
from ich.config.words import is_number, lower_first, yaml_number

Model = Literal["resnet18", "resnet34", "resnet50", "densenet121", "densenet169"]


class Search(Section):
    """Trains a grid of settings on some of the patients; the best is the one with the highest ROC AUC on validation."""

    grid: dict[str, Annotated[list[bool | int | float | str], Field(min_length=1)]] = Field(
        min_length=1,
        description="Values by the key of `training` that they are of, such as `optimizer.learning_rate`. Every "
        "combination is a point, and a job; the experiment's other settings are common to all.",
    )
    epochs: int = Field(ge=1, description="Number of epochs of a point, whatever the experiment's own is.")
    train: Patients = Field(description="Patients of the training part: their share (up to 1) or their number.")
    validation: Patients = Field(description="Patients of the validation part: their share (up to 1) or their number.")
    seed: Seed = Field(description="Of the patients drawn and of every point's training.")


class Experiment(Training):
    """One trained configuration."""

    model: Model = Field(description="Torchvision's name of the backbone.")
    seeds: list[Seed] | None = Field(
        default=None,
        min_length=1,
        description="Train with each of these instead of `seed`, as `<name>_seed0` and so on; tables show their mean.",
    )
    search: Search | None = Field(default=None, description="A grid search over settings of this experiment.")
    from_search: bool | Name = Field(
        default=False,
        description="true: train with the values that this experiment's search chose; a name: with those of the "
        "search of that experiment.",
    )

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if self.seeds and len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed stands twice in seeds; write each once")
        return self

    def settings(self) -> dict[str, Any]:
        """Give what a training is told, beside its input files."""
        return {key: value for key, value in canonical(self).items() if key not in NO_SETTINGS}

    def grid(self) -> dict[str, list[Any]]:
        """Give the values of the search by dotted key, whatever the order of keys in the file."""
        assert self.search
        return {key: [_value(self, key, value) for value in values] for key, values in sorted(self.search.grid.items())}

    def points(self) -> dict[str, dict[str, Any]]:
        """Give the values of each point of the search, by dotted key, by the name that is made of them."""
        grid = self.grid()
        combinations = (dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values()))
        # no comma: Snakemake hands wildcards to a cluster's jobs in a list with commas
        return {"_".join(f"{key}={_text(value)}" for key, value in each.items()): each for each in combinations}

    def point_settings(self, point: str) -> dict[str, Any]:
        """Give what the training of a point is told."""
        assert self.search
        own = {"epochs": self.search.epochs, "seed": self.search.seed} | nested(self.points()[point])
        return {key: value for key, value in merged(self.settings(), own).items() if key not in FIXED}


FIXED = ("cache", "weights", "gpus")  # settings that decide what a training job asks for; a point has one GPU
NO_SETTINGS = ("cache", "weights", "seeds", "search", "from_search")


def _value(experiment: Experiment, key: str, value: Any) -> Any:
    """Give a value of a grid as the type that its key has: `1` is `1.0` where any number may stand."""
    settings = merged(experiment.model_dump(exclude={"search"}), nested({key: value}))
    return value_at(canonical(Experiment.model_validate(settings)), key)


def value_faults(experiment: Experiment, key: str, value: Any) -> Iterator[str]:
    """Say what is wrong with a value of a grid."""
    try:
        _value(experiment, key, value)
    except ValidationError as error:
        if isinstance(value, str) and is_number(value):
            yield f"{value!r} is text to YAML; write {yaml_number(value)}"
        else:
            yield f"{value!r} does not fit ({lower_first(error.errors()[0]['msg'])})"


def leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Give the dotted keys of single values."""
    for key, value in settings.items():
        yield from leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [f"{prefix}{key}"]


def seeded(name: str, seed: int) -> str:
    """Name the training of an experiment with one of its seeds."""
    return f"{name}_seed{seed}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

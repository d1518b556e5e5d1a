"""The one typed description of config.yaml.

The reference page (docs/configuration.md) and the JSON schema for editors (docs/config.schema.json) are generated from
it: `python -m ich.config` writes both. Only the Snakefile imports this module; a job gets the values that it uses as
parameters, so that a new key here makes nothing run again.
"""

import difflib
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from ich.errors import InputError
from ich.settings import merged, nested, value_at

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Patients = Annotated[int, Field(ge=2)] | Annotated[float, Field(gt=0, le=1)]
Model = Literal["resnet18", "resnet34", "resnet50", "densenet121", "densenet169"]


class Section(BaseModel):
    """A part of the file: unknown keys are errors, and text is never read as a number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Synthetic(Section):
    """The embedded data set that the pipeline makes itself under `data.root`."""

    patients: int = Field(ge=10, description="Number of patients.")
    slices: list[Annotated[int, Field(ge=3)]] = Field(
        min_length=2, max_length=2, description="Fewest and most slices of a series."
    )
    size: int = Field(ge=32, description="Rows and columns of a slice, in pixels; the real data has 512.")
    prevalence: Fraction = Field(description="Share of series that hold a haemorrhage; the real data has 0.41.")
    evenness: Fraction = Field(
        default=0.0,
        description="How evenly combinations of subtypes are drawn: 0 as in the real data, 1 all alike.",
    )
    seed: Seed = Field(description="The same seed gives the same bytes.")


class Data(Section):
    """Where the slices and labels are."""

    root: str = Field(min_length=1, description="Folder of the data set. The other paths are relative to it.")
    labels: str = Field(description="Label file in Kaggle's long layout (`ID,Label`).")
    dicom: str | list[str] = Field(
        description="A folder of DICOM files of any depth, a zip file that holds them, or a list of such."
    )
    synthetic: Synthetic | None = Field(
        default=None, description="If given, `root` is made by the pipeline, and every figure says so."
    )

    @model_validator(mode="after")
    def _synthetic_is_one_folder(self) -> Self:
        if self.synthetic and not isinstance(self.dicom, str):
            raise ValueError("data.synthetic makes one folder; write its name as data.dicom, no list")
        return self

    @property
    def labels_path(self) -> str:
        """Path of the label file."""
        return str(Path(self.root, self.labels))

    @property
    def dicom_paths(self) -> list[str]:
        """Paths of the folders and zip files."""
        names = [self.dicom] if isinstance(self.dicom, str) else self.dicom
        return [str(Path(self.root, name)) for name in names]


class Fractions(Section):
    """Shares of the patients; their sum is 1."""

    train: Fraction = Field(gt=0, description="Share of patients in the training part.")
    validation: Fraction = Field(gt=0, description="Share of patients in the validation part.")
    test: Fraction = Field(gt=0, description="Share of patients in the test part.")

    @model_validator(mode="after")
    def _sum_is_one(self) -> Self:
        total = self.train + self.validation + self.test
        if not math.isclose(total, 1, abs_tol=1e-9):
            raise ValueError(f"the shares add up to {total:g}; write three that add up to 1")
        return self


class Split(Section):
    """The partition of patients into parts, by the paper's procedure."""

    fractions: Fractions
    seed: Seed = Field(description="Random state of both steps of the split; the paper's is 8.")


class Window(Section):
    """A linear grey scale over Hounsfield units (DICOM PS3.3 C.11.2.1.2)."""

    level: float = Field(description="Centre of the window, in HU.")
    width: float = Field(
        gt=0, description="Width of the window, in HU: level - width/2 is black, level + width/2 white."
    )


class Cache(Section):
    """A set of windowed, resized images."""

    windows: list[Name] = Field(min_length=1, description="Names of windows, one an image channel, in order.")
    size: int = Field(ge=16, le=2048, description="Rows and columns of the images, in pixels.")


class Optimizer(Section):
    """How the weights are updated."""

    name: Literal["adam", "adamw", "sgd"] = Field(description="adam, adamw or sgd.")
    learning_rate: float = Field(gt=0, description="Learning rate of the first epoch (after warm-up).")
    weight_decay: float = Field(ge=0, description="Weight decay.")
    momentum: float = Field(ge=0, lt=1, description="Momentum of sgd; the others do not use it.")


class Schedule(Section):
    """The learning rate over the epochs."""

    name: Literal["exponential", "cosine", "constant"] = Field(
        description="exponential: rate times gamma^epoch (the paper's); cosine: half a cosine down to zero; constant."
    )
    gamma: float = Field(gt=0, le=1, description="Factor an epoch of `exponential`.")
    warmup_epochs: int = Field(ge=0, description="Epochs in which the rate first rises linearly.")


class Augmentation(Section):
    """Random changes of training images, drawn for each image by itself."""

    horizontal_flip: Fraction = Field(description="Probability of a left-right flip.")
    vertical_flip: Fraction = Field(description="Probability of an up-down flip.")
    rotation: float = Field(ge=0, le=180, description="Largest rotation to either side, in degrees.")


class Training(Section):
    """How models are trained. An experiment takes these values unless it has its own."""

    cache: Name = Field(description="Name of the cache with the images.")
    weights: str = Field(
        min_length=1,
        description="Initial weights: `imagenet`, `none` (random), or the path of a state dict (.safetensors or .pth).",
    )
    epochs: int = Field(ge=1, description="Number of passes over the training part.")
    batch_size: int = Field(ge=2, description="Slices in a batch.")
    optimizer: Optimizer
    schedule: Schedule
    augmentation: Augmentation
    seed: Seed = Field(description="Seed of initial weights, order and augmentation.")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="What layers compute in. `auto`: bfloat16 on a GPU that has it, float16 with scaled gradients on "
        "another, float32 on a CPU.",
    )
    compile: bool = Field(default=False, description="Compile the network by torch.compile before it is trained.")
    gpus: int = Field(
        default=1,
        ge=1,
        description="Number of GPUs, a process each, that share every batch. Without a GPU, number of processes.",
    )


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
        return {key: value for key, value in canonical(self).items() if key not in _NO_SETTINGS}

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
        return {key: value for key, value in merged(self.settings(), own).items() if key not in _FIXED}


_FIXED = ("cache", "weights", "gpus")  # settings that decide what a training job asks for; a point has one GPU
_NO_SETTINGS = ("cache", "weights", "seeds", "search", "from_search")


def _value(experiment: Experiment, key: str, value: Any) -> Any:
    """Give a value of a grid as the type that its key has: `1` is `1.0` where any number may stand."""
    settings = merged(experiment.model_dump(exclude={"search"}), nested({key: value}))
    return value_at(canonical(Experiment.model_validate(settings)), key)


def _faults(experiment: Experiment, key: str, value: Any) -> Iterator[str]:
    """Say what is wrong with a value of a grid."""
    try:
        _value(experiment, key, value)
    except ValidationError as error:
        if isinstance(value, str) and _is_number(value):
            yield f"{value!r} is text to YAML; write {_yaml_number(value)}"
        else:
            yield f"{value!r} does not fit ({_lower(error.errors()[0]['msg'])})"


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Give the dotted keys of single values."""
    for key, value in settings.items():
        yield from _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [f"{prefix}{key}"]


def _seeded(name: str, seed: int) -> str:
    """Name the training of an experiment with one of its seeds."""
    return f"{name}_seed{seed}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class Evaluation(Section):
    """How predictions are judged."""

    threshold: Literal["accuracy", "youden"] | Annotated[float, Field(gt=0, lt=1)] = Field(
        description="Decision rule. `accuracy` and `youden` choose each class's threshold on the validation part; "
        "a number is used as it is."
    )
    scan: Literal["maximum", "mean", "top3_mean", "noisy_or"] = Field(
        default="maximum",
        description="How the probabilities of a scan's slices become the scan's: their maximum, their mean, the mean "
        "of the three highest, or the probability of at least one were they independent.",
    )
    prevalence: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="Prevalence at which PPV and NPV are stated, beside that of the part itself.",
    )
    replicates: int = Field(ge=0, description="Bootstrap replicates of the intervals, drawn by patient; 0 for none.")
    confidence: float = Field(gt=0, lt=1, description="Coverage of the intervals.")
    seed: Seed = Field(description="Seed of the bootstrap.")
    cases: int = Field(ge=0, le=10, description="Cases of each class and kind of call on the page, at most.")


class Report(Section):
    """The page with all results."""

    hash_ids: bool = Field(
        description=(
            "Show hashes in the place of the ids of slices, which only who has all ids can find again, and no paths of "
            "the configuration."
        )
    )


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
            f"caches.{name}.windows: there is no window {window!r}; {_choice(window, self.windows)}"
            for name, cache in self.caches.items()
            for window in cache.windows
            if window not in self.windows
        ]
        problems += [
            f"experiments.{name}.cache: there is no cache {each.cache!r}; {_choice(each.cache, self.caches)}"
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
            if _seeded(name, seed) in self.experiments:
                yield f"seeds: the training with seed {seed} would be called as experiments.{_seeded(name, seed)} is"
        searched = [each for each, other in self.experiments.items() if other.search]
        if experiment.from_search is True and not experiment.search:
            yield "from_search: this experiment has no search; write one, or the name of an experiment that has"
        elif isinstance(experiment.from_search, str) and experiment.from_search not in searched:
            yield f"from_search: no search in {experiment.from_search!r}; {_choice(experiment.from_search, searched)}"
        known = [*_leaves(canonical(self.training))]
        for key, values in experiment.search.grid.items() if experiment.search else ():
            if key in _FIXED:
                yield f"search.grid.{key}: decides what the job asks for; make each value an experiment of its own"
            elif key not in known:
                yield f"search.grid.{key}: not a single value of training; {_choice(key, known)}"
            else:
                faults = (fault for value in values for fault in _faults(experiment, key, value))
                yield from (f"search.grid.{key}: {fault}" for fault in faults)

    def members(self) -> dict[str, list[str]]:
        """Name the trainings of each experiment as it is written: itself, or one for each of its seeds."""
        found: dict[str, list[str]] = {}
        for name, each in self.experiments.items():
            found.setdefault(name.removesuffix(_seeded("", each.seed)) if each.seeds else name, []).append(name)
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

    def cache_windows(self, cache: str) -> list[dict[str, Any]]:
        """Name, level and width (HU) of each channel of a cache."""
        return [{"name": name, **canonical(self.windows[name])} for name in self.caches[cache].windows]

    def used_caches(self) -> list[str]:
        """Names of the caches that experiments use, in alphabetical order."""
        return sorted({experiment.cache for experiment in self.experiments.values()})


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
            reversed([*_explain(error)])
        )  # a value of two possible types has a problem with each: one is enough
        lines = [f"  {line}" for line in reversed(first.values())]
        raise InputError("\n".join(["The configuration cannot be used:", *lines])) from None
    trainings: dict[str, Experiment] = {}
    for name, each in config.experiments.items():
        seeds = {_seeded(name, seed): seed for seed in each.seeds or []} or {name: each.seed}
        trainings |= {training: each.model_copy(update={"seed": seed}) for training, seed in seeds.items()}
    return config.model_copy(update={"experiments": trainings})


def canonical(section: Section) -> dict[str, Any]:
    """Give the values of a section as plain types with sorted keys.

    Snakemake compares the text of parameters: the order of keys in a file, or `1` for `1.0`, must not look like a
    change.
    """
    return json.loads(json.dumps(section.model_dump(), sort_keys=True))


def _explain(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Give a key and a message for each problem."""
    inherited = {problem["loc"][1:] for problem in error.errors() if problem["loc"][:1] == ("training",)}
    for problem in error.errors():
        loc = problem["loc"]
        if loc[:1] == ("experiments",) and loc[2:] and loc[2:] in inherited:
            continue  # said once, of `training`
        known = loc
        while _schema_at(known) is None:  # the ends of some places are pydantic's own, such as `constrained-float`
            known = known[:-1]
        key, found, text = (
            ".".join(map(str, known)),
            problem["input"],
            problem["msg"].removeprefix("Value error, "),
        )
        match problem["type"]:
            case "value_error" if not loc:  # of the whole file: each line names its key
                yield from ((line.split(":")[0], line) for line in text.splitlines())
            case "value_error":
                yield key, f"{key}: {text}"
            case "extra_forbidden":
                place = ".".join(map(str, loc))
                yield place, f"{place}: unknown key; {_choice(loc[-1], _keys(loc[:-1]))}"
            case "missing":
                yield key, f"{key}: missing; write: {_description(known)}"
            case "string_pattern_mismatch":
                yield (
                    f"{key}.{found}",
                    f"{key}: {found!r} becomes a file name; write letters, digits, - and _ only",
                )
            case _ if isinstance(found, str) and "number" in text and _is_number(found):
                yield key, f"{key}: {found!r} is text to YAML; write {_yaml_number(found)}"
            case _:
                yield key, f"{key}: {found!r} does not fit ({_lower(text)}); write: {_description(known)}"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _keys(loc: tuple[int | str, ...]) -> list[str]:
    return list(_resolved(_schema_at(loc) or {}).get("properties", {}))


def _choice(word: Any, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word), known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _yaml_number(text: str) -> str:
    """Write a number as YAML reads it: with a decimal point before the exponent, and the exponent's sign."""
    mantissa, _, exponent = text.lower().partition("e")
    return f"{float(mantissa)}e{int(exponent):+d}" if exponent else repr(float(text))


@cache
def _schema() -> dict[str, Any]:
    schema = Config.model_json_schema()
    schema["$defs"]["Experiment"]["required"] = ["model"]  # it takes the other keys from `training`
    return schema


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    """Follow a node of the schema to the section that it refers to, if any."""
    refers = next((each for each in [node, *node.get("anyOf", [])] if "$ref" in each), None)
    return _schema()["$defs"][refers["$ref"].rpartition("/")[2]] if refers else node


def _entry(node: dict[str, Any]) -> dict[str, Any] | None:
    """Give the schema of the entries of a table by name; None for what is no such table."""
    entries = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
    return entries[0] or None


def _schema_at(loc: tuple[int | str, ...]) -> dict[str, Any] | None:
    """Give the schema of the value at a place in the file, None where the file has no such place."""
    node = _schema()
    for part in loc:
        node = _resolved(node)
        if isinstance(part, int):
            inside = next((each["items"] for each in [node, *node.get("anyOf", [])] if "items" in each), None)
        else:
            inside = node.get("properties", {}).get(part) or _entry(node)
        if inside is None:
            return None
        node = inside
    return node


def _description(loc: tuple[int | str, ...]) -> str:
    node = _schema_at(loc) or {}
    text = node.get("description") or _resolved(node).get("description") or _description(loc[:-1])
    return text.split("\n")[0]


def reference() -> str:
    """Write the reference page of the configuration in Markdown."""
    lines = [
        "# Configuration reference",
        "",
        "Generated from `ich/config.py` by `python -m ich.config`. The paper's values stand in `config.yaml`; lay a",
        "file of your own over it with `--configfile mine.yaml`. An entry of `windows`, `caches` or `experiments` that",
        "is set to `null` is left out. `<name>` is a name that you choose.",
    ]
    return "\n".join([*lines, *_reference_of(_schema(), "")]) + "\n"


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
    inherited = _schema()["$defs"]["Training"]["properties"] if section["title"] == "Experiment" else {}
    for key, node in section["properties"].items():
        entry = _entry(node)
        inner = _resolved(entry or node)
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
    return json.dumps(_schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    docs = Path(__file__).parents[1] / "docs"
    (docs / "configuration.md").write_text(reference(), encoding="utf-8")
    (docs / "config.schema.json").write_text(json_schema(), encoding="utf-8")

"""The configuration: the files that ship, and what a wrong one is answered with."""

import copy
from pathlib import Path

import pytest
import yaml

from ich import config
from ich.errors import InputError
from ich.settings import merged

ROOT = Path(__file__).parents[2]


@pytest.fixture
def raw():
    return yaml.safe_load((ROOT / "config.yaml").read_text())


def problems(raw):
    with pytest.raises(InputError) as caught:
        config.parse(raw)
    return str(caught.value).splitlines()[1:]


def test_the_shipped_file_is_the_papers_experiment(raw):
    parsed = config.parse(raw)
    assert parsed.cache_windows("paper") == [
        {"name": "bone", "level": 600, "width": 2800},
        {"name": "subdural", "level": 80, "width": 200},
        {"name": "soft_tissue", "level": 40, "width": 380},
    ]
    assert [window["name"] for window in parsed.cache_windows("code")] == ["brain", "subdural", "soft_tissue"]
    assert {name: (each.epochs, each.batch_size) for name, each in parsed.experiments.items()} == {
        "resnet18": (20, 32),
        "densenet121": (10, 32),
    }
    for experiment in parsed.experiments.values():
        assert experiment.weights == "imagenet"
        assert (experiment.optimizer.name, experiment.optimizer.learning_rate) == ("adam", 1e-4)
        assert (experiment.schedule.name, experiment.schedule.gamma) == ("exponential", 0.5)
        assert config.canonical(experiment.augmentation) == {
            "horizontal_flip": 0.5,
            "vertical_flip": 0.5,
            "rotation": 10,
        }
    assert config.canonical(parsed.split) == {"fractions": {"train": 0.65, "validation": 0.15, "test": 0.2}, "seed": 8}
    assert parsed.data.labels_path == "data/rsna/stage_2_train.csv"
    assert parsed.data.dicom_paths == ["data/rsna/stage_2_train"]


@pytest.mark.parametrize("overlay", sorted(path.name for path in (ROOT / "config").glob("*.yaml")))
def test_each_overlay_fits_over_it(raw, overlay):
    parsed = config.parse(merged(raw, yaml.safe_load((ROOT / "config" / overlay).read_text())))
    assert parsed.results != "results"


def test_every_fault_is_named_at_once_with_what_to_write(raw):
    raw["training"]["optimizer"]["learning_rate"] = "1e-4"
    raw["training"]["epoch"] = 3
    raw["experiments"]["a b"] = {"model": "resnet17"}
    raw["split"]["fractions"]["train"] = 0.7
    raw["windows"]["bone"]["width"] = -3
    raw["evaluation"]["threshold"] = "best"
    raw["data"]["dicom"] = [3]
    raw["data"]["synthetic"] = {"patients": 3, "slices": [1, "a"], "size": 512, "prevalence": 0.4, "seed": 1}
    del raw["shards"]
    lines = problems(raw)
    keys = [line.strip().split(":")[0] for line in lines]
    assert sorted(keys) == sorted(
        [
            "training.optimizer.learning_rate",
            "training.epoch",
            "experiments.a b",
            "experiments.a b.model",
            "split.fractions",
            "windows.bone.width",
            "evaluation.threshold",
            "data.dicom",
            "data.synthetic.patients",
            "data.synthetic.slices.0",
            "data.synthetic.slices.1",
            "shards",
        ]
    )
    text = "\n".join(lines)
    assert "'1e-4' is text to YAML; write 1.0e-4" in text
    assert "did you mean 'epochs'?" in text
    assert "the shares add up to 1.05" in text


def test_names_that_do_not_exist_are_answered_with_the_nearest(raw):
    raw["experiments"]["mine"] = {"model": "resnet18", "cache": "papr"}
    raw["caches"]["code"]["windows"] = ["brian", "bone"]
    lines = [line.strip() for line in problems(raw)]
    assert lines == [
        "caches.code.windows: there is no window 'brian'; did you mean 'brain'?",
        "experiments.mine.cache: there is no cache 'papr'; did you mean 'paper'?",
    ]


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "5e4", "1e+4"])
def test_the_advice_for_a_number_is_read_as_that_number(raw, text):
    assert isinstance(yaml.safe_load(text), str)
    raw["training"]["optimizer"]["learning_rate"] = text
    [line] = problems(raw)
    assert yaml.safe_load(line.rpartition("write ")[2]) == float(text)


@pytest.mark.parametrize("value", [3, None, [], "text"])
@pytest.mark.parametrize("key", ["data", "training", "experiments", "caches", "windows"])
def test_a_section_of_the_wrong_kind_is_named(raw, key, value):
    raw[key] = value
    assert any(line.strip().startswith(key) for line in problems(raw))


def test_an_empty_file_is_answered_too():
    assert any("data: missing" in line for line in problems({}))


def test_an_experiment_takes_what_it_does_not_say_itself(raw):
    raw["experiments"]["mine"] = {"model": "resnet34", "optimizer": {"learning_rate": 0.5}}
    mine = config.parse(raw).experiments["mine"]
    assert mine.optimizer.learning_rate == 0.5
    assert mine.optimizer.name == "adam"
    assert mine.epochs == raw["training"]["epochs"]


def test_null_leaves_an_entry_out(raw):
    raw["experiments"]["densenet121"] = None
    raw["caches"]["code"] = None
    parsed = config.parse(raw)
    assert list(parsed.experiments) == ["resnet18"]
    assert list(parsed.caches) == ["paper"]


def test_canonical_values_depend_on_neither_order_nor_number_type(raw):
    other = copy.deepcopy(raw)
    other["training"] = dict(reversed(other["training"].items()))
    other["training"]["augmentation"]["rotation"] = 10.0
    one, two = (repr(config.canonical(config.parse(each).experiments["resnet18"])) for each in (raw, other))
    assert one == two


def test_synthetic_data_is_written_under_kaggles_names(raw):
    raw["data"]["synthetic"] = {"patients": 10, "slices": [3, 5], "size": 64, "prevalence": 0.4, "seed": 1}
    raw["data"]["dicom"] = ["a", "b"]
    assert "data.synthetic" in problems(raw)[0]


@pytest.mark.parametrize(
    ("name", "text"), [("configuration.md", config.reference), ("config.schema.json", config.json_schema)]
)
def test_generated_pages_are_up_to_date(name, text):
    assert (ROOT / "docs" / name).read_text() == text(), "run `make docs`"


def test_every_key_of_the_schema_is_explained():
    for line in config.reference().splitlines():
        assert not line.endswith("|  |"), line


def test_the_schema_accepts_the_shipped_files(raw):
    jsonschema = pytest.importorskip("jsonschema")  # snakemake brings it
    import json

    jsonschema.validate(raw, json.loads(config.json_schema()))

"""The configuration: the files that ship, and what a wrong one is answered with."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from ich.base.errors import InputError
from ich.base.settings import merged
from ich.config import parsing, reference, section

ROOT = Path(__file__).parents[3]


@pytest.fixture
def raw():
    return yaml.safe_load((ROOT / "config.yaml").read_text())


def problems(raw):
    with pytest.raises(InputError) as caught:
        parsing.parse(raw)
    return str(caught.value).splitlines()[1:]


def test_the_shipped_file_is_the_papers_experiment(raw):
    parsed = parsing.parse(raw)
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
        assert section.canonical(experiment.augmentation) == {
            "horizontal_flip": 0.5,
            "vertical_flip": 0.5,
            "rotation": 10,
        }
    assert section.canonical(parsed.split) == {"fractions": {"train": 0.65, "validation": 0.15, "test": 0.2}, "seed": 8}
    assert parsed.data.labels_path == "data/rsna/stage_2_train.csv"
    assert parsed.data.dicom_paths == ["data/rsna/stage_2_train"]


@pytest.mark.parametrize("overlay", sorted(path.name for path in (ROOT / "config").glob("*.yaml")))
def test_each_overlay_fits_over_it(raw, overlay):
    parsed = parsing.parse(merged(raw, yaml.safe_load((ROOT / "config" / overlay).read_text())))
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
    mine = parsing.parse(raw).experiments["mine"]
    assert mine.optimizer.learning_rate == 0.5
    assert mine.optimizer.name == "adam"
    assert mine.epochs == raw["training"]["epochs"]


def test_null_leaves_an_entry_out(raw):
    raw["experiments"]["densenet121"] = None
    raw["caches"]["code"] = None
    parsed = parsing.parse(raw)
    assert list(parsed.experiments) == ["resnet18"]
    assert list(parsed.caches) == ["paper"]


def test_canonical_values_depend_on_neither_order_nor_number_type(raw):
    other = copy.deepcopy(raw)
    other["training"] = dict(reversed(other["training"].items()))
    other["training"]["augmentation"]["rotation"] = 10.0
    one, two = (repr(section.canonical(parsing.parse(each).experiments["resnet18"])) for each in (raw, other))
    assert one == two


def test_synthetic_data_is_written_under_kaggles_names(raw):
    raw["data"]["synthetic"] = {"patients": 10, "slices": [3, 5], "size": 64, "prevalence": 0.4, "seed": 1}
    raw["data"]["dicom"] = ["a", "b"]
    assert "data.synthetic" in problems(raw)[0]


@pytest.mark.parametrize(
    ("name", "text"), [("configuration.md", reference.reference), ("config.schema.json", reference.json_schema)]
)
def test_generated_pages_are_up_to_date(name, text):
    assert (ROOT / "docs" / name).read_text() == text(), "run `make docs`"


def test_every_key_of_the_schema_is_explained():
    for line in reference.reference().splitlines():
        assert not line.endswith("|  |"), line


def test_the_schema_accepts_the_shipped_files(raw):
    jsonschema = pytest.importorskip("jsonschema")  # snakemake brings it
    import json

    jsonschema.validate(raw, json.loads(reference.json_schema()))


# ---- seeds and search

SEARCH = {
    "grid": {"optimizer.learning_rate": [1.0e-3, 0.0001], "batch_size": [16, 32]},
    "epochs": 2,
    "train": 0.1,
    "validation": 50,
    "seed": 4,
}


@pytest.fixture
def searched(raw):
    raw["experiments"]["resnet18"] |= {"search": copy.deepcopy(SEARCH), "from_search": True}
    return raw


def test_each_seed_is_a_training_of_its_own(raw):
    raw["experiments"]["resnet18"]["seeds"] = [0, 7]
    parsed = parsing.parse(raw)
    assert {name: each.seed for name, each in parsed.experiments.items()} == {
        "resnet18_seed0": 0,
        "resnet18_seed7": 7,
        "densenet121": 1,
    }
    assert parsed.members() == {
        "resnet18": ["resnet18_seed0", "resnet18_seed7"],
        "densenet121": ["densenet121"],
    }
    first, second = (parsed.training_settings(f"resnet18_seed{seed}") for seed in (0, 7))
    assert first == second | {"seed": 0}


def test_a_training_is_told_the_same_whether_seeds_are_written_or_not(raw):
    plain = parsing.parse(raw).training_settings("densenet121")
    raw["experiments"]["densenet121"]["seeds"] = [1, 2, 3]
    assert parsing.parse(raw).training_settings("densenet121_seed1") == plain
    assert not {"seeds", "search", "from_search", "cache", "weights"} & plain.keys()


def test_points_are_named_by_their_values(searched):
    points = parsing.parse(searched).searches()["resnet18"].points()
    assert points == {
        f"batch_size={size}_optimizer.learning_rate={text}": {"batch_size": size, "optimizer.learning_rate": rate}
        for size in (16, 32)
        for text, rate in (("0.001", 1e-3), ("0.0001", 1e-4))
    }
    grid = searched["experiments"]["resnet18"]["search"]["grid"]
    grid["batch_size"].insert(0, 8)
    assert parsing.parse(searched).searches()["resnet18"].points().items() > points.items()
    searched["experiments"]["resnet18"]["search"]["grid"] = dict(reversed(grid.items()))
    grid["batch_size"].remove(8)
    again = parsing.parse(searched).searches()["resnet18"].points()
    assert list(again.items()) == list(points.items())


def test_a_name_does_not_depend_on_how_a_number_is_written(searched):
    for value in (10, 10.0):
        searched["experiments"]["resnet18"]["search"]["grid"] = {"augmentation.rotation": [value]}
        assert list(parsing.parse(searched).searches()["resnet18"].points()) == ["augmentation.rotation=10.0"]


def test_a_point_has_the_experiments_settings_but_its_own_values_epochs_and_seed(searched):
    searched["experiments"]["resnet18"] |= {"epochs": 9, "seeds": [2, 3]}
    parsed = parsing.parse(searched)
    settings = parsed.searches()["resnet18"].point_settings("batch_size=16_optimizer.learning_rate=0.001")
    expected = parsed.training_settings("densenet121") | {"model": "resnet18", "epochs": 2, "seed": 4, "batch_size": 16}
    expected["optimizer"] = expected["optimizer"] | {"learning_rate": 1e-3}
    expected.pop("gpus", None)  # a point has one
    assert settings == expected


def test_what_a_search_chooses_is_not_known_before(searched):
    parsed = parsing.parse(searched)
    assert parsed.search_of("resnet18") == "resnet18"
    assert parsed.search_of("densenet121") is None
    settings = parsed.training_settings("resnet18")
    assert settings["batch_size"] == settings["optimizer"]["learning_rate"] == "chosen by the search of resnet18"
    assert settings["optimizer"]["name"] == "adam"


def test_an_experiment_takes_the_values_of_anothers_search(searched):
    searched["experiments"]["resnet18"] |= {"seeds": [2, 3], "from_search": False}
    searched["experiments"]["densenet121"]["from_search"] = "resnet18"
    parsed = parsing.parse(searched)
    assert parsed.search_of("densenet121") == "resnet18"
    assert parsed.search_of("resnet18_seed2") is None
    assert list(parsed.searches()) == ["resnet18"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"search": None}, "from_search: this experiment has no search; write one, or the name"),
        ({"from_search": "vgg16"}, "from_search: no search in 'vgg16'; known here: resnet18"),
        ({"from_search": 3}, "from_search: 3 does not fit"),
        ({"seeds": [1, 1]}, "a seed stands twice in seeds"),
        ({"seeds": []}, "seeds: [] does not fit"),
        ({"seeds": [3]}, "seeds: the training with seed 3 would be called as experiments.resnet18_seed3 is"),
        ({"search": SEARCH | {"train": 1.5}}, "search.train: 1.5 does not fit"),
        ({"search": SEARCH | {"train": 0}}, "search.train: 0 does not fit"),
        ({"search": SEARCH | {"epoch": 1}}, "search.epoch: unknown key; did you mean 'epochs'?"),
        ({"search": SEARCH | {"grid": {}}}, "search.grid: {} does not fit"),
        ({"search": SEARCH | {"grid": {"batch_size": []}}}, "search.grid.batch_size: [] does not fit"),
        (
            {"search": SEARCH | {"grid": {"optimizer.learning_rat": [1.0]}}},
            "learning_rat: not a single value of training; did you mean 'optimizer.learning_rate'?",
        ),
        ({"search": SEARCH | {"grid": {"optimizer": ["adam"]}}}, "search.grid.optimizer: not a single value"),
        ({"search": SEARCH | {"grid": {"model": ["resnet18"]}}}, "search.grid.model: not a single value"),
        ({"search": SEARCH | {"grid": {"cache": ["code"]}}}, "search.grid.cache: decides what the job asks for"),
        (
            {"search": SEARCH | {"grid": {"optimizer.learning_rate": [0.1, "1e-4"]}}},
            "search.grid.optimizer.learning_rate: '1e-4' is text to YAML; write 1.0e-4",
        ),
        ({"search": SEARCH | {"grid": {"batch_size": [1]}}}, "search.grid.batch_size: 1 does not fit (input should be"),
        ({"search": SEARCH | {"grid": {"schedule.name": ["step"]}}}, "search.grid.schedule.name: 'step' does not fit"),
    ],
)
def test_faults_of_seeds_and_searches_are_named(searched, change, line):
    searched["experiments"]["resnet18"] |= change
    searched["experiments"]["resnet18_seed3"] = {"model": "resnet34"}
    [found] = problems(searched)
    assert found.strip().startswith("experiments.resnet18")
    assert line in found


def test_the_example_in_the_shipped_file_is_valid():
    text = (ROOT / "config.yaml").read_text()
    example = yaml.safe_load(re.sub(r"^    # (?=seeds:|from_search:|search:|  )", "    ", text, flags=re.MULTILINE))
    parsed = parsing.parse(example)
    assert parsed.members()["resnet18"] == [f"resnet18_seed{seed}" for seed in (0, 1, 2)]
    assert parsed.search_of("resnet18_seed0") == "resnet18"
    assert len(parsed.searches()["resnet18"].points()) == 12

"""Search and seeds: what is trained, with which values, and what reruns when they change."""

import json
import shutil

import pandas as pd
import pytest

from ich.base.settings import merged
from tests.workflow import shown
from tests.workflow.conftest import Project, needs_chromium
from tests.workflow.test_reruns import AFTER_ALL, after_training, of, training_of

SEEDS = ("resnet18_seed0", "resnet18_seed1")
OWN = {"epochs": 1, "batch_size": 6, "optimizer": {"learning_rate": 0.5}}
SEARCH = {
    "grid": {"optimizer.learning_rate": [1.0e-4], "batch_size": [4, 8]},
    "epochs": 2,
    "train": 3,
    "validation": 1.0,
    "seed": 3,
}
CHANGES = {
    "experiments": {"densenet121": None, "resnet18": OWN | {"seeds": [0, 1], "from_search": True, "search": SEARCH}}
}
AFTER_CHOICE = {"search_choose:resnet18"} | training_of(*SEEDS)


def over(**changes):
    return {"experiments": {"resnet18": changes}}


def point(size, rate="0.0001"):
    return f"batch_size={size}_optimizer.learning_rate={rate}"


@pytest.fixture(scope="module")
def searched(finished, tmp_path_factory):
    """A copy of the finished project in which a search has run, and two trainings with what it chose."""
    project = Project(tmp_path_factory.mktemp("searched") / "project", merged(finished.config, CHANGES))
    for name in (".snakemake", "data", "results"):
        shutil.copytree(finished.folder / name, project.folder / name)
    project.run()
    return project


def test_the_search_chooses_on_patients_of_train_and_validation_alone(searched):
    folder = searched.folder / "results/search/resnet18"
    points = pd.read_csv(folder / "points.csv")
    assert list(points["point"]) == [point(4), point(8)]
    assert (points["epochs"] == 2).all()
    best = points.sort_values(["validation_roc_auc", "validation_loss"], ascending=[False, True]).iloc[0]
    assert list(points.loc[points["chosen"], "point"]) == [best["point"]]
    chosen = json.loads((folder / "chosen.json").read_text())
    assert chosen == {"batch_size": best["batch_size"], "optimizer": {"learning_rate": 1e-4}}
    cohort = pd.read_parquet(searched.folder / "results/data/cohort.parquet")
    validation = cohort[cohort["part"] == "validation"]
    for name in points["point"]:
        log = (searched.folder / f"results/logs/search_point/resnet18/{name}.log").read_text()
        assert f"'validation': {len(validation)}}}" in log  # slices
        assert f"{{'train': 3, 'validation': {validation['patient_id'].nunique()}}}" in log  # patients


def test_each_seed_is_trained_with_the_chosen_values(searched):
    chosen = json.loads((searched.folder / "results/search/resnet18/chosen.json").read_text())
    weights = set()
    for seed, name in enumerate(SEEDS):
        folder = searched.folder / "results/models" / name
        used = json.loads((folder / "model.json").read_text())["configuration"]
        assert (used["batch_size"], used["optimizer"]["learning_rate"]) == (chosen["batch_size"], 1e-4)
        assert (used["epochs"], used["optimizer"]["name"], used["seed"]) == (1, "adam", seed)
        weights.add((folder / "weights.safetensors").read_bytes())
    assert len(weights) == 2


def test_the_comparison_has_mean_and_spread_of_the_seeds(searched):
    results = searched.folder / "results"
    table = pd.read_csv(results / "comparison/table.csv").set_index(["quantity", "column"])
    row = table.loc[("Average log loss (mean of classes)", "resnet18")]
    each = [pd.read_csv(results / f"evaluation/{name}/metrics.csv") for name in SEEDS]
    mean = "part == 'test' and unit == 'slice' and metric == 'log_loss' and `class` == 'mean'"
    of_seed = [frame.query(mean) for frame in each]
    values = pd.concat(of_seed)["value"]
    assert row["seeds"] == 2
    assert row["value"] == pytest.approx(values.mean(), rel=1e-12)
    assert row["sd"] == pytest.approx(values.std(), rel=1e-9)
    page = (results / "report/index.html").read_text()
    for text in ("Points of resnet18", "resnet18, mean of 2 seeds", "search_point"):
        assert text in page


@needs_chromium
def test_every_number_of_the_page_is_that_of_its_file(searched, browser):
    page = browser.new_page()
    page.goto((searched.folder / "results/report/index.html").as_uri())
    shown.check(page, searched)


def test_resources_count_the_jobs_of_this_configuration(searched):
    table = pd.read_csv(searched.folder / "results/report/resources.csv").set_index("rule")
    expected = {
        "train": 2,
        "search_point": 2,
        "search_choose": 1,
        "predict": 4,
        "evaluate": 2,
        "compare": 1,
        "cache": 2,
    }
    assert {rule: table.loc[rule, "jobs"] for rule in expected} == expected
    assert (table["hours"] > 0).all()
    assert table.loc["train", "peak_memory_mb"] > 100


def test_missing_measurements_rerun_nothing(searched):
    shutil.move(searched.folder / "results/benchmarks", searched.folder / "kept")
    assert searched.plan() == set()
    shutil.move(searched.folder / "kept", searched.folder / "results/benchmarks")


@pytest.mark.parametrize(
    "change",
    [{"epochs": 2}, {"batch_size": 7}, {"optimizer": {"learning_rate": 0.25}}],
    ids=["epochs", "batch size", "learning rate"],
)
def test_own_values_of_the_experiment_rerun_no_search(searched, change):
    # the search chose the others: they are shown on the page, with the whole configuration
    expected = training_of(*SEEDS) if "epochs" in change else {"report"}
    assert searched.plan(over=over(**change)) == expected


def test_a_new_value_reruns_its_points_and_what_follows(searched):
    more = {"grid": {"batch_size": [4, 6, 8], "optimizer.learning_rate": [1.0e-4]}}
    assert searched.plan(over=over(search=more)) == of("search_point", f"resnet18,{point(6)}") | AFTER_CHOICE
    fewer = {"grid": {"batch_size": [8]}}
    assert searched.plan(over=over(search=fewer)) == AFTER_CHOICE


@pytest.mark.parametrize("change", [{"epochs": 3}, {"train": 4}, {"seed": 5}], ids=["epochs", "patients", "seed"])
def test_a_change_of_the_search_reruns_its_points(searched, change):
    points = of("search_point", *(f"resnet18,{point(size)}" for size in (4, 8)))
    assert searched.plan(over=over(search=change)) == points | AFTER_CHOICE


def test_an_experiment_that_takes_nothing_from_its_search_does_not_wait_for_it(searched):
    own = over(from_search=False)
    assert searched.plan(over=own) == training_of(*SEEDS)
    more = merged(own, over(search={"grid": {"batch_size": [4, 6, 8]}}))
    new = of("search_point", f"resnet18,{point(6)}") | {"search_choose:resnet18"}
    assert searched.plan("search", over=more) == new | {"search"}


def test_one_more_seed_reruns_itself_and_the_comparison(searched):
    new = "resnet18_seed7"
    # the pairs are of the first training of each experiment
    assert searched.plan(over=over(seeds=[0, 1, 7])) == of("train", new) | after_training(new) - {"pairs"}
    assert searched.plan(over=over(seeds=[1])) == AFTER_ALL


def test_a_search_that_chooses_the_same_again_retrains_nothing(searched):
    """`snakemake search` first, and Snakemake sees that what was chosen has not changed."""
    searched.run("search", "--forcerun", "search_choose")
    assert searched.plan() == set()

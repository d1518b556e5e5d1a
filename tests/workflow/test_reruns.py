"""What reruns when: each line of the table in docs/reruns.md, proved by the jobs of a dry run."""

import os
import shutil
import subprocess
import sys

import pytest

from ich.base.settings import merged

SHARDS = ("0000", "0001")
EXPERIMENTS = ("resnet18", "densenet121")
AFTER_ALL = {"compare", "pairs", "resources", "report"}


def of(rule, *values):
    return {f"{rule}:{value}" for value in values}


def after_training(*experiments):
    """The jobs that follow the training of experiments."""
    parts = [f"{experiment},{part}" for experiment in experiments for part in ("validation", "test")]
    return of("predict", *parts) | after_prediction(*experiments)


def after_prediction(*experiments):
    rules = ("evaluate", "curves", "cases", "card")
    return set().union(*(of(rule, *experiments) for rule in rules)) | AFTER_ALL


def training_of(*experiments):
    return of("train", *experiments) | after_training(*experiments)


EVERYTHING_AFTER_COHORT = {"cohort", "describe", "montage", "quarantine"} | training_of(*EXPERIMENTS)


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": {"learning_rate": 1.0e-2}},
        {"epochs": 2},
        {"seed": 7},
        {"augmentation": {"rotation": 5}},
    ],
    ids=["learning rate", "epochs", "seed", "augmentation"],
)
def test_a_change_of_one_experiment_reruns_that_one(finished, change):
    assert finished.plan(over={"experiments": {"resnet18": change}}) == training_of("resnet18")


def test_a_new_experiment_reruns_itself_the_comparison_and_the_report(finished):
    new = {"experiments": {"mine": {"model": "resnet34"}}}
    assert finished.plan(over=new) == training_of("mine")


@pytest.mark.parametrize(
    "change",
    [{"windows": {"bone": {"level": 500}}}, {"caches": {"paper": {"size": 48}}}],
    ids=["window level", "cache size"],
)
def test_a_change_of_a_cache_reruns_its_shards_and_what_uses_it(finished, change):
    planned = finished.plan(over=change)
    assert planned == of("cache", *(f"paper,{shard}" for shard in SHARDS)) | {"montage", "quarantine"} | training_of(
        *EXPERIMENTS
    )


def test_a_change_of_a_cache_leaves_experiments_with_another_cache_alone(finished):
    split = {"experiments": {"densenet121": {"cache": "code"}}}
    before = finished.plan(over=split)
    after = finished.plan(over=merged(split, {"windows": {"brain": {"width": 100}}}))
    assert (
        before
        == after
        == of("cache", *(f"code,{shard}" for shard in SHARDS)) | {"montage", "quarantine"} | training_of("densenet121")
    )


@pytest.mark.parametrize(
    "change",
    [{"fractions": {"train": 0.5, "validation": 0.25, "test": 0.25}}, {"seed": 9}],
    ids=["fractions", "seed"],
)
def test_a_change_of_the_split_reruns_the_cohort_and_what_follows(finished, change):
    assert finished.plan(over={"split": change}) == EVERYTHING_AFTER_COHORT


def test_a_new_label_file_reruns_the_cohort_and_what_follows(finished, kept):
    with (kept / "data/tiny/stage_2_train.csv").open("a") as file:
        file.write("ID_000000000_any,0\n")
    assert finished.plan() == {"labels"} | EVERYTHING_AFTER_COHORT


@pytest.mark.parametrize(
    "change",
    [{"replicates": 30}, {"threshold": "youden"}, {"scan": "mean"}, {"prevalence": 0.3}],
    ids=["replicates", "decision rule", "scan", "prevalence"],
)
def test_a_change_of_the_evaluation_reruns_it_the_comparison_and_the_report(finished, change):
    assert finished.plan(over={"evaluation": change}) == after_prediction(*EXPERIMENTS)


def edit(folder, name, old, new):
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_caption_a_comment_or_a_docstring_reruns_nothing(finished, kept):
    caption = next((kept / "workflow/report").glob("*.rst"))
    caption.write_text(caption.read_text() + "\nOne more sentence.\n")
    for path in [*(kept / "ich").rglob("*.py"), *(kept / "workflow/scripts").glob("*.py")]:
        path.write_text(path.read_text() + "\n# A comment.\n")
    edit(kept, "ich/cohort/labels.py", '"""', '"""Words. ')
    assert finished.plan() == set()


@pytest.mark.parametrize(
    ("module", "first"),
    [
        ("cohort/labels", {"labels"}),
        ("cohort/slices", {"slices"}),
        ("training/loop", of("train", *EXPERIMENTS)),
        ("prediction/predict", of("predict", "resnet18,test")),
        ("evaluation/statistics", of("evaluate", *EXPERIMENTS)),
        ("evaluation/pairs", {"pairs", "compare"}),
        ("evaluation/comparison", {"compare"}),
        ("report/page", {"report"}),
    ],
)
def test_an_edit_of_a_module_reruns_the_rules_that_import_it(finished, kept, module, first):
    with (kept / f"ich/{module}.py").open("a") as file:
        file.write("\nADDED = 1\n")
    planned = finished.plan()
    assert first <= planned
    upstream = {
        "cohort/labels": {"slices", *of("headers", *SHARDS), *of("cache", *(f"paper,{shard}" for shard in SHARDS))},
        "cohort/slices": {"inventory", *of("headers", *SHARDS)},
        "training/loop": {"cohort", "montage", *of("cache", *(f"paper,{shard}" for shard in SHARDS))},
        "prediction/predict": of("train", *EXPERIMENTS),
        "evaluation/statistics": of("predict", "resnet18,test"),
        "evaluation/pairs": of("evaluate", *EXPERIMENTS),
        "evaluation/comparison": of("evaluate", *EXPERIMENTS),
        "report/page": {"compare"},
    }[module]
    assert not upstream & planned
    assert "report" in planned


def test_touching_code_or_a_checkout_over_results_reruns_nothing(finished, kept, tmp_path):
    for path in kept.rglob("*"):
        if path.is_file() and path.relative_to(kept).parts[0] not in ("results", "data", ".snakemake"):
            path.touch()
    assert finished.plan() == set()

    clone = tmp_path / "clone"
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=kept, check=True)
    subprocess.run(["git", "clone", "-q", str(kept), str(clone)], check=True)
    shutil.rmtree(kept / ".git")
    for name in ("results", "data", "overlay.yaml"):
        (clone / name).unlink(missing_ok=True)
        (clone / name).symlink_to(kept / name)
    text = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", "overlay.yaml", "--dry-run"],
        cwd=clone, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "Nothing to be done" in text


def test_a_change_of_the_dicom_source_reruns_everything_after_it(finished, kept):
    own = {"data": {"synthetic": None}}  # a folder that the pipeline did not make is judged by its own time
    folder = kept / "data/tiny/stage_2_train"
    (folder / ".snakemake_timestamp").unlink()
    os.utime(folder, ns=(0, 0))
    assert not finished.plan(over=own) & {"inventory", "cohort", *of("train", *EXPERIMENTS)}
    added = folder / "ID_000000000.dcm"
    added.write_bytes(b"not DICOM")
    planned = finished.plan(over=own)
    added.unlink()
    assert planned >= {"inventory", "slices", *of("headers", *SHARDS)} | EVERYTHING_AFTER_COHORT
    assert "labels" not in planned


@pytest.fixture
def kept(finished, tmp_path):
    """The project's folder. After the test its code, labels and the times of its data are as they were."""
    folder = finished.folder
    small = [path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).parts[0] in CODE]
    small += [*folder.glob("data/tiny/*.csv"), *folder.glob("data/tiny/*/.snakemake_timestamp")]
    contents = {path: path.read_bytes() for path in small}
    data = folder / "data"
    times = {path: path.stat() for path in [data, *data.rglob("*")]}
    yield folder
    for path, content in contents.items():
        path.write_bytes(content)
    for path, stat in times.items():
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


CODE = ("ich", "workflow", "Snakefile", "config.yaml", "envs", "profiles")

"""The workflow on a real Slurm: it comes back with the results of a local run, whatever is killed on the way."""

import re

import pandas as pd
import pytest

from ich.base.files import read_json
from tests.cluster.conftest import EPOCHS

PARTS = ("validation", "test")


def table(project):
    """The comparison without the rows that a clock decides."""
    rows = pd.read_csv(project.folder / "results/comparison/table.csv")
    return rows[rows["quantity"] != "Training time"]


def ended_in(log):
    return int(re.search(r"told to stop. The state after batch \d+ of epoch (\d+) is saved", log)[1])


def went_on_in(log):
    """The epoch that a training job began with: it did not begin with the first."""
    first, *_ = re.findall(r"epoch (\d+) of \d+: ", log)
    assert f"going on in epoch {first}," in log
    return int(first)


def test_the_run_on_the_cluster_ends_with_the_table_of_a_local_one(story):
    pd.testing.assert_frame_equal(table(story.cluster), table(story.local))


@pytest.mark.parametrize("experiment", EPOCHS)
def test_disturbed_trainings_end_with_the_same_bytes(story, experiment):
    for name in ("weights.safetensors", "history.csv"):
        path = f"results/models/{experiment}/{name}"
        assert (story.cluster.folder / path).read_bytes() == (story.local.folder / path).read_bytes()
    assert not story.cluster.state(experiment).exists()


def test_jobs_that_train_or_predict_hold_a_gpu_and_others_none(story, slurm):
    predicting = [f"rule_predict_wildcards_{experiment}_{part}" for experiment in EPOCHS for part in PARTS]
    with_gpu = [job for name in predicting for job in slurm.jobs(name)]
    with_gpu += [job for experiment in EPOCHS for job in story.cluster.training_jobs(experiment)]
    assert len(with_gpu) == 4 + 2 + 4
    for number in with_gpu:
        said = slurm.job(number)
        assert said["TresPerJob"] == "gres:gpu:1"
        assert said["Partition"] == "gpu"
    for number in slurm.jobs("rule_cache_wildcards_paper_0000") + slurm.jobs("rule_inventory"):
        said = slurm.job(number)
        assert not any("gpu" in value for key, value in said.items() if key.startswith("Tres"))
        assert said["Partition"] == "cpu"


def test_after_snakemake_was_killed_its_job_trains_to_the_end_and_that_of_a_restart_only_writes(story, slurm):
    first, second = story.cluster.training_jobs(story.queued)
    assert {slurm.job(number)["JobState"] for number in (first, second)} == {"COMPLETED"}
    assert f"Slurm job {second} waits for this training" in story.cluster.job_log(story.queued, first)
    log = story.cluster.job_log(story.queued, second)
    assert f"going on in epoch {EPOCHS[story.queued] + 1}," in log
    assert not re.search(r"epoch \d+ of \d+: ", log)
    assert read_json(story.cluster.folder / f"results/models/{story.queued}/model.json")["resumed"] == 1


def test_a_training_over_its_time_limit_goes_on_in_the_job_that_waits(story, slurm):
    first, second, _, _ = story.cluster.training_jobs(story.waiting)
    assert slurm.job(first)["JobState"] == "TIMEOUT"
    log = story.cluster.job_log(story.waiting, second)
    assert f"(Slurm job {first}), which has this training in hand" in log
    assert went_on_in(log) == ended_in(story.cluster.job_log(story.waiting, first)) > 1


def test_a_cancelled_training_goes_on_in_a_retry(story, slurm):
    _, second, third, _ = story.cluster.training_jobs(story.waiting)
    assert slurm.job(second)["JobState"] == "CANCELLED"
    ended = ended_in(story.cluster.job_log(story.waiting, second))
    assert went_on_in(story.cluster.job_log(story.waiting, third)) == ended > 2


def test_a_training_that_slurm_warns_ends_before_its_time_limit_and_goes_on_in_a_retry(story, slurm):
    _, _, third, fourth = story.cluster.training_jobs(story.waiting)
    assert slurm.job(third)["JobState"] == "FAILED"
    ended = ended_in(story.cluster.job_log(story.waiting, third))
    assert went_on_in(story.cluster.job_log(story.waiting, fourth)) == ended > 3
    assert slurm.job(fourth)["JobState"] == "COMPLETED"
    assert read_json(story.cluster.folder / f"results/models/{story.waiting}/model.json")["resumed"] == 3

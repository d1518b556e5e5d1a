"""The workflow on a real Slurm: it comes back with the results of a local run, whatever is killed on the way."""

import re
import signal

import pandas as pd
import pytest

from ich.files import read_json
from tests.cluster.conftest import EPOCHS
from tests.workflow.test_run import without_times

pytestmark = pytest.mark.xdist_group("cluster")


def table(project):
    """The comparison without the rows that a clock decides."""
    rows = pd.read_csv(project.folder / "results/comparison/table.csv")
    return rows[rows["quantity"] != "Training time"]


def assert_same(local, cluster):
    pd.testing.assert_frame_equal(table(cluster), table(local))
    for experiment in EPOCHS:
        for name in ("weights.safetensors", "history.csv"):
            path = f"results/models/{experiment}/{name}"
            assert (cluster.folder / path).read_bytes() == (local.folder / path).read_bytes()


def ended_in(log):
    return int(re.search(r"told to stop. The state after batch \d+ of epoch (\d+) is saved", log)[1])


def assert_went_on(log, epoch):
    assert f"going on in epoch {epoch}," in log
    assert not re.search(r"epoch 1 of \d+: ", log)


def test_a_disturbed_run_on_the_cluster_ends_with_the_table_of_a_local_one(runs):
    local, cluster, _ = runs
    assert_same(local, cluster)


def test_training_jobs_hold_a_gpu_and_others_none(runs, slurm):
    _, _, jobs = runs
    for number in [*jobs["resnet18"], *jobs["densenet121"], *slurm.jobs("rule_predict_wildcards_resnet18_test")]:
        said = slurm.job(number)
        assert said["TresPerJob"] == "gres:gpu:1"
        assert said["Partition"] == "gpu"
    for number in slurm.jobs("rule_cache_wildcards_paper_0000") + slurm.jobs("rule_inventory"):
        said = slurm.job(number)
        assert not any("gpu" in value for key, value in said.items() if key.startswith("Tres"))
        assert said["Partition"] == "cpu"


def test_a_cancelled_training_goes_on_in_another_job(runs, slurm):
    _, cluster, jobs = runs
    first, second, _ = jobs["resnet18"]
    assert slurm.job(first)["JobState"] == "CANCELLED"
    epoch = ended_in(cluster.job_log("resnet18", first))
    assert epoch >= 3
    assert_went_on(cluster.job_log("resnet18", second), epoch)


def test_a_training_over_its_time_limit_goes_on_in_another_job(runs, slurm):
    _, cluster, jobs = runs
    first, second = jobs["densenet121"]
    assert slurm.job(first)["JobState"] == "TIMEOUT"
    epoch = ended_in(cluster.job_log("densenet121", first))
    assert epoch >= 3
    assert_went_on(cluster.job_log("densenet121", second), epoch)
    assert slurm.job(second)["JobState"] == "COMPLETED"


def test_a_training_that_slurm_warns_ends_before_its_time_limit(runs, slurm):
    _, cluster, jobs = runs
    _, second, third = jobs["resnet18"]
    assert slurm.job(second)["JobState"] == "FAILED"
    epoch = ended_in(cluster.job_log("resnet18", second))
    assert epoch >= 7
    assert_went_on(cluster.job_log("resnet18", third), epoch)
    assert read_json(cluster.folder / "results/models/resnet18/model.json")["resumed"] == 2


def test_after_snakemake_was_killed_its_job_and_that_of_a_restart_do_not_train_twice(runs, slurm):
    local, cluster, _ = runs
    state = cluster.folder / "results/resume/resnet18"
    before = slurm.jobs("rule_train_wildcards_resnet18")
    model = cluster.folder / "results/models/resnet18"
    trained = without_times((model / "model.json").read_bytes())
    for name in ("weights.safetensors", "history.csv", "model.json"):
        (model / name).unlink()
    with cluster.running() as run:
        orphan = cluster.stop_after_epoch("resnet18", 2, earlier=len(before))
        run.send_signal(signal.SIGKILL)
        run.wait()
    assert slurm.job(orphan)["JobState"] == "RUNNING"
    with cluster.running("--unlock") as run:
        assert run.wait(60) == 0
    with cluster.running() as run:
        slurm.wait(lambda: list(state.glob("waiting-*")), 120)
        cluster.let_go("resnet18")
        assert run.wait(300) == 0, cluster.said()
    *_, first, second = slurm.jobs("rule_train_wildcards_resnet18")
    assert first == orphan
    assert [slurm.job(number)["JobState"] for number in (first, second)] == ["COMPLETED", "COMPLETED"]
    log = cluster.job_log("resnet18", second)
    assert f"(Slurm job {orphan}), which has this training in hand" in log
    assert f"going on in epoch {EPOCHS['resnet18'] + 1}," in log
    assert "is left to it" in cluster.job_log("resnet18", first)
    assert not re.search(r"epoch \d+ of \d+: ", log)
    assert_same(local, cluster)
    assert trained | {"resumed": 1} == without_times((model / "model.json").read_bytes())
    assert not state.exists()

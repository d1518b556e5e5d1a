"""One run of the whole workflow on a real Slurm, with its training jobs cancelled and out of time on the way."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from ich.config import merged
from tests.cluster.slurm import Slurm, missing
from tests.workflow.conftest import TINY, Project

EPOCHS = {"resnet18": 20, "densenet121": 5}
CONFIG = merged(TINY, {"experiments": {name: {"epochs": epochs} for name, epochs in EPOCHS.items()}})
SITE = [
    *("--set-threads", "phantom=2", "train=2", "predict=2"),  # as many as the local run has: sums are then the same
    *("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2", "--latency-wait", "5"),
    "--slurm-keep-successful-logs",
]


class ClusterProject(Project):
    """A copy of the repository's files, and the runs of the workflow in it that use a Slurm."""

    def __init__(self, folder: Path, slurm: Slurm):
        super().__init__(folder, CONFIG)
        self.slurm = slurm
        profile = folder / "profiles/slurm/config.yaml"  # filled in as docs/cluster.md says
        text = re.sub(r"# (.*)my_([cg]pu)_partition", r"\1\2", profile.read_text())
        profile.write_text(text)
        (folder / "overlay.yaml").write_text(yaml.safe_dump(CONFIG))

    @contextlib.contextmanager
    def running(self, *arguments: str):
        """Run snakemake as a user of the cluster does; what it says goes to snakemake.log."""
        with (self.folder / "snakemake.log").open("a") as log:
            command = [sys.executable, "-m", "snakemake", "--profile", "slurm", *SITE, *arguments]
            run = subprocess.Popen(
                [*command, "--configfile", "overlay.yaml"],
                cwd=self.folder, env=self.slurm.environment, stdout=log, stderr=log,
            )  # fmt: skip
            try:
                yield run
            finally:
                run.kill()
                run.wait()

    def said(self) -> str:
        return (self.folder / "snakemake.log").read_text()

    def job_log(self, experiment: str, number: str) -> str:
        """What a training job has said so far."""
        path = self.folder / f".snakemake/slurm_logs/rule_train/{experiment}/{number}.log"
        return path.read_text() if path.exists() else ""

    def stop_after_epoch(self, experiment: str, epoch: int, earlier: int = 0) -> str:
        """Halt the training of a job that comes after so many earlier ones, once it has finished an epoch or more.

        Returns
        -------
        str
            The number of the job. Its training is the owner of the state and goes on by `let_go`.
        """
        jobs = self.slurm.wait(lambda: self.slurm.jobs(f"rule_train_wildcards_{experiment}")[earlier:], 240)
        self.slurm.wait(lambda: f"epoch {epoch} of" in self.job_log(experiment, jobs[0]), 120)
        os.kill(self.trainer(experiment), signal.SIGSTOP)
        return jobs[0]

    def trainer(self, experiment: str) -> int:
        return json.loads((self.folder / f"results/resume/{experiment}/lease-first").read_text())["pid"]

    def let_go(self, experiment: str) -> None:
        os.kill(self.trainer(experiment), signal.SIGCONT)


@pytest.fixture(scope="session")
def slurm():
    if reason := missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no Slurm here: {reason}")
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, Slurm(Path(folder)) as running:
        yield running


@pytest.fixture(scope="session")
def runs(slurm, tmp_path_factory):
    """The workflow's run on this machine alone and, at the same time, on the cluster, where trainings are disturbed.

    Returns
    -------
    local, cluster : Project
    jobs : dict of str to list of str
        Numbers of the training jobs.
    """
    local = Project(tmp_path_factory.mktemp("local"), CONFIG)
    cluster = ClusterProject(tmp_path_factory.mktemp("cluster"), slurm)
    with ThreadPoolExecutor() as pool, cluster.running() as run:
        done = pool.submit(local.run)
        first = cluster.stop_after_epoch("resnet18", 2)
        slurm.ask("scancel", first)  # Slurm lets a process go on when it tells it to end, here and below

        out_of_time = cluster.stop_after_epoch("densenet121", 2)
        slurm.ask("scontrol", "update", f"jobid={out_of_time}", "EndTime=now")

        warned = cluster.stop_after_epoch("resnet18", 6, earlier=1)
        slurm.ask("scontrol", "update", f"jobid={warned}", "EndTime=now+100seconds")

        assert run.wait(400) == 0, cluster.said()
        done.result()
    return local, cluster, {name: slurm.jobs(f"rule_train_wildcards_{name}") for name in EPOCHS}

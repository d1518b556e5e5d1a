"""One run of the whole workflow on a real Slurm, with all that can happen to it on the way."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from ich.base.settings import merged
from tests.cluster.slurm import Slurm, missing
from tests.workflow.conftest import TINY, Project

EPOCHS = {"resnet18": 12, "densenet121": 5}
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
        profile.write_text(re.sub(r"# (\w+:)$", r"\1", text, flags=re.MULTILINE))
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

    def training_jobs(self, experiment: str) -> list[str]:
        return self.slurm.jobs(f"rule_train_wildcards_{experiment}")

    def halt(self, experiment: str, earlier: int = 0) -> str:
        """Halt the training of a job that comes after so many earlier ones, once it has finished an epoch.

        Returns
        -------
        str
            The number of the job.
        """
        job, *_ = self.slurm.wait(lambda: self.training_jobs(experiment)[earlier:], 300)
        self.slurm.wait(lambda: re.search(r"epoch \d+ of \d+: ", self.job_log(experiment, job)), 120)
        os.kill(self.trainer(experiment), signal.SIGSTOP)
        return job

    def let_go(self, experiment: str) -> None:
        os.kill(self.trainer(experiment), signal.SIGCONT)

    def state(self, experiment: str) -> Path:
        return self.folder / "results/resume" / experiment

    def trainer(self, experiment: str) -> int:
        """The process that has the state: since each that left removed its lease, the first one's."""
        return json.loads((self.state(experiment) / "lease-first").read_text())["pid"]


@pytest.fixture(scope="session")
def slurm():
    if reason := missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no Slurm here: {reason}")
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, Slurm(Path(folder)) as running:
        yield running


@dataclass(frozen=True)
class Story:
    """What happened to the workflow, run on this machine alone and on a cluster.

    Attributes
    ----------
    local, cluster
        The finished projects.
    queued, waiting : str
        The experiment whose second job was in the queue while the first one trained, and that whose second job ran.
    """

    local: Project
    cluster: ClusterProject
    queued: str
    waiting: str


@pytest.fixture(scope="session")
def story(slurm, tmp_path_factory) -> Story:
    """Snakemake is killed and started again while both trainings run; these are then disturbed in every other way."""
    local = Project(tmp_path_factory.mktemp("local"), CONFIG)
    cluster = ClusterProject(tmp_path_factory.mktemp("cluster"), slurm)
    with ThreadPoolExecutor() as pool:
        done = pool.submit(local.run)
        with cluster.running() as run:
            first = {experiment: cluster.halt(experiment) for experiment in EPOCHS}
            run.send_signal(signal.SIGKILL)
            run.wait()
        assert {slurm.job(number)["JobState"] for number in first.values()} == {"RUNNING"}
        with cluster.running("--unlock") as run:
            assert run.wait(60) == 0, cluster.said()
        with cluster.running() as run:
            # With a GPU left for one of them, one second job is in the queue and the other waits for the first.
            second = {name: slurm.wait(lambda name=name: cluster.training_jobs(name)[1:])[0] for name in EPOCHS}
            waiting = slurm.wait(lambda: [name for name in EPOCHS if list(cluster.state(name).glob("waiting-*"))])[0]
            (queued,) = EPOCHS.keys() - {waiting}
            assert slurm.job(second[queued])["JobState"] == "PENDING"
            cluster.let_go(queued)

            # Slurm lets a halted process go on when it tells it to end, here and below.
            slurm.ask("scontrol", "update", f"jobid={first[waiting]}", "EndTime=now")
            slurm.ask("scancel", cluster.halt(waiting, earlier=1))
            warned = cluster.halt(waiting, earlier=2)
            slurm.ask("scontrol", "update", f"jobid={warned}", "EndTime=now+100seconds")
            assert run.wait(400) == 0, cluster.said()
        done.result()
    return Story(local, cluster, queued, waiting)

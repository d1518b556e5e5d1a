"""What is left on the disk when a run is killed, the disk is full or a file is damaged; and that a rerun mends it."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest
import yaml

from ich.base.files import read_parquet, write_csv, write_parquet
from ich.cohort.slices import SLICES_SCHEMA, build_manifest
from ich.dicom.headers import HEADER_SCHEMA, header_rows
from ich.dicom.sources import inventory
from ich.images.cache import build_shard
from tests.workflow.conftest import TINY, Project

SNAKEMAKE = [sys.executable, "-m", "snakemake", "--cores", "2"]
NAMESPACE = ["unshare", "--map-root-user", "--mount"]
INGEST_AND_CACHE = ["data/cohort.parquet", "data/quarantine.csv"]
WEIGHTS = "models/resnet18/weights.safetensors"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project whose ingest, caches and one training ran undisturbed."""
    project = Project(tmp_path_factory.mktemp("project"), TINY)
    project.run(*(f"results/{name}" for name in [*INGEST_AND_CACHE, WEIGHTS]))
    return project


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Give the content of all artifacts."""
    paths = (path for name in ("data", "cache") for path in sorted((folder / name).rglob("*")))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.is_file()}


def assert_whole(folder: Path) -> None:
    """Make sure that each file that bears an artifact's name is all of that artifact."""
    for path in folder.rglob("[!.]*"):
        if path.suffix == ".parquet":
            pq.read_table(path)
        elif path.suffix == ".csv":
            assert path.read_bytes().endswith(b"\n")
            pd.read_csv(path)
        elif path.suffix == ".npy":
            np.load(path)
        elif path.suffix == ".json":
            values = json.loads(path.read_text())
            shard = path.with_suffix(".npy")
            if shard.exists():  # Snakemake removes it first
                assert sha256(shard.read_bytes()).hexdigest() == values["sha256"]


# ---- kill -9


def start(project: Project, results: str, *arguments: str) -> subprocess.Popen:
    """Start ingest and cache building in a folder of results of their own, as the leader of a group of processes."""
    (project.folder / f"{results}.yaml").write_text(f"results: {results}\n")
    targets = [f"{results}/{name}" for name in INGEST_AND_CACHE]
    command = [*SNAKEMAKE, *targets, *arguments, "--configfile", "overlay.yaml", f"{results}.yaml"]
    return subprocess.Popen(
        command,
        cwd=project.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(project):
    draw = random.Random(1)
    for attempt in range(6):
        run = start(project, "killed", *(["--nolock"] if attempt else []))
        for line in run.stderr:
            if line.startswith("Execute"):  # the first jobs start
                break
        try:
            run.wait(draw.uniform(0, 2))
        except subprocess.TimeoutExpired:
            # Snakemake alone or all: alone, its jobs go on beside those of the next run.
            draw.choice([os.kill, os.killpg])(run.pid, signal.SIGKILL)
        run.wait()
        run.stderr.close()
        assert_whole(project.folder / "killed")

    locked = start(project, "killed")
    assert "--unlock" in locked.communicate()[1]
    assert start(project, "killed", "--unlock").wait() == 0
    last = start(project, "killed")
    _, text = last.communicate()
    assert last.returncode == 0, text
    assert bytes_of(project.folder / "killed") == bytes_of(project.folder / "results")


def jobs_below(process: psutil.Process) -> list[psutil.Process]:
    """Return the processes of Snakemake's scripts that run, without those that ended while they were looked at."""
    jobs = []
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # or a zombie, which is a kind of it
            if any(".snakemake/scripts" in word for word in child.cmdline()):
                jobs.append(child)
    return jobs


def test_jobs_that_are_killed_are_tried_again_and_end_with_the_same_bytes(project):
    draw = random.Random(2)
    run = start(project, "retried", "--retries", "20")
    running = psutil.Process(run.pid)
    kills = 0
    while run.poll() is None and kills < 6:
        try:
            run.wait(draw.uniform(0, 0.7))
        except subprocess.TimeoutExpired:
            if jobs := jobs_below(running):
                with suppress(psutil.NoSuchProcess):  # it may have ended by itself
                    draw.choice(jobs).kill()
                    kills += 1
                assert_whole(project.folder / "retried")
    _, text = run.communicate()
    assert run.returncode == 0, text
    assert kills == 6
    assert bytes_of(project.folder / "retried") == bytes_of(project.folder / "results")


def ingest(source: Path, folder: Path) -> None:
    """Do all that the jobs of ingest and cache building do, in one process that is quickly made."""
    os.chdir(source.parent)
    headers = header_rows(inventory([source.name]))
    write_parquet(headers, folder / "headers.parquet", HEADER_SCHEMA)
    slices, quarantine = build_manifest(read_parquet(folder / "headers.parquet"), shards=1)
    write_parquet(slices, folder / "slices.parquet", SLICES_SCHEMA)
    write_csv(quarantine, folder / "quarantine.csv")
    windows = [{"name": "brain", "level": 40, "width": 80}]
    build_shard(slices, windows, 256, folder / "cache/brain/0.npy", folder / "cache/brain/0.json")


def test_processes_killed_at_any_moment_leave_only_whole_files(project, tmp_path):
    draw = random.Random(3)
    server = get_context("forkserver")  # its processes begin with everything imported
    server.set_forkserver_preload([__name__])
    work = (project.folder / "data/tiny/stage_2_train", tmp_path / "killed")

    def run(folder: Path, seconds: float | None) -> float:
        process = server.Process(target=ingest, args=(work[0], folder))
        process.start()
        begun = time.perf_counter()
        process.join(seconds)
        took = time.perf_counter() - begun
        process.kill()
        process.join()
        assert process.exitcode in ((0,) if seconds is None else (0, -signal.SIGKILL))
        return took

    run(tmp_path / "undisturbed", None)  # this one waits for the server
    longest = run(tmp_path / "undisturbed", None)
    for _ in range(20):
        run(tmp_path / "killed", draw.uniform(0, longest))
        assert_whole(tmp_path / "killed")
    run(tmp_path / "killed", None)
    files = {path.name: path.read_bytes() for path in (tmp_path / "killed").rglob("*") if path.is_file()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "undisturbed").rglob("*") if path.is_file()}


# ---- a full disk, a folder that cannot be written, a damaged file


@pytest.fixture(scope="module")
def mounting(project):
    """Run a shell script that may mount file systems, which nobody else sees and which vanish with it."""

    def run(script: str) -> str:
        done = subprocess.run(
            [*NAMESPACE, "bash", "-euc", script, "bash", *SNAKEMAKE],
            cwd=project.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    tried = subprocess.run([*NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"no file system may be mounted here: {tried.stderr.strip()}")
    return run


def test_a_full_disk_is_told_in_words_and_leaves_nothing_half_written(project, mounting):
    over = {"results": "full", "caches": {"paper": {"size": 160}}}  # a shard is larger than the disk
    (project.folder / "full.yaml").write_text(yaml.safe_dump(over))
    text = mounting("""
        mkdir full
        mount -t tmpfs -o size=1m none full
        cp -a results/data full
        run() { "$@" full/cache/paper/0000.npy --configfile overlay.yaml full.yaml; }
        ! run "$@"
        echo "--- left"
        find full -type f -not -path 'full/logs/*'
        echo "--- log"
        cat full/logs/cache/paper/0000.log
        echo "--- again"
        mount -o remount,size=20m full
        run "$@"
        python3 -c "import numpy; print(numpy.load('full/cache/paper/0000.npy').shape)"
    """)
    terminal, _, rest = text.partition("--- left\n")
    left, _, rest = rest.partition("--- log\n")
    log, _, again = rest.partition("--- again\n")
    assert {name.removeprefix("full/") for name in left.split()} == {
        name for name in bytes_of(project.folder / "results") if name.startswith("data/")
    }
    for words in (terminal, log):
        assert "full/cache/paper/0000.npy: cannot be written (No space left on device). Free some space" in words
        assert "Traceback" not in words
    slices = pd.read_parquet(project.folder / "results/data/slices.parquet")
    assert f"({(slices['shard'] == 0).sum()}, 3, 160, 160)" in again


@pytest.mark.parametrize("made", [True, False], ids=["with results", "empty"])
def test_a_read_only_folder_is_told_in_words(project, mounting, made):
    before = bytes_of(project.folder / "results")
    text = mounting(f"""
        {"" if made else "mount -t tmpfs none results"}
        mount --bind results results
        mount -o remount,ro,bind results
        ! "$@" results/data/cohort.parquet --forcerun labels --configfile overlay.yaml
    """)
    assert "/results cannot be written to. Make it writable, or write another folder as `results`." in text
    assert "results/data" in text.partition("Building DAG of jobs")[2]  # Snakemake names the file or folder
    assert "Traceback" not in text
    assert bytes_of(project.folder / "results") == before


def test_a_shard_with_a_wrong_checksum_is_named_before_training_and_made_anew(project):
    target, folder = f"results/{WEIGHTS}", project.folder / "results"
    weights, before = (folder / WEIGHTS).read_bytes(), bytes_of(folder)
    shutil.rmtree(folder / "models")
    shard = folder / "cache/paper/0001.npy"
    content = bytearray(before["cache/paper/0001.npy"])
    content[5000] ^= 1
    shard.write_bytes(content)

    refused = project.run(target, check=False)
    assert refused.returncode != 0
    for words in (refused.stderr, (folder / "logs/train/resnet18.log").read_text()):
        assert "results/cache/paper/0001.npy: this cache shard does not have the checksum" in words
        assert "removed, so that the next run makes it anew" in words
        assert "epoch" not in words
        assert "Traceback" not in words
    assert not [path for path in (folder / "models").rglob("*") if path.is_file()]

    project.run(target)
    assert bytes_of(folder) == before
    assert (folder / WEIGHTS).read_bytes() == weights

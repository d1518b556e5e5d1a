import os
import time

import pytest
import torch

from ich.training.watch import event_files, gpu_load, gpu_use


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """A program of that name that knows one GPU, and leaves a mark when it is ended."""
    program = tmp_path / "nvidia-smi"
    program.write_text(
        f"""#!/bin/sh
trap 'touch {tmp_path}/ended; exit' TERM
echo "$@" > {tmp_path}/arguments
echo 40; echo 80; echo '[N/A]'
touch {tmp_path}/written
while :; do sleep 0.01; done
"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def wait_for(path):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} has not come"


def test_the_load_of_a_gpu_is_the_mean_of_what_nvidia_smi_says(nvidia_smi):
    with gpu_load("GPU-1234") as load:
        wait_for(nvidia_smi / "written")
        assert load() == pytest.approx(0.6)
        assert load() is None, "nothing new"
    assert (nvidia_smi / "ended").exists()
    assert "--id=GPU-1234" in (nvidia_smi / "arguments").read_text()


def test_without_nvidia_smi_the_load_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with gpu_load("GPU-1234") as load:
        assert load() is None


def test_a_cpu_has_no_such_use():
    with gpu_use(torch.device("cpu")) as use:
        assert use() == {}


def written(folder):
    """The values in event files, as TensorBoard shows them: by name, then by epoch."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder)).Reload()
    return {name: {each.step: each.value for each in events.Scalars(name)} for name in events.Tags()["scalars"]}


def test_event_files_hold_each_epoch_once(tmp_path):
    pytest.importorskip("tensorboard")
    with event_files(tmp_path, epoch=1) as write:
        write({"loss": 9.0}, 1)
    with event_files(tmp_path, epoch=1) as write:  # of a training that starts again
        for epoch in (1, 2, 3):
            write({"loss": float(epoch), "slices_per_second": 5.0}, epoch)
    with event_files(tmp_path, epoch=3) as write:  # taken up from a state after the second epoch
        write({"loss": 30.0}, 3)
    assert written(tmp_path)["loss"] == {1: 1.0, 2: 2.0, 3: 30.0}


def test_no_folder_no_event_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with event_files(None, epoch=1) as write:
        write({"loss": 1.0}, 1)
    assert not list(tmp_path.iterdir())

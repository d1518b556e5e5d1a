"""What can be watched while a model trains: event files for TensorBoard, and the load of the GPU."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import fmean

import torch

INTERVAL = 5  # seconds between two looks at the GPU


@contextmanager
def event_files(folder: str | os.PathLike | None, epoch: int) -> Iterator[Callable[[Mapping[str, float], int], None]]:
    """Write event files for TensorBoard, if that is installed (`pip install ich[tensorboard]`).

    Parameters
    ----------
    folder : path or None
        Where; None for nowhere.
    epoch : int
        The first epoch to be written. What the folder has of it and later ones, from a run that was killed, is dropped;
        for the first epoch, all that it has.

    Yields
    ------
    function
        Takes values by name, and their epoch.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        folder = None
    if folder is None:
        yield lambda values, epoch: None
        return
    if epoch == 1:
        for old in Path(folder).glob("events.out.tfevents.*"):
            old.unlink()

    def write(values: Mapping[str, float], epoch: int) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, epoch)
        writer.flush()

    with SummaryWriter(str(folder), purge_step=epoch) as writer:
        yield write


@contextmanager
def gpu_load(identity: str | None) -> Iterator[Callable[[], float | None]]:
    """Watch how busy a GPU is, by nvidia-smi, where that exists.

    Parameters
    ----------
    identity : str or None
        The GPU as nvidia-smi knows it (`GPU-...`); None for none.

    Yields
    ------
    function
        Gives the mean share of time, from 0 to 1, in which the GPU computed since the last call; None where unknown.
    """
    query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", f"--loop={INTERVAL}"]
    with tempfile.NamedTemporaryFile("r") as samples:
        process = None
        if identity:
            with suppress(FileNotFoundError), Path(samples.name).open("w") as out:
                process = subprocess.Popen(
                    ["nvidia-smi", f"--id={identity}", *query], stdout=out, stderr=subprocess.DEVNULL
                )

        def mean_since() -> float | None:
            values = [int(line) for line in samples.read().split() if line.isdecimal()]
            return fmean(values) / 100 if values else None

        try:
            yield mean_since
        finally:
            if process:
                process.terminate()
                process.wait()


@contextmanager
def gpu_use(device: torch.device) -> Iterator[Callable[[], dict[str, float]]]:
    """Watch a GPU.

    Yields
    ------
    function
        Gives `gpu_memory_bytes` (most that tensors took) and, where known, `gpu_utilisation` (as of `gpu_load`), each
        since the last call; nothing of the CPU.
    """
    if device.type != "cuda":
        yield dict
        return

    def use() -> dict[str, float]:
        memory, share = torch.cuda.max_memory_allocated(device), load()
        torch.cuda.reset_peak_memory_stats(device)
        return {"gpu_memory_bytes": memory} | ({} if share is None else {"gpu_utilisation": share})

    with gpu_load(f"GPU-{torch.cuda.get_device_properties(device).uuid}") as load:
        yield use

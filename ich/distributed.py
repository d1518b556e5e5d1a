"""Several processes that train one model, one for each GPU: how they start, and what they tell each other."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed, nn

from ich.errors import InputError

# Longer than any wait that is meant: the first process may wait for another job that trains the same experiment.
# When one process dies, torchrun ends the others at once, whatever they wait for.
PATIENCE = timedelta(days=2)

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The processes that train together.

    Attributes
    ----------
    rank : int
        Number of this process, from 0. The first alone writes files.
    size : int
        Number of processes. With one, every method leaves things as they are.
    """

    rank: int = 0
    size: int = 1

    def share(self, whole: list[T]) -> list[T]:
        """Give this process's part of a list; those of all processes are the whole, and nothing is in two."""
        return whole[self.rank :: self.size]

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Add up a tensor over the processes, in place."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Tell whether a flag is set in any process."""
        return bool(self.sum(torch.tensor(int(flag))))

    def from_first(self, value: Any) -> Any:
        """Give the first process's value to all."""
        values = [value]
        if self.size > 1:
            distributed.broadcast_object_list(values)
        return values[0]

    def wrap(self, network: nn.Module) -> nn.Module:
        """Give a network whose gradients are the mean over the processes, and whose weights start as the first's.

        Each process normalises batches by its own share (`average_statistics`).
        """
        if self.size == 1:
            return network
        return nn.parallel.DistributedDataParallel(network, forward_sync_buffers=False, gradient_as_bucket_view=True)

    def average_statistics(self, network: nn.Module) -> None:
        """Make running statistics of batch normalisation the mean over the processes, in place.

        Each step moves them linearly, so that averaging now and then is averaging after each step.
        """
        for buffer in network.buffers():
            if self.size > 1 and buffer.is_floating_point():
                self.sum(buffer).div_(self.size)


ALONE = World()


def launch(processes: int) -> None:
    """Go on as so many processes on this machine: this one becomes torchrun, which runs this script in each.

    Does nothing for one process, and in those that torchrun has started.

    Raises
    ------
    InputError
        There are fewer GPUs than processes (but where there is none, the processes use the CPU).
    """
    if processes == 1 or "LOCAL_RANK" in os.environ:
        return
    if torch.cuda.is_available() and torch.cuda.device_count() < processes:
        raise InputError(
            f"an experiment asks for {processes} GPUs, and this job sees {torch.cuda.device_count()}. "
            "Lower `gpus` in its configuration, or give the job more."
        )
    # torchrun answers these signals by SIGTERM to its processes, which then have half a minute to save their state
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = "SIGTERM,SIGINT,SIGHUP,SIGUSR1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torchrun's own default, said here so that it gives no warning
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    os.execv(sys.executable, [sys.executable, *torchrun, *sys.argv])


@contextmanager
def join() -> Iterator[World]:
    """Meet the other processes, if torchrun has started this one.

    Yields
    ------
    World
    """
    if "LOCAL_RANK" not in os.environ:
        yield ALONE
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    if int(os.environ["RANK"]) > 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the first process hears it and tells the others when to stop
    distributed.init_process_group(backend, timeout=PATIENCE)
    yield World(distributed.get_rank(), distributed.get_world_size())
    distributed.destroy_process_group()  # only after a good end: others may still wait for one that failed

"""Several processes that train one model, one for each GPU: how they start, and what they tell each other."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed, nn

from ich.base.errors import InputError

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
    local : int
        Number of this process on its machine, from 0; those of a machine have consecutive ranks.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

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

    def from_first_here(self, value: Any) -> Any:
        """Give the value of the first process on a machine to all that run there."""
        values = [value] * self.size
        if self.size > 1:
            distributed.all_gather_object(values, value)
        return values[self.rank - self.local]

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


def launch(processes: int, nodes: int = 1) -> None:
    """Go on as so many processes: this one becomes torchrun, which runs this script in each.

    Does nothing for one process, and in those that torchrun has started. On several nodes of a Slurm allocation, srun
    starts a torchrun on each.

    Parameters
    ----------
    processes : int
        Their number, over all nodes.
    nodes : int
        Number of nodes, which have equally many.

    Raises
    ------
    InputError
        A node has fewer GPUs than processes (but where there is none, the processes use the CPU), or they cannot be
        shared out evenly.
    """
    if processes == 1 or "LOCAL_RANK" in os.environ:
        return
    each = processes // nodes
    if each * nodes != processes:
        raise InputError(f"{processes} GPUs cannot be shared out evenly over {nodes} nodes.")
    if torch.cuda.is_available() and torch.cuda.device_count() < each:
        raise InputError(
            f"an experiment asks for {each} GPUs on a machine, and this job sees {torch.cuda.device_count()}. "
            "Lower `gpus` in its configuration, or give the job more."
        )
    command = [sys.executable, "-m", "torch.distributed.run", f"--nnodes={nodes}", f"--nproc-per-node={each}"]
    if nodes == 1:
        command += ["--standalone"]
    else:
        with socket.create_server(("", 0)) as free:
            here = f"{socket.gethostname()}:{free.getsockname()[1]}"
        srun = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
        command = [*srun, *command, "--rdzv-backend=c10d", f"--rdzv-endpoint={here}", f"--rdzv-id={here}"]
    # torchrun answers these signals by SIGTERM to its processes, which then have half a minute to save their state
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = "SIGTERM,SIGINT,SIGHUP,SIGUSR1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torchrun's own default, said here so that it gives no warning
    os.execvp(command[0], [*command, *sys.argv])


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
    yield World(distributed.get_rank(), distributed.get_world_size(), int(os.environ["LOCAL_RANK"]))
    distributed.destroy_process_group()  # only after a good end: others may still wait for one that failed

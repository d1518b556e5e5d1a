"""The lease that keeps the state of a training to one job at a time.

Two jobs can be after one state: when Snakemake is killed its cluster job lives on, and a restart submits a second one.
The protocol needs no more than what shared file systems promise: that a hard link fails where its name exists, and
that a rename is whole.

- A lease is a file that says who made it, and it never changes. The first is `lease-first`; the lease that takes over
  from the one with token T is `lease-T`. The last of this chain is the owner's: of several that take over from one
  owner, one succeeds. Whoever has made a lease looks whether the chain from the first one on ends with it; if not, it
  came too late and withdraws.
- An owner that releases its lease first takes over from itself, so that nobody else can, and then removes the chain.
- The owner shows that it lives by the modification time of its lease. A job that waits judges by how long it has seen
  no change, by its own clock: the clocks of two machines differ. On the same machine it looks for the process, and it
  asks Slurm about the owner's job.
- A new owner removes what others have begun to write before it reads the state. An owner that was taken for dead looks
  at the chain after it has written and before it renames: either it sees the new owner, or what it wrote is gone.
- A finished training is removed, unless another job waits for it: its declared outputs were deleted when that job was
  submitted, and it writes them again from the finished state. A job that nobody could see coming trains again, which
  costs time and nothing else.
"""

import json
import logging
import os
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ich.base.errors import InputError

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)  # of a scheduler that ends a job, and of Slurm's warning before it does
ENDED = 3  # missing signs of life after which an owner whose job has ended is dead: a lost node may still compute
SILENT = 30  # missing signs of life after which any owner is
# Slurm's names for jobs that do not run and will not.
OVER = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
    *("REVOKED", "TIMEOUT"),
}


class Interrupted(InputError):
    """The job was told to stop."""


class Lost(InputError):
    """Another job has taken the training over."""


@dataclass(frozen=True)
class Owner:
    """Who made a lease.

    Attributes
    ----------
    token : str
        Of this lease alone.
    host, pid
        Of the process.
    machine, started : str
        What tells this kernel and its process numbers from any other, and this process from another of the same number.
    job : str
        Number of the Slurm job; empty outside of Slurm.
    """

    token: str
    host: str
    pid: int
    machine: str
    started: str
    job: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" + (f" (Slurm job {self.job})" if self.job else "")


class Lease:
    """The right to be the only process that works in a folder.

    Parameters
    ----------
    folder : Path
    heartbeat : float
        Seconds between two signs of life. The processes that share a folder have the same.
    """

    def __init__(self, folder: Path, heartbeat: float):
        self.folder, self.heartbeat = folder, heartbeat
        self.me = myself()
        self.former: Owner | None = None  # the one before, if this process has seen it
        self.lost = False
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def acquire(self, told: Callable[[], bool]) -> None:
        """Wait until this process is the owner, and say for whom it waits and why it need not any more.

        Parameters
        ----------
        told : function
            Whether to give up.

        Raises
        ------
        Interrupted
            It was told to.
        """
        waiting = self.folder / f"waiting-{self.me.token}"
        owner: Owner | None = None
        sign: object = None
        since = 0.0  # when the owner's last sign of life was first seen
        try:
            while True:
                self.folder.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):  # an owner is just leaving
                    before, (owner, latest) = owner, self._owner()
                    if latest != sign:
                        sign, since = latest, time.monotonic()
                    reason = self._death(owner, time.monotonic() - since) if owner else "it has left"
                    if reason and self._take(owner):
                        self.former = owner or before
                        if self.former:
                            logging.info("taking over from %s: %s", self.former, reason)
                        break
                    if owner and owner != before:
                        logging.info("waiting for %s, which has this training in hand", owner)
                    waiting.touch()
                if told():
                    raise Interrupted(f"told to stop while waiting for {owner}, which has this training in hand")
                time.sleep(self.heartbeat / 5)
        finally:
            waiting.unlink(missing_ok=True)
        self._thread.start()

    def check(self) -> None:
        """Make sure that this process is the owner still.

        Raises
        ------
        Lost
            It is not.
        """
        owner, _ = self._owner()
        if owner != self.me:
            self.lost = True
            raise Lost(f"{owner or 'another job'} took this training over while this job gave no sign of life: it ends")

    def release(self) -> None:
        """Let others have it."""
        self._leave.set()
        self._thread.join()
        os.close(self._file)
        if self._owner()[0] == self.me and self._link(self.me, replace(self.me, token=uuid.uuid4().hex)):
            for path in self._chain():
                path.unlink(missing_ok=True)
            with suppress(OSError):  # unless there is anything in it
                self.folder.rmdir()

    def rival(self) -> str:
        """Name a process that waits for the lease, or a Slurm job that is queued to; empty if none is known of."""
        os.utime(self._file)
        now = os.fstat(self._file).st_mtime  # by the clock that gives waiting files their time
        for path in self.folder.glob("waiting-*"):
            with suppress(FileNotFoundError):
                if now - path.stat().st_mtime < ENDED * self.heartbeat:
                    return "another process"
        if not self.me.job:
            return ""
        # Snakemake's executor names rule and wildcards in the comment; the working directory tells projects apart.
        answer = squeue("--me", "--states=PENDING,RUNNING", "--format=%A %Z %k")
        jobs = dict(line.split(" ", 1) for line in answer.stdout.splitlines()) if answer else {}
        mine = jobs.pop(self.me.job, None)
        if self.former:
            jobs.pop(self.former.job, None)  # it has had its turn, and its job is about to end
        return next((f"Slurm job {number}" for number, described in jobs.items() if described == mine), "")

    def _beat(self) -> None:
        while not self._leave.wait(self.heartbeat):
            with suppress(OSError, Lost):
                os.utime(self._file)
                self.check()

    def _path(self, before: Owner | None) -> Path:
        return self.folder / f"lease-{before.token if before else 'first'}"

    def _chain(self) -> dict[Path, Owner]:
        """Give all leases in the order in which they took over from each other."""
        chain: dict[Path, Owner] = {}
        owner = None
        while True:
            path = self._path(owner)
            try:
                owner = Owner(**json.loads(path.read_bytes()))
            except FileNotFoundError:
                return chain
            chain[path] = owner

    def _owner(self) -> tuple[Owner | None, object]:
        """Give the last of the chain, and a sign that differs when it has shown that it lives."""
        for path, owner in reversed(self._chain().items()):
            with path.open("rb") as file:  # by opening it, a network file system gets the time anew
                return owner, (owner.token, os.fstat(file.fileno()).st_mtime_ns)
        return None, None

    def _link(self, before: Owner | None, new: Owner) -> bool:
        """Make a lease, whole or not at all; False if there is one."""
        partial = self.folder / f".lease-{new.token}"
        try:
            partial.write_text(json.dumps(asdict(new)))
            with suppress(FileExistsError):
                os.link(partial, self._path(before))
            return partial.stat().st_nlink == 2  # NFS may do it and yet answer that the name exists
        finally:
            partial.unlink(missing_ok=True)

    def _take(self, before: Owner | None) -> bool:
        if not self._link(before, self.me):
            return False
        path = self._path(before)
        if self._owner()[0] == self.me:
            self._file = os.open(path, os.O_RDWR)
            return True
        path.unlink(missing_ok=True)
        return False

    def _death(self, owner: Owner, silent: float) -> str:
        """Say why an owner that has been silent for so many seconds is taken for dead; empty if it is not."""
        if owner.machine == self.me.machine and start_time(owner.pid) != owner.started:
            return "that process has ended"
        if silent > SILENT * self.heartbeat:
            return f"it has given no sign of life for {silent:.0f} s"
        if owner.job and silent > ENDED * self.heartbeat:
            if owner.job == self.me.job:
                return "Slurm has started this job anew"
            if has_ended(owner.job):
                return "Slurm has ended that job"
        return ""


def myself() -> Owner:
    """Describe this process, with a new token."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    numbers = Path("/proc/self/ns/pid").readlink()  # a container can have process numbers of its own
    pid = os.getpid()
    return Owner(
        uuid.uuid4().hex, socket.gethostname(), pid, f"{boot} {numbers}", start_time(pid), os.getenv("SLURM_JOB_ID", "")
    )


def start_time(pid: int) -> str:
    """Tell when a process of this machine started, in ticks since boot; empty if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def has_ended(job: str) -> bool:
    """Tell whether Slurm says that a job is over or no longer knows it; False where it says nothing."""
    answer = squeue("--states=all", f"--jobs={job}", "--format=%T")
    if not answer:
        return False
    return "Invalid job id" in answer.stderr if answer.returncode else answer.stdout.strip() in ("", *OVER)


def squeue(*options: str) -> subprocess.CompletedProcess[str] | None:
    """Ask Slurm for its jobs; None where there is none to ask."""
    try:
        return subprocess.run(["squeue", "--noheader", *options], capture_output=True, text=True, timeout=60)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None

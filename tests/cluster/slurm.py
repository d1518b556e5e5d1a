"""A real Slurm on the loopback interface: one node for the partition `cpu`, one with fake GPUs for `gpu`.

All that it writes lies in one folder, and its daemons are known by the pid files there. Written for Debian's packages.
"""

import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
GPUS = 3  # two trainings, and room for one more

SLURM_CONF = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
# Nothing listens on the machine's other addresses.
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
PlugStackConfig={folder}/plugstack.conf
# No cgroups: the tests run in containers as well.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
# Nodes claim more than this machine has, so that the rules' requests are taken as they are.
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
ReturnToService=2
# No accounting. squeue tells of ended jobs for this long, in seconds.
AccountingStorageType=accounting_storage/none
MinJobAge=3600
NodeName=cpu1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=64 RealMemory=256000
NodeName=gpu1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=64 RealMemory=256000 Gres=gpu:{gpus}
PartitionName=cpu Nodes=cpu1 Default=YES
PartitionName=gpu Nodes=gpu1
"""


def missing() -> str:
    """Say why no Slurm can be started here; empty if one can."""
    if os.geteuid():
        return "slurmd runs only as root"
    absent = [program for program in PROGRAMS if not shutil.which(program)]
    return f"not installed: {', '.join(absent)}" if absent else ""


class Slurm:
    """A Slurm that runs while the context is open.

    Parameters
    ----------
    folder : Path
        Of everything it writes. A short path: it holds sockets.

    Attributes
    ----------
    environment : dict
        Of programs that are to use it.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        }

    def __enter__(self):
        self._configure()
        try:
            munge = self.folder / "munge.socket"
            key, seed = self.folder / "munge.key", self.folder / "munge.seed"
            self._do("mungekey", "--create", "--keyfile", key)
            self._do("munged", "--force", "--socket", munge, "--key-file", key, "--seed-file", seed,
                     "--pid-file", self.folder / "munged.pid", "--log-file", self.folder / "munged.log")  # fmt: skip
            self._do("slurmctld")
            for node in ("cpu1", "gpu1"):
                self._do("slurmd", "-N", node)
            self.wait(lambda: self.ask("sinfo", "--noheader", "--Node", "--format=%t").split() == ["idle", "idle"])
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_):
        self.ask("scancel", "--me")
        self.wait(lambda: not self.ask("squeue", "--noheader"))
        self._stop()

    def ask(self, *command: str) -> str:
        """Run one of Slurm's programs and give what it says."""
        return self._do(*command).stdout

    def jobs(self, comment: str) -> list[str]:
        """Number the jobs of a rule and its wildcards, finished ones included, oldest first."""
        lines = self.ask("squeue", "--noheader", "--states=all", "--format=%A %k").splitlines()
        return sorted((number for number, said in map(str.split, lines) if said == comment), key=int)

    def job(self, number: str) -> dict[str, str]:
        """Give all that Slurm knows of a job."""
        words = self.ask("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    @staticmethod
    def wait(condition, seconds: float = 60):
        """Wait for something to become true, and give it."""
        end = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > end:
                raise TimeoutError
            time.sleep(0.1)
        return value

    def _configure(self):
        (self.folder / "controller").mkdir()
        (self.folder / "plugstack.conf").touch()
        with socket.socket() as one, socket.socket() as two, socket.socket() as three:
            ports = []
            for each in (one, two, three):
                each.bind(("127.0.0.1", 0))
                ports.append(each.getsockname()[1])
        conf = SLURM_CONF.format(folder=self.folder, host=socket.gethostname().split(".")[0], ports=ports, gpus=GPUS)
        (self.folder / "slurm.conf").write_text(conf)
        for number in range(GPUS):  # Slurm wants a character device for each: twins of /dev/null
            os.mknod(self.folder / f"device{number}", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        (self.folder / "gres.conf").write_text(
            f"AutoDetect=off\nNodeName=gpu1 Name=gpu File={self.folder}/device[0-{GPUS - 1}]\n"
        )
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=autodetect\n")
        # Snakemake's executor takes SLURM_CONF out of the environment of the srun within a job: a site has its
        # configuration in /etc/slurm.
        (self.folder / "bin").mkdir()
        srun = self.folder / "bin/srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
        srun.chmod(0o755)

    def _do(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment, timeout=60)
        if done.returncode:
            raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def _stop(self):
        for name in ("gpu1", "cpu1", "slurmctld", "munged"):
            path = self.folder / f"{name}.pid"
            if path.exists() and state(pid := int(path.read_text())) not in ("", "Z"):
                os.kill(pid, signal.SIGTERM)
                self.wait(lambda pid=pid: state(pid) in ("", "Z"))


def state(pid: int) -> str:
    """One letter for what a process does, as in ps; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""

"""What every benchmark needs: the machine in words, rounds that run everything in turn, a table of bounds."""

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

LIBRARIES = ("numpy", "torch", "torchvision", "pydicom", "pandas", "pyarrow", "snakemake")


def machine() -> str:
    """Describe the processor and what it is running."""
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    return f"{_field('/proc/cpuinfo', 'model name')}, {cores} cores, load {load:.1f} at the start"


def environment() -> str:
    """Describe the machine and the software, as a Markdown list."""
    memory = int(_field("/proc/meminfo", "MemTotal").split()[0]) / 2**20
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    lines = [
        f"Processor: {_field('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores",
        f"Memory: {memory:.0f} GiB",
        f"Disk: {_disk(Path.cwd())}",
        f"System: Linux {platform.release()}, Python {platform.python_version()}",
        f"Libraries: {libraries}",
    ]
    return "\n".join(f"- {line}" for line in lines)


def today() -> str:
    return f"{datetime.now(UTC):%d %B %Y}"


def _field(path: str, name: str) -> str:
    lines = Path(path).read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "unknown")


def _disk(folder: Path) -> str:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    above = [mount for mount in mounts if folder.is_relative_to(mount[1])]
    device, _, system = max(above, key=lambda mount: len(mount[1]))[:3]
    number = folder.stat().st_dev
    queue = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    kinds = [place / "queue/rotational" for place in (queue, queue.parent) if (place / "queue/rotational").exists()]
    return f"{system} on {device}" + (f", rotational {kinds[0].read_text().strip()}" if kinds else "")


def rounds(ways: Mapping[str, tuple[Callable[[], object], int]], number: int) -> dict[str, list[float]]:
    """Time each way, given with the slices that it handles, once a round, so that all share the disturbances.

    Returns
    -------
    dict of lists of float
        Seconds a slice of each way in each round. A round before them is not counted.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(number + 1):
        for name, (work, slices) in ways.items():
            start = time.perf_counter()
            work()
            times[name].append((time.perf_counter() - start) / slices)
    return {name: each[1:] for name, each in times.items()}


@dataclass
class Row:
    """A line of the table: seconds of something, seconds of what stands beside it, and a bound of their ratio.

    `most` bounds how many times as long it takes, `least` how many times as fast it is. With a unit, the numbers are in
    that unit instead of seconds, and the bound is on ours alone. Each list has a number a round, and a ratio is the
    median of the rounds' own. Without numbers, `beside_what` says why there are none.
    """

    what: str
    ours: Sequence[float]
    beside_what: str = ""
    beside: Sequence[float] = ()
    most: float | None = None
    least: float | None = None
    unit: str = ""

    def markdown(self) -> str:
        if not self.ours:
            return f"| {self.what} | not measured | {self.beside_what} | | | |"
        value, ratio = median(self.ours), ""
        if not self.unit:
            pairs = list(zip(self.ours, self.beside, strict=True))
            value = median(ours / beside if self.most else beside / ours for ours, beside in pairs)
            ratio = f"{_number(value)} of that" if self.most else f"{_number(value)} times as fast"
        bound = f"≤ {self.most:,g}" if self.most else f"≥ {self.least:,g}" if self.least else ""
        verdict = (
            ("yes" if (value <= self.most if self.most else value >= (self.least or 0)) else "no") if bound else ""
        )
        beside = f"{self.beside_what}: {self._amount(self.beside)}" if self.beside else self.beside_what
        return f"| {self.what} | {self._amount(self.ours)} | {beside} | {ratio} | {bound} | {verdict} |"

    def _amount(self, numbers: Sequence[float]) -> str:
        return f"{_number(median(numbers))} {self.unit}" if self.unit else f"{_number(median(numbers) * 1e6)} µs"


def table(rows: Sequence[Row]) -> str:
    """Give the rows as a Markdown table."""
    head = "| what | ours | beside it | ratio | bound | holds? |\n|---|---:|---|---:|---:|---|\n"
    return head + "\n".join(row.markdown() for row in rows)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"

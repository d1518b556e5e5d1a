"""The data layer, beside its bounds and what a user would pick instead. One core unless a line says otherwise.

    python -m bench.cache

takes the slices of the folder in ICH_RSNA_SAMPLE, or makes some of the same size, and prints a Markdown table. Files
are warm unless a line says otherwise. Everything is measured in several rounds in turn; times are medians, and a ratio
is the median of the rounds' own.
"""

import functools
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import torch
from torchvision import transforms

from bench.measuring import Row, machine, rounds, table
from bench.rivals import RIVALS
from ich.base.classes import CLASSES
from ich.dicom.headers import header_rows
from ich.dicom.sources import inventory
from ich.images.cache import Cache, build_shard
from ich.phantom.dataset import generate
from ich.training.data import SliceDataset, batches, loader

SLICES = 4096  # of a shard: 617 MB of images, more than a processor's own memory
PART = 512  # of them, where less will do
BATCH = 32
ROUNDS = 9
SIZE = 224
LEVELS = {"bone": (600, 2800), "subdural": (80, 200), "soft_tissue": (40, 380)}
WINDOWS = [{"name": name, "level": level, "width": width} for name, (level, width) in LEVELS.items()]

paper_transform = transforms.Compose(
    [transforms.ToTensor(), transforms.Resize((SIZE, SIZE)), transforms.Normalize([0.456] * 3, [0.224] * 3)]
)


def paper_slice(path: Path) -> torch.Tensor:
    """Preprocess a slice as the paper's released code does for each slice in every epoch."""
    slice_ = pydicom.dcmread(path)
    hu = slice_.pixel_array.astype(np.float64) * float(slice_.RescaleSlope) + float(slice_.RescaleIntercept)
    channels = []
    for level, width in LEVELS.values():
        low, high = level - width / 2, level + width / 2
        channel = hu.copy()
        channel[channel < low] = low
        channel[channel > high] = high
        channel = (channel - low) / width
        channels.append(channel - channel.mean())
    image = np.array(channels).transpose(1, 2, 0)
    image = (image - image.min()) / (image.max() - image.min())
    return paper_transform(image)


def each(work: Callable, items: Sequence) -> tuple[Callable[[], None], int]:
    """Give what does a piece of work on each of the items, and their number."""

    def run() -> None:
        for item in items:
            work(item)

    return run, len(items)


def build(manifest: pd.DataFrame, path: Path) -> None:
    build_shard(manifest, WINDOWS, SIZE, path, path.with_suffix(".json"))


def preparing(headers: pd.DataFrame, manifest: pd.DataFrame, scratch: Path) -> list[Row]:
    """Measure headers and the building of a cache."""
    files = [Path(location) for location in headers["location"]]
    many = pd.concat([headers] * -(-PART // len(headers)))
    ways = {
        "header": (lambda: header_rows(many), len(many)),
        "pydicom header": each(lambda file: pydicom.dcmread(file, stop_before_pixels=True), files),
        "build": (lambda: build(manifest[:PART], scratch / "part.npy"), PART),
        "pixel_array": each(lambda file: pydicom.dcmread(file).pixel_array, files),
        "paper": each(paper_slice, files),
    }
    times = rounds(ways, ROUNDS)
    what = "one slice of a cache: read, decode, three windows, resize, write"
    return [
        Row(
            "header row of a file",
            times["header"],
            "`dcmread(stop_before_pixels=True)`",
            times["pydicom header"],
            most=1.3,
        ),
        Row(what, times["build"], "`dcmread(...).pixel_array` alone", times["pixel_array"], most=2),
        Row(what, times["build"], "the paper's preprocessing, in every epoch", times["paper"], least=8),
    ]


def idlest(count: int) -> list[int]:
    """Find the cores that others leave most idle."""

    def idle() -> dict[int, int]:
        lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
        return {int(line[0][3:]): int(line[4]) for line in lines if line[0][:3] == "cpu" and line[0] != "cpu"}

    before = idle()
    time.sleep(1)
    after = idle()
    return sorted(os.sched_getaffinity(0), key=lambda core: before[core] - after[core])[:count]


def pin(core: int) -> None:
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")  # the real files' UIDs are not legal
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)


def two_processes(manifest: pd.DataFrame, folders: dict[str, Path], cores: Sequence[int]) -> list[Row]:
    """Measure how many slices two processes build in a second, and how many one.

    The bound is for files in memory: a disk is shared, and two processes wait for it together.
    """
    part = manifest[:PART]
    workers = [ProcessPoolExecutor(1, get_context("fork"), pin, (core,)) for core in cores]

    def run(folder: Path, number: int) -> None:
        paths = [folder / f"process{each}.npy" for each in range(number)]
        jobs = [worker.submit(build, part, path) for worker, path in zip(workers, paths, strict=False)]
        for job in jobs:
            job.result()

    rows = []
    for where, folder in folders.items():
        ways = {count: (functools.partial(run, folder, count), count * PART) for count in (1, 2)}
        times = rounds(ways, ROUNDS)
        what = f"the same by two processes on two cores, written to {where}"
        rows.append(Row(what, times[2], "by one", times[1], least=1.8 if where == "memory" else None))
    for worker in workers:
        worker.shutdown()
    return rows


def reading(cache: Cache, scratch: Path) -> list[Row]:
    """Measure batches of a random order: read, copied, and read from a file that was written slice by slice."""
    path = cache.paths[0]
    images = np.array(np.load(path, mmap_mode="r"))
    with (scratch / "small.npy").open("wb", buffering=0) as file:
        file.write(path.read_bytes()[: path.stat().st_size - images.nbytes])
        for image in images:
            file.write(image.data)
    (scratch / "small.json").write_text(path.with_suffix(".json").read_text())
    small = Cache([scratch / "small.npy"])
    shard = np.zeros(BATCH, int)
    order = [np.array(batch) for batch in batches(SLICES, BATCH, seed=0)]
    ways = {
        "read": (each(lambda rows: cache.read(shard, rows), order)[0], SLICES),
        "copy": (each(lambda rows: torch.from_numpy(images[rows]), order)[0], SLICES),
        "small": (each(lambda rows: small.read(shard, rows), order)[0], SLICES),
    }
    times = rounds(ways, ROUNDS)
    what = f"one slice of a random batch of {BATCH} from the cache"
    return [
        Row(what, times["read"], "copying it from an array in memory", times["copy"], most=1.5),
        Row(what, times["read"], "the same from a file written slice by slice", times["small"]),
    ]


def from_two_readers(cache: Cache) -> Row:
    """Measure how many slices a second come from two readers, with their labels, on all cores."""
    cohort = pd.DataFrame({"image_id": np.arange(SLICES).astype(str), "shard": 0, "row": np.arange(SLICES)})
    dataset = SliceDataset(cohort.assign(**dict.fromkeys(CLASSES, 0)), cache)

    def run() -> None:
        with loader(dataset, batches(SLICES, BATCH, seed=0), readers=2) as read_ahead:
            for _ in read_ahead:
                pass

    speeds = [1 / seconds for seconds in rounds({"loader": (run, SLICES)}, ROUNDS)["loader"]]
    return Row(
        "batches from two readers, as training gets them, on all cores", speeds, least=8000, unit="slices a second"
    )


def from_the_disk(cache: Cache) -> Row:
    """Measure how many bytes the disk gives for each byte of some single slices that are asked for."""
    what = "bytes from the disk for each byte of single slices at random, file not in memory"
    path = cache.paths[0]
    rows = np.random.default_rng(0).permutation(SLICES)[:128]

    def given(read: Callable[[int], object]) -> float:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        before = _bytes_read()
        for row in rows.tolist():
            read(row)
        return (_bytes_read() - before) / (len(rows) * 3 * SIZE**2)

    ours = given(lambda row: cache.read(np.zeros(1, int), np.array([row])))
    mapped = given(lambda row: np.load(path, mmap_mode="r")[row].copy())
    if not mapped:
        return Row(what, [], "the files lie on no disk")
    return Row(what, [ours], "`numpy.load(mmap_mode='r')`", [mapped], most=1.2, unit="bytes")


def _bytes_read() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def instead(files: Sequence[Path], manifest: pd.DataFrame, cache: Cache, scratch: Path) -> list[Row]:
    """Measure what a user would pick otherwise, on the same slices."""
    links = scratch / "links"  # PersistentDataset keeps one image a name
    links.mkdir()
    names = [links / f"{number}.dcm" for number in range(PART // 2)]
    for number, name in enumerate(names):
        name.symlink_to(files[number % len(files)].resolve())
    order = batches(len(names), BATCH, seed=0)
    shard = np.zeros(BATCH, int)
    prepared: dict = {"ours": (lambda: build(manifest[: len(names)], scratch / "part.npy"), len(names))}
    read: dict = {"ours": (each(lambda rows: cache.read(shard, np.array(rows)), order)[0], len(names))}
    rows = []
    for title, rival in RIVALS.items():
        (scratch / title).mkdir()
        try:
            prepare, batch = rival(names, list(LEVELS.values()), SIZE, scratch / title)
        except ImportError as error:
            rows.append(Row("one slice, prepared and read", [], f"{title}: {error.name} is not installed"))
            continue
        prepared[title] = (prepare, len(names))
        read[title] = each(batch, order)[0], len(names)
    for what, ways, number in ("one slice, prepared", prepared, 3), ("one slice, read", read, ROUNDS):
        times = rounds(ways, number)
        rows += [Row(what, times["ours"], title, times[title]) for title in ways if title != "ours"]
    return rows


def main() -> str:
    everywhere = os.sched_getaffinity(0)
    cores = idlest(2)
    pin(cores[0])
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        root, kind = Path(os.environ.get("ICH_RSNA_SAMPLE", scratch)), "real"
        if root == scratch:
            kind = "synthetic"
            generate(root, patients=2, slices=(20, 20), prevalence=0.5, seed=0)
        headers = header_rows(inventory([root / "stage_2_train"]))
        headers = headers[headers["defect"] == ""]
        manifest = pd.concat([headers] * -(-SLICES // len(headers)), ignore_index=True).head(SLICES)
        manifest["row"] = range(SLICES)
        build(manifest, scratch / "0.npy")
        cache = Cache([scratch / "0.npy"])
        rows = preparing(headers, manifest, scratch)
        if len(cores) == 2:
            with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
                rows += two_processes(manifest, {"memory": Path(memory), "the disk": scratch}, cores)
        rows += reading(cache, scratch)
        os.sched_setaffinity(0, everywhere)
        rows.append(from_two_readers(cache))
        os.sched_setaffinity(0, {cores[0]})
        rivals = instead([Path(location) for location in headers["location"]], manifest, cache, scratch)
        rows += [from_the_disk(cache), *rivals]
    return (
        f"{len(headers)} {kind} slices of 512x512, {SLICES} images of {SIZE}x{SIZE} in three windows\n\n{table(rows)}"
    )


if __name__ == "__main__":
    print(machine(), file=sys.stderr)
    print(main())

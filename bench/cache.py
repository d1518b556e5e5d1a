"""Preprocessing of a slice: the paper's in every epoch, ours once and then a read. One core, warm files.

    python -m bench.cache

takes the slices of the folder in ICH_RSNA_SAMPLE, or makes some of the same size, and prints a Markdown table.
"""

import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import torch
from torchvision import transforms

from ich.cache import Cache, build_shard
from ich.data import batches
from ich.dicom import header_rows, inventory
from ich.phantom import generate

SLICES = 1024  # 154 MB of images: more than a processor's own memory
EPOCHS = 8  # of reading in a round, which is short
ROUNDS = 5
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


def seconds(work: Callable[[Any], object], items: list, slices: int) -> float:
    """Measure a piece of work on each of the items, which hold so many slices together."""
    start = time.perf_counter()
    for item in items:
        work(item)
    return (time.perf_counter() - start) / slices


def measure(headers: pd.DataFrame, scratch: Path) -> dict[str, float]:
    """Give the median seconds a slice of each way; each round runs them all, so that they share its disturbances."""
    files = [Path(location) for location in headers["location"]]
    manifest = pd.concat([headers] * -(-SLICES // len(headers)), ignore_index=True).head(SLICES)
    manifest["row"] = range(SLICES)
    shard = scratch / "0.npy"

    def build(path: Path) -> None:
        build_shard(manifest, WINDOWS, SIZE, path, path.with_suffix(".json"))

    build(shard)
    cache, images = Cache([shard]), np.load(shard)
    epochs = [np.array(batch) for epoch in range(EPOCHS) for batch in batches(SLICES, 32, seed=0, epoch=epoch)]
    ways: dict[str, tuple[Callable[[Any], object], list, int]] = {
        "paper": (paper_slice, files, len(files)),
        "decode": (lambda file: pydicom.dcmread(file).pixel_array, files, len(files)),
        "build": (build, [scratch / "1.npy"], SLICES),
        "read": (lambda rows: cache.read(np.zeros_like(rows), rows), epochs, EPOCHS * SLICES),
        "copy": (lambda rows: images[rows], epochs, EPOCHS * SLICES),
    }
    rounds = [{name: seconds(*way) for name, way in ways.items()} for _ in range(ROUNDS)]
    return {name: median(each[name] for each in rounds) for name in ways}


def machine() -> str:
    """Describe the processor."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(": ", 1)[1] for line in info if line.startswith("model name")), "unknown processor")
    return f"{model}, {os.cpu_count()} cores, one used; torch {torch.__version__}, pydicom {pydicom.__version__}"


def main() -> None:
    print(machine())
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="pydicom")  # the real files' UIDs are not legal
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        root, kind = Path(os.environ.get("ICH_RSNA_SAMPLE", scratch)), "real"
        if root == scratch:
            kind = "synthetic"
            generate(root, patients=2, slices=(20, 20), prevalence=0.5, seed=0)
        headers = header_rows(inventory([root / "stage_2_train"]))
        headers = headers[headers["defect"] == ""]
        times = measure(headers, scratch)
        print(f"{len(headers)} {kind} slices of 512x512; {SLICES} images of {SIZE}x{SIZE}x3\n")
    print("| one slice | microseconds | the paper's is so many times as long |\n|---|---:|---:|")
    for name, title in {
        "paper": "the paper's preprocessing, in every epoch",
        "build": "our cache, built once: read, decode, window, resize, write",
        "decode": "bound of it: `dcmread(...).pixel_array` alone",
        "read": "our read from the cache, at random, batches of 32",
        "copy": "bound of it: the same batches copied from memory",
    }.items():
        print(f"| {title} | {times[name] * 1e6:,.1f} | {times['paper'] / times[name]:,.1f} |")


if __name__ == "__main__":
    main()

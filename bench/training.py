"""Training on the CPU: our loop against a bare one on tensors already in memory, and the time it waits for data.

    python -m bench.training

takes some minutes. Rounds of the loops take turns, so that they share the machine's disturbances.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from bench.cache import SIZE, WINDOWS
from ich.base.classes import CLASSES
from ich.images.cache import Cache
from ich.images.windowing import to_float
from ich.models.backbones import build
from ich.training.data import SliceDataset, batches, reading_threads
from ich.training.device import prepare
from ich.training.learner import Learner
from ich.training.loop import train_one_epoch
from ich.training.optimisation import make_optimizer
from ich.training.progress import Progress

MODELS = "resnet18", "densenet121"
BATCH = 32
STEPS = 2  # in a round of a loop
ROUNDS = 7
OPTIMIZER = {"name": "adam", "learning_rate": 1e-4, "weight_decay": 0.0}
AUGMENTATION = {"horizontal_flip": 0.5, "vertical_flip": 0.5, "rotation": 10.0}


def made_up(folder: Path, slices: int) -> SliceDataset:
    """Write a cache of noise, whose content no loop's speed depends on."""
    random = np.random.default_rng(0)
    np.save(folder / "0.npy", random.integers(0, 256, (slices, len(WINDOWS), SIZE, SIZE), dtype=np.uint8))
    sidecar = {"sha256": "", "windows": WINDOWS, "size": SIZE, "slices": slices, "failed": []}
    (folder / "0.json").write_text(json.dumps(sidecar))
    cohort = pd.DataFrame({"image_id": [f"ID_{row}" for row in range(slices)], "shard": 0, "row": range(slices)})
    cohort[list(CLASSES)] = random.integers(0, 2, (slices, len(CLASSES)))
    return SliceDataset(cohort, Cache([folder / "0.npy"]))


def our_loop(dataset: SliceDataset, learner: Learner, readers: int, batch_size: int) -> Callable[[], dict[str, float]]:
    """Give a function that trains an epoch and says how its seconds were spent."""
    epoch = 0

    def run() -> dict[str, float]:
        nonlocal epoch
        epoch += 1
        progress = Progress(epoch=epoch)
        cut = batches(len(dataset), batch_size, 1, epoch)
        train_one_epoch(learner, 1e-4, dataset, cut, AUGMENTATION, 1, readers, progress, lambda: None)
        return progress.seconds

    return run


def bare_loop(
    network: nn.Module, updates: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor
) -> Callable[[], object]:
    """Give a function that trains some steps on the same images, which are ready."""
    network.train()

    def run() -> None:
        for _ in range(STEPS):
            loss = F.binary_cross_entropy_with_logits(network(images), labels)
            updates.zero_grad()
            loss.backward()
            updates.step()

    return run


def measure(dataset: SliceDataset, model: str) -> dict[str, float]:
    """Give the median seconds a step of each loop, and the share of ours that it waits."""
    images, labels, _ = dataset.read([*range(BATCH)])
    images, device = to_float(images), torch.device("cpu")
    ours, same = (build(model, channels=len(WINDOWS)).to(memory_format=torch.channels_last) for _ in range(2))
    plain = torchvision.models.get_model(model, num_classes=len(CLASSES))
    learner = Learner(ours, make_optimizer(ours, **OPTIMIZER), torch.float32, device)
    loops: dict[str, Callable] = {
        "ours": our_loop(dataset, learner, reading_threads(torch.get_num_threads()), BATCH),
        "same": bare_loop(same, make_optimizer(same, **OPTIMIZER), images, labels),
        "plain": bare_loop(plain, torch.optim.Adam(plain.parameters(), lr=1e-4), images, labels),
    }
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    spent = []
    for number in range(ROUNDS + 1):
        for name, loop in loops.items():
            start = time.perf_counter()
            said = loop()
            if number:  # the first round warms up
                seconds[name].append((time.perf_counter() - start) / STEPS)
                spent += [said] if name == "ours" else []
    waiting = sum(each["waiting"] for each in spent) / sum(sum(each.values()) for each in spent)
    ratios = [ours / same for ours, same in zip(seconds["ours"], seconds["same"], strict=True)]
    return {name: median(each) for name, each in seconds.items()} | {"ratio": median(ratios), "waiting": waiting}


def main() -> str:
    """Measure, and give a Markdown table."""
    threads = len(os.sched_getaffinity(0))
    prepare(seed=1, threads=threads)
    lines = [
        f"{BATCH} slices of {SIZE} pixels a step, Adam, float32, {threads} threads; medians of {ROUNDS} rounds of "
        f"{STEPS} steps. torch {torch.__version__}. Ours reads, flips and rotates; the others have floats in memory.",
        "",
        "| model | our step | bare loop, our network and optimizer | ratio (at most 1.05) | bare loop, torchvision's "
        "network | waiting for data (at most 3%) |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as name:
        dataset = made_up(Path(name), STEPS * BATCH)
        for model in MODELS:
            each = measure(dataset, model)
            lines.append(
                f"| {model} | {each['ours']:.3f} s | {each['same']:.3f} s | {each['ratio']:.3f} "
                f"| {each['plain']:.3f} s | {each['waiting']:.2%} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    print(main())

"""Training on a GPU: our loop against its bound, and against the loop that the paper describes.

    python -m bench.gpu

says so where there is no GPU. The bound is the same network in the same precision on tensors that lie on the device.
The paper's loop decodes and windows each slice in every epoch, in the process that trains, and computes in float32.
"""

import itertools
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from bench.cache import SIZE, WINDOWS, paper_slice
from bench.training import BATCH, MODELS, OPTIMIZER, made_up, our_loop
from ich.base.classes import CLASSES
from ich.models.backbones import build
from ich.phantom.dataset import generate
from ich.training.data import reading_threads
from ich.training.device import number_type, prepare
from ich.training.learner import Learner
from ich.training.optimisation import make_optimizer

SLICES = 8192  # of an epoch
LARGE = 256  # a batch that fills a large GPU; the paper's is BATCH
STEPS = 60  # of the bound in a round
ROUNDS = 5
PAPER_BATCHES = 4


def bound(learner: Learner, batch_size: int) -> Callable[[], int]:
    """Give a function that trains on one batch that lies on the device, and says how many slices it has shown."""
    images = torch.rand(batch_size, len(WINDOWS), SIZE, SIZE, device=learner.device)
    labels = torch.randint(0, 2, (batch_size, len(CLASSES)), device=learner.device).float()

    def run() -> int:
        learner.network.train()
        for _ in range(STEPS):
            learner.step(images, labels)
        torch.cuda.synchronize()
        return STEPS * batch_size

    return run


def papers_loop(model: str, paths: list[Path], device: torch.device) -> Callable[[], int]:
    """Give a function that trains some batches as the paper describes, and says how many slices it has shown."""
    network: nn.Module = torchvision.models.get_model(model, num_classes=len(CLASSES)).to(device)
    updates = torch.optim.Adam(network.parameters(), lr=1e-4)
    files = itertools.cycle(paths)

    def run() -> int:
        for _ in range(PAPER_BATCHES):
            images = torch.stack([paper_slice(next(files)) for _ in range(BATCH)]).float().to(device)
            labels = torch.zeros(BATCH, len(CLASSES), device=device)
            loss = F.binary_cross_entropy_with_logits(network(images), labels)
            updates.zero_grad()
            loss.backward()
            updates.step()
            loss.item()
        return PAPER_BATCHES * BATCH

    return run


def speed(loops: dict[str, Callable[[], int]]) -> dict[str, float]:
    """Give the median slices a second of each loop; rounds take turns, and the first warms up."""
    found: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(ROUNDS + 1):
        for name, loop in loops.items():
            start = time.perf_counter()
            slices = loop()
            found[name].append(slices / (time.perf_counter() - start))
    return {name: median(each[1:]) for name, each in found.items()}


def main() -> str:
    """Measure, and give a Markdown table; without a GPU, say so."""
    if not torch.cuda.is_available():
        return "no GPU"
    device = prepare(seed=1, threads=None)
    readers = reading_threads(len(os.sched_getaffinity(0)))
    dtype = number_type("auto", device)
    lines = [
        f"{torch.cuda.get_device_name(device)}, {readers} reading threads, {str(dtype).removeprefix('torch.')}, "
        f"torch {torch.__version__}; images of {SIZE} pixels, Adam; slices a second, medians of {ROUNDS} rounds.",
        "",
        "| model | batch | ours | bound: on the device | ours / bound (at least 0.9) | the paper's loop, batches of "
        f"{BATCH} | ours / paper's (at least 20) |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    warnings.filterwarnings("ignore", module="pydicom")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        dataset = made_up(scratch, SLICES)
        generate(scratch / "dicom", patients=4, slices=(32, 32), prevalence=0.5, seed=0)
        paths = sorted((scratch / "dicom").rglob("*.dcm"))
        for model, batch_size in itertools.product(MODELS, (BATCH, LARGE)):

            def learner(model: str = model) -> Learner:
                network = build(model, channels=len(WINDOWS)).to(device).to(memory_format=torch.channels_last)
                return Learner(network, make_optimizer(network, **OPTIMIZER), dtype, device)

            epoch = our_loop(dataset, learner(), readers, batch_size)
            loops = {
                "ours": lambda epoch=epoch: len(dataset) if epoch() else 0,
                "bound": bound(learner(), batch_size),
                "paper": papers_loop(model, paths, device),
            }
            each = speed(loops)
            lines.append(
                f"| {model} | {batch_size} | {each['ours']:,.0f} | {each['bound']:,.0f} | "
                f"{each['ours'] / each['bound']:.2f} | {each['paper']:,.0f} | {each['ours'] / each['paper']:.0f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    print(main())

"""A training as a program of its own, for tests that start several processes or kill one.

    tests/unit/trainer.py FOLDER PROCESSES [name=value ...]

trains on the cache in FOLDER by SETTINGS, with the state in FOLDER/resume, and writes the artifacts into FOLDER. With
`plain=1` the network has no batch normalisation.
"""

import json
import logging
import multiprocessing
import os
import re
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn

from ich.images.cache import Cache
from ich.training import loop, outcome
from ich.training.data import SliceDataset
from ich.training.distributed import join, launch
from ich.training.resume import Resume
from tests.unit.slices import SETTINGS, made_up


def plain(name, channels):
    """A network without batch normalisation, whose gradient does not depend on how a batch is shared out."""
    layers = nn.Conv2d(channels, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 5, stride=2), nn.ReLU()
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 5 * 5, 6))


class Recording(SliceDataset):
    """Notes each slice that is read for training, and takes a while to read."""

    seen: list[int]
    pause = 0.0

    def __init__(self, cohort, cache):
        super().__init__(cohort, cache)
        self.seen = []
        if (cohort["part"] == "train").all():
            Recording.training = self

    def read(self, indices):
        self.seen += indices
        time.sleep(Recording.pause)
        return super().read(indices)


def main(folder, processes, **options):
    """Train, and write what came of it."""
    folder = Path(folder)
    options = {name: json.loads(value) for name, value in options.items()}
    launch(int(processes), options.pop("nodes", 1))
    Recording.pause = options.pop("pause", 0.0)
    minutes = options.pop("checkpoint_minutes", 10)
    if options.pop("plain", False):
        loop.build = plain
    loop.SliceDataset = Recording
    settings = SETTINGS | options
    with join() as world:
        logging.basicConfig(level=logging.INFO if world.rank == 0 else logging.ERROR, format="%(message)s")
        _, cohort = made_up()
        cache = Cache([folder / "0000.npy"])
        name = outcome.fingerprint(cohort, cache, **settings, processes=world.size)
        with Resume(folder / "resume", name, settings) if world.rank == 0 else nullcontext() as resume:
            trained = loop.train(
                cohort, cache, **settings, readers=2, world=world, resume=resume, checkpoint_minutes=minutes
            )
            torch.save((trained.state, Recording.training.seen), folder / f"rank{world.rank}.pt")
            if resume:
                files = {"weights": "weights.safetensors", "history": "history.csv", "facts": "model.json"}
                outcome.save_model(trained, **{key: folder / value for key, value in files.items()})
                resume.discard()


class Running:
    """One process that trains, forked from one that has made all imports, which take seconds."""

    def __init__(self, folder, options):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        reader, writer = context.Pipe(duplex=False)
        self.process = context.Process(target=_speaking_to, args=(writer, folder, options))
        self.process.start()
        writer.close()
        self.stdout = os.fdopen(os.dup(reader.fileno()))

    def send_signal(self, number):
        """Send a signal."""
        os.kill(self.process.pid, number)

    def wait(self):
        """Give the exit status, or minus the signal that ended the process."""
        self.process.join()
        return self.process.exitcode


def _speaking_to(writer, folder, options):
    for stream in (1, 2):
        os.dup2(writer.fileno(), stream)
    writer.close()
    main(folder, 1, **options)


def start(folder, processes=1, **options):
    """Start a training in one process, or in several under torchrun; what it says comes through `stdout`."""
    options = {name: json.dumps(value) for name, value in options.items()}
    if processes == 1:
        return Running(folder, options)
    words = [f"{name}={value}" for name, value in options.items()]
    return subprocess.Popen(
        [sys.executable, __file__, str(folder), str(processes), *words],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def run(folder, processes=1, send=None, after="", **options):
    """Run a training, and send it a signal once it has said something. Gives its exit status and its words."""
    process, words = start(folder, processes, **options), ""
    for line in process.stdout:
        words += line
        if send and re.search(after, line):
            process.send_signal(send)
            send = None
    return process.wait(), words


if __name__ == "__main__":
    main(*sys.argv[1:3], **dict(argument.split("=", 1) for argument in sys.argv[3:]))

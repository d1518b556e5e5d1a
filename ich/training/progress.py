"""How far a training has come, how its time was spent, and when its state is saved."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from tqdm import tqdm

from ich.models.weights import State
from ich.training.data import Batch
from ich.training.distributed import World
from ich.training.lease import Interrupted
from ich.training.resume import Resume


@dataclass
class Progress:
    """With weights and optimizer, all that a training needs to go on.

    Attributes
    ----------
    epoch, batch : int
        The epoch in hand, from 1, and how many of its batches are done.
    loss : float
        Sum over the slices of these batches, in nats.
    history, epochs : list of dict
        A row for each finished epoch, as in history.csv; what was measured in it, as in model.json.
    best_score, best_epoch, best_state
        The best epoch so far.
    seconds : dict of str to float
        Of the epoch in hand, by what they were spent on.
    seconds_before : float
        Of the finished epochs.
    resumed : int
        How often the training was taken up again.
    mark : float
        When the last lap ended, by a clock that is this process's own.
    """

    epoch: int = 1
    batch: int = 0
    loss: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    epochs: list[dict[str, float]] = field(default_factory=list)
    best_score: float = -math.inf
    best_epoch: int = 0
    best_state: State = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    seconds_before: float = 0.0
    resumed: int = 0
    mark: float = field(default_factory=time.perf_counter)

    def lap(self, name: str) -> None:
        """Add the time since the last lap to the seconds spent on `name`."""
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self.mark
        self.mark = now

    def laps(self, read: Iterator[Batch]) -> Iterator[Batch]:
        """Pass batches on: the time until one comes is spent on `waiting`, that until the next is asked for not."""
        self.lap("training")
        for batch in read:
            self.lap("waiting")
            yield batch
            self.lap("training")

    def end_epoch(self, row: dict[str, float], measured: dict[str, float], slices: int) -> dict[str, float]:
        """Go on to the next epoch.

        Parameters
        ----------
        row : dict
            Of the history.
        measured : dict
            What was measured besides the time.
        slices : int
            How many were shown to the network.

        Returns
        -------
        dict
            What was measured in the epoch: `epoch`, `seconds` in all, `slices_per_second` and `waiting_share` (0 to 1)
            while training, and `measured`.
        """
        self.lap("validation")
        total, training = sum(self.seconds.values()), self.seconds["training"] + self.seconds["waiting"]
        pace = {"slices_per_second": slices / training, "waiting_share": self.seconds["waiting"] / training}
        self.history.append(row)
        self.epochs.append({"epoch": self.epoch, "seconds": total, **pace, **measured})
        self.seconds_before += total
        self.seconds.clear()
        self.epoch, self.batch, self.loss = self.epoch + 1, 0, 0.0
        return self.epochs[-1]


@dataclass
class Keeper:
    """Saves the state of a training at times, and when the job is told to stop.

    Parameters
    ----------
    progress : Progress
    state : function
        Gives the rest of the state. Every process calls it, at the same time.
    world : World
    resume : Resume or None
        Where it is kept, of the first process. None keeps nothing.
    minutes : float
        Minutes between two states.
    """

    progress: Progress
    state: Callable[[], dict[str, Any]]
    world: World
    resume: Resume | None
    minutes: float
    saved: float = field(default_factory=time.monotonic)

    def look(self) -> None:
        """Save if it is time, or if the job is to stop, and then stop. All processes look together.

        Raises
        ------
        Interrupted
            Once the state is saved.
        """
        due = self.resume is not None and time.monotonic() - self.saved >= 60 * self.minutes
        stop = self.world.any(self.resume is not None and self.resume.stop)
        if stop or self.world.any(due):
            self.save()
            logging.info("state saved: epoch %d, batch %d", self.progress.epoch, self.progress.batch)
        if stop:
            raise Interrupted(
                f"told to stop. The state after batch {self.progress.batch} of epoch {self.progress.epoch} is saved; "
                "a new run goes on from there."
            )

    def save(self) -> None:
        """Save the state."""
        self.progress.lap("training")
        state = self.state()
        if self.resume:
            self.resume.save(state | {"progress": vars(self.progress)})
        self.saved = time.monotonic()
        self.progress.lap("saving")


LOOK_EVERY = 50  # batches between two looks at the losses on a GPU: each look waits until the GPU has caught up


def look_every(device: torch.device) -> int:
    """Give the number of batches between two looks at the losses, and at whether the job is to stop."""
    return LOOK_EVERY if device.type == "cuda" else 1


def bar(read: Iterator[Batch], label: str, total: int, done: int = 0) -> Iterator[Batch]:
    """Show a bar on a terminal, and nothing elsewhere: logs have a line an epoch."""
    return tqdm(read, desc=label, unit="batch", total=total, initial=done, leave=False, disable=None)

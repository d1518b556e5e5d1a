"""What a model is fed: slices in batches, and random changes of the training images.

The order of the slices is a pure function of (seed, epoch), and their changes are one of (seed, epoch, batch): so a
training can go on in the middle of an epoch, and processes can share it, as if nothing had been.
"""

import logging
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ich.base.classes import CLASSES
from ich.base.errors import InputError
from ich.images.cache import Cache
from ich.training.distributed import ALONE, World

AHEAD = 2  # batches that wait for each reader
SPARE = 2**30  # bytes that a copy of a cache leaves free on its disk
MOST_READERS = 8  # one reads tens of thousands of slices a second from memory; more help where a disk is slow

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class SliceDataset:
    """Slices of a cohort with their images and labels, a batch at a time. Threads may read at the same time.

    Parameters
    ----------
    cohort : DataFrame
        The cohort's rows to use, commonly those of one part.
    cache : Cache
        Their images. Slices in `cache.failed` are left out, and said so.

    Attributes
    ----------
    rows : DataFrame
        The cohort's rows in use; the indices of a batch count them from 0.

    Raises
    ------
    InputError
        No slice is left.
    """

    def __init__(self, cohort: pd.DataFrame, cache: Cache):
        failed = cohort["image_id"].isin(cache.failed)
        if failed.any():
            logging.warning("%d of %d slices have no image in the cache and are left out", failed.sum(), len(cohort))
        if failed.all():
            raise InputError(
                "there is no slice with an image to train on or to predict; data/cohort.csv has the counts"
            )
        self.rows = cohort[~failed].reset_index(drop=True)
        self.cache = cache
        self._shard = self.rows["shard"].to_numpy()
        self._row = self.rows["row"].to_numpy()
        self._labels = torch.from_numpy(self.rows[list(CLASSES)].to_numpy(np.float32, copy=True))

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: list[int]) -> Batch:
        """Read a batch.

        Parameters
        ----------
        indices : list of int
            Positions in `rows`.

        Returns
        -------
        images : uint8 tensor [n, channel, height, width]
        labels : float32 tensor [n, class]
        indices : int64 tensor [n]
        """
        chosen = torch.tensor(indices)
        return self.cache.read(self._shard[indices], self._row[indices]), self._labels[chosen], chosen


def batches(slices: int, batch_size: int, seed: int | None, epoch: int = 0, least: int = 2) -> list[list[int]]:
    """Cut the indices of all slices into batches, each index once.

    Parameters
    ----------
    slices : int
        Number of slices.
    batch_size : int
        Slices in a batch; the last batch has what remains.
    seed : int or None
        Seed of a training order: random across all slices, and another in each epoch. None keeps the order of the
        slices.
    epoch : int
        Number of the epoch.
    least : int
        Fewest slices of a training batch: a smaller remainder joins the batch before it. Batch normalisation cannot
        train on a single slice, so every process that takes part needs two.

    Returns
    -------
    list of lists of int

    Raises
    ------
    InputError
        A training order of fewer than `least` slices.
    """
    cuts = list(range(batch_size, slices, batch_size))
    order = np.arange(slices)
    if seed is not None:
        if min(slices, batch_size) < least:
            raise InputError(
                f"a batch of {min(slices, batch_size)} of the {slices} slices of the training part is too small: batch "
                f"normalisation needs {least}, two for each process. Use more data, larger batches or fewer processes."
            )
        order = np.random.default_rng([seed, epoch]).permutation(slices)
        if cuts and slices - cuts[-1] < least:
            cuts.pop()
    return [batch.tolist() for batch in np.split(order, cuts)]


@contextmanager
def loader(
    dataset: SliceDataset, batches: list[list[int]], readers: int = 0, pinned: bool = False
) -> Iterator[Iterator[Batch]]:
    """Give batches in their order, read ahead by threads.

    Reading from the cache leaves Python's lock to the other threads nearly all the time. At the end of the block all
    readers have ended, whatever ended it. An error of a reader is raised where its batch would have come.

    Parameters
    ----------
    dataset : SliceDataset
        The slices.
    batches : list of lists of int
        From `batches`, or some of them.
    readers : int
        Threads that read ahead, together at most `AHEAD` batches a thread; with 0 this thread reads, which makes
        errors easiest to follow.
    pinned : bool
        Put images and labels into page-locked memory, from where they go to a GPU while it computes.

    Yields
    ------
    iterator of (images, labels, indices) as from `SliceDataset.read`
    """

    def read(indices: list[int]) -> Batch:
        images, labels, positions = dataset.read(indices)
        return (
            (images.pin_memory(), labels.pin_memory(), positions.pin_memory())
            if pinned
            else (images, labels, positions)
        )

    if not readers:
        yield map(read, batches)
        return
    threads = ThreadPoolExecutor(readers, thread_name_prefix="reader")
    try:
        yield _read_ahead(threads, read, batches, AHEAD * readers)
    finally:
        threads.shutdown(cancel_futures=True)


def _read_ahead(
    threads: Executor, read: Callable[[list[int]], Batch], batches: list[list[int]], most: int
) -> Iterator[Batch]:
    waiting: deque[Future[Batch]] = deque()
    for indices in batches:
        waiting.append(threads.submit(read, indices))
        if len(waiting) > most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@contextmanager
def nearby(cache: Cache, folder: str, world: World = ALONE) -> Iterator[Cache]:
    """Check a cache, and copy it to a disk of this machine while it is in use, where one with room for it is named.

    Parameters
    ----------
    cache : Cache
    folder : str
        A folder on that disk. Variables of the environment are filled in (`$TMPDIR`). Empty for no copy.
    world : World
        The processes that use it. The first on each machine makes a copy for those there.

    Yields
    ------
    Cache
        The copy; or `cache`, and a line in the log, where none can be made. All checksums hold.

    Raises
    ------
    InputError
        A shard is not what was written.
    """
    used = cache
    with ExitStack() as until_used:
        if folder and world.local == 0:
            place, size = os.path.expandvars(folder), sum(path.stat().st_size for path in cache.paths)
            try:
                if shutil.disk_usage(place).free < size + SPARE:
                    raise OSError(f"{place} has no room for {size / 1e9:.1f} GB")
                copies = Path(until_used.enter_context(tempfile.TemporaryDirectory(prefix="ich-cache-", dir=place)))
                for path in cache.paths:
                    for each in (path, path.with_suffix(".json")):
                        shutil.copyfile(each, copies / each.name)
                copied = Cache([copies / path.name for path in cache.paths])
                copied.verify()
                used = copied
                logging.info("the cache, %.1f GB, is read from a copy in %s", size / 1e9, copies)
            except (OSError, InputError) as error:
                logging.warning("the cache is read from where it is, without a copy: %s", error)
        if used is cache and world.local == 0:
            cache.verify()
        yield Cache(world.from_first_here(used.paths))


def reading_threads(threads: int) -> int:
    """Choose how many threads read ahead for a job of so many: one beside a computation on the CPU, which uses all."""
    return min(threads, MOST_READERS) if torch.cuda.is_available() else 1

"""The training loop, read from top to bottom."""

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ich.base.classes import CLASSES
from ich.base.errors import InputError
from ich.images.cache import Cache
from ich.models.backbones import build
from ich.models.weights import description, load_weights
from ich.training.augmentation import augment, draws
from ich.training.data import SliceDataset, batches, loader
from ich.training.device import number_type, prepare
from ich.training.distributed import ALONE, World
from ich.training.inference import infer, validation_metrics
from ich.training.learner import Learner
from ich.training.optimisation import learning_rate, make_optimizer
from ich.training.outcome import Trained, copy_state, facts_of
from ich.training.progress import Keeper, Progress, bar, look_every
from ich.training.resume import Resume
from ich.training.watch import event_files, gpu_use


def train(
    cohort: pd.DataFrame,
    cache: Cache,
    *,
    model: str,
    weights: str | Path | None,
    epochs: int,
    batch_size: int,
    optimizer: Mapping[str, Any],
    schedule: Mapping[str, Any],
    augmentation: Mapping[str, float],
    seed: int,
    precision: str = "auto",
    compile: bool = False,
    readers: int = 0,
    threads: int | None = None,
    world: World = ALONE,
    resume: Resume | None = None,
    checkpoint_minutes: float = 10,
    events: str | Path | None = None,
) -> Trained:
    """Train one model on the training part and keep the epoch that is best on the validation part.

    The best epoch has the highest mean ROC AUC on validation or, where no class has both labels there, the lowest
    loss; of equals the first. On the CPU, equal arguments give equal weights, bit for bit, whatever `readers` is and
    however often the training was interrupted; another number of threads adds up in another order and may change last
    digits.

    Parameters
    ----------
    cohort : DataFrame
        image_id, patient_id, part, the six labels, shard and row; the part `test` is not looked at.
    cache : Cache
        Images of these slices.
    model : str
        One of `models.MODELS`.
    weights : path or None
        Initial weights (`models.load_weights`); None for random ones.
    epochs, batch_size : int
        Passes over the training part; slices in a batch, over all processes.
    optimizer : mapping
        Arguments of `make_optimizer`.
    schedule : mapping
        Arguments of `learning_rate`.
    augmentation : mapping
        Probabilities and the angle, as of `data.augment`.
    seed : int
        Of weights, order and augmentation.
    precision : {"auto", "float32", "bfloat16", "float16"}
        As of `number_type`.
    compile : bool
        Compile the network by torch.compile.
    readers : int
        Threads that read ahead; with 0 this one reads.
    threads : int or None
        Threads of a computation on the CPU; None leaves it to PyTorch.
    world : World
        The processes that train together. All of them call this function with equal arguments, but for `resume`.
    resume : Resume or None
        Where the first process keeps the state of the training: at the end of each epoch, every `checkpoint_minutes`,
        and when it is told to stop. None keeps none.
    checkpoint_minutes : float
        Minutes between two states within an epoch.
    events : path or None
        Folder of the event files for TensorBoard.

    Returns
    -------
    Trained

    Raises
    ------
    InputError
        A part has no images, initial weights do not fit, or the loss is no longer finite: with epoch, batch and
        image_ids. The state that was kept last is one of finite losses.
    Interrupted
        The job was told to stop. The state is kept.
    """
    progress = Progress()
    device = prepare(seed, threads)
    training = SliceDataset(cohort[cohort["part"] == "train"], cache)
    validation = SliceDataset(cohort[cohort["part"] == "validation"], cache)
    described = description(model, cache.windows, cache.size)
    network = build(model, channels=len(cache.windows))
    if weights is not None:
        load_weights(network, weights, described)
    network.to(device).to(memory_format=torch.channels_last)  # the faster layout, on the CPU too
    updates = make_optimizer(network, **optimizer)
    learner = Learner(network, updates, number_type(precision, device), device, world, compile)
    facts = described | {"seed": seed} | facts_of(network, {"train": training, "validation": validation}, learner)
    facts["configuration"] = {
        "model": model,
        "weights": None if weights is None else str(weights),
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": dict(optimizer),
        "schedule": dict(schedule),
        "augmentation": dict(augmentation),
        "seed": seed,
        "precision": precision,
        "compile": compile,
    }
    logging.info("training %s on %s slices of %s patients", model, facts["slices"], facts["patients"])

    state = world.from_first(resume.load() if resume else None)
    if state:
        progress = Progress(**state["progress"] | {"resumed": state["progress"]["resumed"] + 1, "mark": progress.mark})
        learner.load(state)
        logging.info("going on in epoch %d, after batch %d", progress.epoch, progress.batch)
    keeper = Keeper(progress, learner.state, world, resume, checkpoint_minutes)

    with event_files(events if world.rank == 0 else None, progress.epoch) as write_events, gpu_use(device) as gpu:
        while progress.epoch <= epochs:
            epoch = progress.epoch
            rate = learning_rate(epoch, epochs, optimizer["learning_rate"], **schedule)
            cut = batches(len(training), batch_size, seed, epoch, least=2 * world.size)
            progress.lap("start")
            train_one_epoch(learner, rate, training, cut, augmentation, seed, readers, progress, keeper.look)
            row = {"epoch": epoch, "learning_rate": rate, "train_loss": progress.loss / len(training)}

            world.average_statistics(network)
            label = f"epoch {epoch}, validation"
            logits = infer(network, validation, batch_size, readers, learner.dtype, device, label, world, keeper.look)
            row |= validation_metrics(logits, validation.rows[list(CLASSES)].to_numpy())

            score = row["validation_roc_auc"]
            if math.isnan(score):
                score = -row["validation_loss"]
                if epoch == 1:
                    logging.warning("no class has both labels in validation: the best epoch is that of least loss")
            if score > progress.best_score:
                progress.best_score, progress.best_epoch = score, epoch
                progress.best_state = copy_state(network)

            measured = progress.end_epoch(row, gpu(), len(training))
            write_events({name: value for name, value in (row | measured).items() if name != "epoch"}, epoch)
            keeper.save()
            logging.info(
                f"epoch {epoch} of {epochs}: learning rate {rate:.3g}, train loss {row['train_loss']:.4f}, "
                f"validation loss {row['validation_loss']:.4f}, ROC AUC {row['validation_roc_auc']:.4f}"
                f"{' (best so far)' if progress.best_epoch == epoch else ''}, {measured['seconds']:.1f} s, "
                f"{measured['slices_per_second']:,.1f} slices/s, {measured['waiting_share']:.1%} waiting for data"
            )
    seconds = progress.seconds_before + sum(progress.seconds.values())
    history = pd.DataFrame(progress.history)
    return Trained(progress.best_state, history, progress.best_epoch, progress.epochs, seconds, progress.resumed, facts)


def train_one_epoch(
    learner: "Learner",
    rate: float,
    dataset: SliceDataset,
    cut: list[list[int]],
    augmentation: Mapping[str, float],
    seed: int,
    readers: int,
    progress: Progress,
    look: Callable[[], None],
) -> None:
    """Show the network what `progress` leaves of an epoch, each slice once.

    Each process takes its share of every batch, changed as in the whole, so that the steps are those of one process.

    Raises
    ------
    InputError
        The loss of a batch is not finite.
    """
    learner.network.train()
    world, device, epoch = learner.world, learner.device, progress.epoch
    for group in learner.updates.param_groups:
        group["lr"] = rate
    losses: list[torch.Tensor] = []
    left = [world.share(batch) for batch in cut[progress.batch :]]
    with loader(dataset, left, readers, pinned=device.type == "cuda") as read:
        shown = bar(progress.laps(read), f"epoch {epoch}", len(cut), progress.batch)
        for number, (images, labels, indices) in enumerate(shown, start=progress.batch + 1):
            images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            slices = len(cut[number - 1])
            change = draws(slices, seed, epoch, number)[:, world.rank :: world.size].to(device, non_blocking=True)
            losses.append(learner.step(augment(images, change, **augmentation), labels, len(indices) / slices))
            if number % look_every(device) == 0 or number == len(cut):
                count(losses, progress, cut, dataset, world)
                look()


def count(
    losses: list[torch.Tensor], progress: Progress, cut: list[list[int]], dataset: SliceDataset, world: World
) -> None:
    """Count the batches of these losses as done once all are seen to be finite; the device has then caught up.

    Raises
    ------
    InputError
        One is not: names the first such batch.
    """
    for value in world.sum(torch.stack(losses)).tolist():
        batch = cut[progress.batch]
        if not math.isfinite(value):
            names = ", ".join(dataset.rows["image_id"].iloc[batch])
            raise InputError(
                f"training stopped: the loss is {value} in epoch {progress.epoch}, batch {progress.batch + 1}, whose "
                f"slices are {names}. Lower optimizer.learning_rate, or look at these images."
            )
        progress.loss += value * len(batch)
        progress.batch += 1
    losses.clear()

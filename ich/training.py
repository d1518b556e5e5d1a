"""The training loop, read from top to bottom."""

import ctypes
import hashlib
import json
import logging
import math
import os
import platform
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors
import sklearn
import torch
import torchvision
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from ich.cache import Cache
from ich.data import Batch, SliceDataset, augment, batches, draws, loader, to_float
from ich.distributed import ALONE, World
from ich.errors import InputError
from ich.files import write_csv, write_json
from ich.labels import CLASSES
from ich.models import State, build, description, load_weights, save_weights
from ich.progress import Keeper, Progress
from ich.resume import Resume
from ich.watch import event_files, gpu_use

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
LOOK_EVERY = 50  # batches between two looks at the losses on a GPU: each look waits until the GPU has caught up


@dataclass(frozen=True)
class Trained:
    """What a training gives.

    Attributes
    ----------
    state : dict of str to Tensor
        State dict of the best epoch: copies on the CPU.
    history : DataFrame
        A row an epoch: epoch (from 1), learning_rate, train_loss (in training mode, augmented), validation_loss,
        validation_roc_auc (mean over the classes with both labels) and validation_roc_auc_{class}; losses in nats, mean
        over slices and classes. It has no clock in it: equal runs give equal tables.
    best_epoch : int
        The epoch of `state`.
    epochs : list of dict
        What was measured in each epoch: `epoch`, `seconds` (validation included), `slices_per_second` and
        `waiting_share` (0 to 1, of the time) while training; on a GPU `gpu_memory_bytes` (most in use) and, if known,
        `gpu_utilisation` (0 to 1).
    seconds : float
        Seconds of the whole training, those before an interruption included.
    resumed : int
        How often it was taken up again.
    facts : dict
        What was trained on what; goes into model.json.
    """

    state: State
    history: pd.DataFrame
    best_epoch: int
    epochs: list[dict[str, float]]
    seconds: float
    resumed: int
    facts: dict[str, Any]


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
    facts = described | {"seed": seed} | _facts(network, {"train": training, "validation": validation}, learner)
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


class Learner:
    """A network that learns.

    Parameters
    ----------
    network : nn.Module
        On its device.
    updates : Optimizer
        Of its weights.
    dtype : torch.dtype
        What layers compute in that can do so safely; weights and sums stay float32.
    device, world, compile
        As of `train`.
    """

    def __init__(
        self,
        network: nn.Module,
        updates: torch.optim.Optimizer,
        dtype: torch.dtype,
        device: torch.device,
        world: World = ALONE,
        compile: bool = False,
    ):
        self.network, self.updates, self.dtype, self.device, self.world = network, updates, dtype, device, world
        wrapped = world.wrap(network)
        self.forward = torch.compile(wrapped) if compile else wrapped
        # float16 ends at 6e-8: gradients are scaled up, and a step that overflows is passed over
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    def step(self, images: torch.Tensor, labels: torch.Tensor, share: float = 1.0) -> torch.Tensor:
        """Learn from a batch.

        Parameters
        ----------
        images : float32 tensor [n, channel, height, width]
        labels : float32 tensor [n, class]
        share : float
            This process's part of the slices of the batch.

        Returns
        -------
        float32 tensor
            The mean loss before the step, times `share`: its sum over the processes is the loss of the batch.
        """
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits = self.forward(images)
        loss = F.binary_cross_entropy_with_logits(logits.float(), labels) * share
        self.updates.zero_grad()
        self.scaler.scale(loss * self.world.size).backward()  # gradients are averaged over the processes
        self.scaler.step(self.updates)
        self.scaler.update()
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """Give all that `load` needs."""
        self.world.average_statistics(self.network)
        return {
            "network": self.network.state_dict(),
            "updates": self.updates.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.network.load_state_dict(state["network"])
        self.updates.load_state_dict(state["updates"])
        self.scaler.load_state_dict(state["scaler"])


@torch.inference_mode()
def infer(
    network: nn.Module,
    dataset: SliceDataset,
    batch_size: int,
    readers: int,
    dtype: torch.dtype,
    device: torch.device,
    label: str,
    world: World = ALONE,
    look: Callable[[], None] = lambda: None,
) -> torch.Tensor:
    """Give the logits of every slice of a dataset, in evaluation mode: no slice influences another.

    Parameters
    ----------
    network : nn.Module
        On `device`; left in evaluation mode.
    dataset : SliceDataset
        The slices.
    batch_size, readers, world
        As of `train`; each process takes some of the batches.
    dtype, device
        As of `Learner`.
    label : str
        What this is, for the progress bar and errors.
    look : function
        Is called now and then.

    Returns
    -------
    float32 tensor [slice, class], on the CPU, in the order of `dataset.rows`; all of them in every process

    Raises
    ------
    InputError
        A logit is not finite.
    """
    network.eval()
    logits = torch.zeros(len(dataset), len(CLASSES), device=device)
    seen = torch.zeros(len(dataset), dtype=torch.int64)
    cut = batches(len(dataset), batch_size, seed=None)
    with loader(dataset, world.share(cut), readers, pinned=device.type == "cuda") as read:
        for number, (images, _, indices) in enumerate(bar(read, label, len(world.share(cut))), start=1):
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                output = network(to_float(images.to(device, non_blocking=True)))
            logits[indices.to(device, non_blocking=True)] = output.float()
            seen[indices] += 1
            if number % look_every(device) == 0 and number <= len(cut) // world.size:  # as often in every process
                look()
    logits, seen = world.sum(logits).cpu(), world.sum(seen)
    if not (seen == 1).all():
        raise AssertionError(f"{label}: {(seen != 1).sum()} of {len(seen)} slices were not seen exactly once")
    broken = ~logits.isfinite().all(dim=1)
    if broken.any():
        names = dataset.rows["image_id"][broken.numpy()]
        raise InputError(
            f"{label}: the model gives no finite value for {len(names)} slices, {', '.join(names[:5])} among them. "
            "Training has diverged; lower optimizer.learning_rate."
        )
    return logits


def validation_metrics(logits: torch.Tensor, labels: np.ndarray) -> dict[str, float]:
    """Give loss and ROC AUC, in float64.

    Parameters
    ----------
    logits : float tensor [slice, class]
    labels : array [slice, class] of 0 and 1

    Returns
    -------
    dict
        validation_loss, validation_roc_auc (mean over the classes that have both labels) and
        validation_roc_auc_{class}; NaN where it does not exist.
    """
    scores = logits.double()
    loss = F.binary_cross_entropy_with_logits(scores, torch.tensor(labels, dtype=torch.float64)).item()
    by_class = {
        name: float(roc_auc_score(labels[:, i], scores[:, i])) if len(np.unique(labels[:, i])) == 2 else math.nan
        for i, name in enumerate(CLASSES)
    }
    defined = [value for value in by_class.values() if not math.isnan(value)]
    return {
        "validation_loss": loss,
        "validation_roc_auc": sum(defined) / len(defined) if defined else math.nan,
        **{f"validation_roc_auc_{name}": value for name, value in by_class.items()},
    }


def make_optimizer(
    network: nn.Module, *, name: str, learning_rate: float, weight_decay: float, momentum: float = 0.0
) -> torch.optim.Optimizer:
    """Make the optimizer of all weights of a network.

    Parameters
    ----------
    network : nn.Module
        On its device.
    name : {"adam", "adamw", "sgd"}
    learning_rate, weight_decay : float
    momentum : float
        Of sgd alone.
    """
    options: dict[str, Any] = {"lr": learning_rate, "weight_decay": weight_decay, "fused": True}
    match name:
        case "adam":
            return torch.optim.Adam(network.parameters(), **options)
        case "adamw":
            return torch.optim.AdamW(network.parameters(), **options)
        case "sgd":
            return torch.optim.SGD(network.parameters(), momentum=momentum, **options)
    raise InputError(f"there is no optimizer {name!r}; known here: adam, adamw, sgd")


def learning_rate(
    epoch: int, epochs: int, base: float, *, name: str, gamma: float = 1.0, warmup_epochs: int = 0
) -> float:
    """Give the learning rate of an epoch.

    Parameters
    ----------
    epoch : int
        From 1.
    epochs : int
        Their number.
    base : float
        The rate of the first epoch after warm-up, which rises to it in equal steps.
    name : {"exponential", "cosine", "constant"}
        After warm-up: times `gamma` each epoch (the paper's, with 0.5); half a cosine that would be zero in the epoch
        after the last; or as it is.
    gamma : float
        Of exponential.
    warmup_epochs : int
        Number of epochs before the rate is `base`.

    Returns
    -------
    float
    """
    done = epoch - 1 - warmup_epochs
    if done < 0:
        return base * epoch / (warmup_epochs + 1)
    match name:
        case "exponential":
            return base * gamma**done
        case "cosine":
            return base * (1 + math.cos(math.pi * done / (epochs - warmup_epochs))) / 2
        case "constant":
            return base
    raise InputError(f"there is no schedule {name!r}; known here: exponential, cosine, constant")


def prepare(seed: int, threads: int | None) -> torch.device:
    """Seed every generator, choose reproducible algorithms, and choose the device: CUDA if there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(seed)
    random.seed(seed)  # this and the next for libraries: the package's own code uses neither
    np.random.seed(seed)  # noqa: NPY002
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS adds up in varying order
    # CUDA lacks such algorithms for some layers. A warning then: bits are promised for the CPU alone.
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    # A debugging aid that comes with these algorithms and costs DenseNet121 a tenth of its time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    keep_memory()
    return device


def keep_memory() -> None:
    """Keep freed memory for the next step instead of handing it back to the system, where the C library is GNU's.

    Otherwise each step on the CPU asks for the same gigabytes again, which are filled with zeros page by page.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_TRIM_THRESHOLD, -1)
        mallopt(M_MMAP_MAX, 0)


def number_type(precision: str, device: torch.device) -> torch.dtype:
    """Choose what layers compute in that can do so safely; weights and sums stay float32.

    Parameters
    ----------
    precision : {"auto", "float32", "bfloat16", "float16"}
        `auto` is float32 on the CPU; on a GPU bfloat16 or, where it has none, float16.
    device : torch.device
    """
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def look_every(device: torch.device) -> int:
    """Give the number of batches between two looks at the losses, and at whether the job is to stop."""
    return LOOK_EVERY if device.type == "cuda" else 1


def bar(read: Iterator[Batch], label: str, total: int, done: int = 0) -> Iterator[Batch]:
    """Show a bar on a terminal, and nothing elsewhere: logs have a line an epoch."""
    return tqdm(read, desc=label, unit="batch", total=total, initial=done, leave=False, disable=None)


def copy_state(network: nn.Module) -> State:
    """Copy a state dict to the CPU. What `state_dict` itself gives changes with every further step."""
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in network.state_dict().items()
    }


def save_model(trained: Trained, *, weights: str | Path, history: str | Path, facts: str | Path, **more: Any) -> None:
    """Write what a training gave.

    Parameters
    ----------
    trained : Trained
    weights : path
        As `models.save_weights`, the best epoch; the same bytes from equal runs.
    history : path
        CSV, a row an epoch; the same bytes from equal runs.
    facts : path
        JSON: all that is needed to use the weights and to say where they come from.
    **more
        Further facts, such as the code hash.
    """
    save_weights(trained.state, weights, description(*(trained.facts[name] for name in ("model", "windows", "size"))))
    write_csv(trained.history, history)
    write_json(
        trained.facts
        | {"best_epoch": trained.best_epoch, "resumed": trained.resumed}
        | more
        | {
            "seconds": trained.seconds,
            "seconds_per_epoch": [each["seconds"] for each in trained.epochs],
            "epochs": trained.epochs,
        },
        facts,
    )


def fingerprint(cohort: pd.DataFrame, cache: Cache, weights: str | Path | None, **more: Any) -> str:
    """Tell trainings apart: a state is of use to none but the training that began it.

    Parameters
    ----------
    cohort, cache, weights
        As of `train`. Their contents count, not their names.
    **more
        What else decides: settings, code hash, number of processes.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    rows = cohort.loc[cohort["part"] != "test", ["image_id", "part", *CLASSES, "shard", "row"]]
    total = hashlib.sha256(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes())
    versions = {module.__name__: module.__version__ for module in (np, torch, torchvision)}
    total.update(json.dumps([cache.sha256, cache.windows, cache.size, versions, more], sort_keys=True).encode())
    if weights is not None:
        total.update(Path(weights).read_bytes())
    return total.hexdigest()


def _facts(network: nn.Module, parts: Mapping[str, SliceDataset], learner: Learner) -> dict[str, Any]:
    """Say what is trained on what and where: all that is known before the first epoch."""
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "slices": {part: len(dataset) for part, dataset in parts.items()},
        "patients": {part: dataset.rows["patient_id"].nunique() for part, dataset in parts.items()},
        "versions": {"python": platform.python_version()}
        | {module.__name__: module.__version__ for module in (np, pd, safetensors, sklearn, torch, torchvision)},
        "hardware": _hardware(learner.device)
        | {"processes": learner.world.size, "precision": str(learner.dtype).removeprefix("torch.")},
    }


def _hardware(device: torch.device) -> dict[str, Any]:
    """Say what computed; the last digits depend on it."""
    if device.type == "cuda":
        return {"device": torch.cuda.get_device_name(device)}
    described = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    name = described[1] if described else platform.machine()  # ARM kernels give no name
    return {"device": name, "instructions": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}

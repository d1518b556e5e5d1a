import hashlib
import json
import logging
import math

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
import torchvision
from sklearn.metrics import log_loss, roc_auc_score

from ich.base.classes import CLASSES
from ich.base.errors import InputError
from ich.images.cache import Cache
from ich.models.backbones import build
from ich.models.weights import load_weights
from ich.training.data import SliceDataset, batches
from ich.training.inference import infer, validation_metrics
from ich.training.loop import train
from ich.training.optimisation import learning_rate, make_optimizer
from ich.training.outcome import save_model
from tests.unit.slices import COUNTS, SETTINGS, SIZE, WINDOWS, made_up, same, write_cache

CPU = torch.device("cpu")
PLAIN = {"horizontal_flip": 0.0, "vertical_flip": 0.0, "rotation": 0.0}


@pytest.fixture(autouse=True)
def few_threads():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def slices():
    return made_up()


@pytest.fixture(scope="module")
def cohort(slices):
    return slices[1]


@pytest.fixture(scope="module")
def cache(slices, tmp_path_factory):
    return write_cache(tmp_path_factory.mktemp("cache"), slices[0])


@pytest.fixture(scope="module")
def trained(cohort, cache):
    return train(cohort, cache, **SETTINGS)


def network_of(state):
    network = build("resnet18", channels=3)
    network.load_state_dict(state)
    return network


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"name": "exponential", "gamma": 0.5, "warmup_epochs": 0}, [8, 4, 2, 1, 0.5, 0.25]),  # the paper's
        ({"name": "exponential", "gamma": 0.1, "warmup_epochs": 3}, [2, 4, 6, 8, 0.8, 0.08]),
        ({"name": "constant", "gamma": 0.5, "warmup_epochs": 1}, [4, 8, 8, 8, 8, 8]),
        # half a cosine at 0, 30, 60, 90, 120 and 150 degrees
        ({"name": "cosine", "gamma": 0.5, "warmup_epochs": 0},
         [8, 4 + 2 * math.sqrt(3), 6, 4, 2, 4 - 2 * math.sqrt(3)]),
        # and after two epochs at 0, 45, 90 and 135
        ({"name": "cosine", "gamma": 0.5, "warmup_epochs": 2},
         [8 / 3, 16 / 3, 8, 4 + 2 * math.sqrt(2), 4, 4 - 2 * math.sqrt(2)]),
        ({"name": "cosine", "gamma": 0.5, "warmup_epochs": 7}, [1, 2, 3, 4, 5, 6]),
    ],
)  # fmt: skip
def test_learning_rates(schedule, expected):
    rates = [learning_rate(epoch, 6, 8.0, **schedule) for epoch in range(1, 7)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_optimizers(name):
    # Two steps with gradients 0.3 and -0.1 on the weight 2, by the formulas of Kingma and Ba (2015), Loshchilov and
    # Hutter (2019), and of momentum.
    rate, decay, momentum = 0.01, 0.1, 0.9
    weight, first, second, velocity = 2.0, 0.0, 0.0, 0.0
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, weight)
    updates = make_optimizer(layer, name=name, learning_rate=rate, weight_decay=decay, momentum=momentum)
    for step, gradient in enumerate([0.3, -0.1], start=1):
        layer.weight.grad = torch.tensor([[gradient]])
        updates.step()
        if name == "adamw":
            weight -= rate * decay * weight
        else:
            gradient += decay * weight
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        velocity = momentum * velocity + gradient
        adam = first / (1 - 0.9**step) / (math.sqrt(second / (1 - 0.999**step)) + 1e-8)
        weight -= rate * (velocity if name == "sgd" else adam)
    assert layer.weight.item() == pytest.approx(weight, rel=1e-6)


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="adam, adamw, sgd"):
        make_optimizer(torch.nn.Linear(1, 1), name="lion", learning_rate=1, weight_decay=0)
    with pytest.raises(InputError, match="exponential, cosine, constant"):
        learning_rate(1, 1, 1.0, name="step")


def test_validation_metrics():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (50, len(CLASSES)), dtype=np.uint8)
    labels[:, 0] = 0
    labels[:, 2] = 1
    logits = torch.from_numpy(rng.normal(size=labels.shape).astype(np.float32))
    values = validation_metrics(logits, labels)
    scores = logits.numpy().astype(np.float64)
    losses = [log_loss(labels[:, i], 1 / (1 + np.exp(-scores[:, i])), labels=[0, 1]) for i in range(6)]
    assert values["validation_loss"] == pytest.approx(np.mean(losses), rel=1e-12)
    areas = {CLASSES[i]: roc_auc_score(labels[:, i], scores[:, i]) for i in (1, 3, 4, 5)}
    assert values["validation_roc_auc"] == pytest.approx(np.mean([*areas.values()]), rel=1e-12)
    for name in CLASSES:
        assert values[f"validation_roc_auc_{name}"] == pytest.approx(areas.get(name, math.nan), nan_ok=True)


def test_training_learns(cohort, cache):
    result = train(cohort, cache, **SETTINGS | {"epochs": 6})
    assert result.history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert result.history["train_loss"].iloc[-1] < 0.5 * result.history["train_loss"].iloc[0]
    assert result.history["validation_roc_auc"].max() > 0.9
    assert result.state["bn1.num_batches_tracked"] == 4 * result.best_epoch, "not in training mode"
    assert [each["epoch"] for each in result.epochs] == [1, 2, 3, 4, 5, 6]
    assert sum(each["seconds"] for each in result.epochs) <= result.seconds
    assert all(each["seconds"] > 64 / each["slices_per_second"] for each in result.epochs)
    assert all(0 < each["waiting_share"] < 1 for each in result.epochs)


def test_one_epoch_is_the_plain_loop(cohort, cache, slices, tmp_path):
    """The same two steps, written out with torchvision's network; with more of them differences of rounding explode."""
    torch.manual_seed(5)
    reference = torchvision.models.resnet18(weights=None, num_classes=6)
    torch.save(reference.state_dict(), tmp_path / "initial.pth")
    optimizer = {"name": "sgd", "learning_rate": 0.01, "weight_decay": 1e-4, "momentum": 0.9}
    over = {"weights": tmp_path / "initial.pth", "epochs": 1, "batch_size": 40, "optimizer": optimizer}
    over["augmentation"] = PLAIN
    result = train(cohort, cache, **SETTINGS | over)

    images = slices[0][: COUNTS["train"]].astype(np.float32) / 255
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    images = torch.from_numpy((images - mean[:, None, None]) / std[:, None, None])
    labels = torch.from_numpy(cohort[list(CLASSES)].to_numpy(np.float32)[: COUNTS["train"]])
    updates = torch.optim.SGD(reference.parameters(), lr=0.01, weight_decay=1e-4, momentum=0.9)
    losses = []
    for batch in batches(COUNTS["train"], 40, seed=1, epoch=1):
        probability = torch.sigmoid(reference(images[batch]))
        loss = -torch.where(labels[batch] == 1, probability, 1 - probability).log().mean()
        updates.zero_grad()
        loss.backward()
        updates.step()
        losses.append(loss.item())
    assert result.history["train_loss"].item() == pytest.approx(np.average(losses, weights=[40, 24]), rel=1e-5)
    for key, value in reference.state_dict().items():
        torch.testing.assert_close(result.state[key], value, rtol=1e-3, atol=1e-5, msg=key)


STILL = {"optimizer": {"name": "sgd", "learning_rate": 0.0, "weight_decay": 0.0, "momentum": 0.0}}


def test_order_is_drawn_anew_each_epoch(cohort, cache):
    # Without steps, losses differ by which slices share a batch and its normalisation; with one batch, by nothing.
    settings = SETTINGS | STILL | {"augmentation": PLAIN}
    first, second = train(cohort, cache, **settings).history["train_loss"]
    assert abs(first - second) > 1e-4
    first, second = train(cohort, cache, **settings | {"batch_size": 64}).history["train_loss"]
    assert first == pytest.approx(second, rel=1e-5)


def test_augmentation_is_drawn_anew_each_epoch(cohort, cache):
    # All slices of train become one: losses differ by how it is flipped and rotated.
    copies = cohort.copy()
    copies.loc[copies["part"] == "train", ["row", *CLASSES]] = [0, *cohort.loc[0, list(CLASSES)]]
    plain, again = train(copies, cache, **SETTINGS | STILL | {"augmentation": PLAIN}).history["train_loss"]
    assert plain == again
    first, second = train(copies, cache, **SETTINGS | STILL).history["train_loss"]
    assert len({round(loss, 4) for loss in (plain, first, second)}) == 3


def test_each_epoch_has_its_learning_rate(cohort, cache):
    optimizer = {"name": "sgd", "learning_rate": 0.01, "weight_decay": 0.0, "momentum": 0.0}
    falling = SETTINGS | {"optimizer": optimizer, "schedule": {"name": "exponential", "gamma": 1e-30}}
    result = train(cohort, cache, **falling)
    assert result.history["learning_rate"].tolist() == [0.01, 0.01 * 1e-30]
    first = train(cohort, cache, **falling | {"epochs": 1})
    weights = [key for key, _ in build("resnet18", channels=3).named_parameters()]
    assert all(torch.equal(result.state[key], first.state[key]) for key in weights)


@pytest.mark.parametrize("readers", [0, 2])
def test_the_same_seed_gives_the_same_bits(cohort, cache, trained, readers):
    torch.manual_seed(99)
    again = train(cohort, cache, **SETTINGS, readers=readers)
    assert same(again.state, trained.state)
    pd.testing.assert_frame_equal(again.history, trained.history, check_exact=True)
    assert again.best_epoch == trained.best_epoch


def test_another_seed_gives_other_weights(cohort, cache, trained):
    assert not same(train(cohort, cache, **SETTINGS | {"seed": 2}).state, trained.state)


def test_the_test_part_is_not_looked_at(cohort, cache, trained):
    without = train(cohort[cohort["part"] != "test"], cache, **SETTINGS)
    assert same(without.state, trained.state)
    pd.testing.assert_frame_equal(without.history, trained.history, check_exact=True)


def test_the_best_epoch_is_kept(cohort, cache):
    # In validation every label is turned round: the more the model learns, the worse it gets there.
    turned = cohort.copy()
    validation = turned["part"] == "validation"
    turned.loc[validation, list(CLASSES)] = 1 - turned.loc[validation, list(CLASSES)]
    result = train(turned, cache, **SETTINGS | {"epochs": 4})
    areas = result.history["validation_roc_auc"]
    assert result.best_epoch == areas.argmax() + 1
    assert result.best_epoch < 4
    assert areas.iloc[-1] < areas.max() - 0.03

    stopped = train(turned, cache, **SETTINGS | {"epochs": result.best_epoch})
    assert same(result.state, stopped.state)
    dataset = SliceDataset(turned[validation], cache)
    logits = infer(network_of(result.state), dataset, 16, 0, torch.float32, CPU, "again")
    values = validation_metrics(logits, dataset.rows[list(CLASSES)].to_numpy())
    assert values["validation_roc_auc"] == pytest.approx(areas.max(), abs=1e-3)


def test_without_a_validation_roc_auc_the_loss_decides(cohort, cache, caplog):
    negative = cohort.copy()
    negative.loc[negative["part"] == "validation", list(CLASSES)] = 0
    with caplog.at_level(logging.INFO):
        result = train(negative, cache, **SETTINGS | {"epochs": 3})
    assert result.history["validation_roc_auc"].isna().all()
    assert result.best_epoch == result.history["validation_loss"].argmin() + 1
    assert sum("least loss" in message for message in caplog.messages) == 1


def test_evaluation_mode_is_used(cohort, cache, trained):
    dataset = SliceDataset(cohort[cohort["part"] == "validation"], cache)
    network = network_of(trained.state).train()
    logits = infer(network, dataset, 40, 0, torch.float32, CPU, "all at once")
    for batch_size in (1, 7):
        other = infer(network.train(), dataset, batch_size, 0, torch.float32, CPU, "in batches")
        torch.testing.assert_close(other, logits, rtol=1e-4, atol=1e-4)
    assert same(network.state_dict(), trained.state), "running statistics have moved"
    with torch.no_grad():
        by_batch = network.train()(dataset.read(list(range(40)))[0] / 255)
    assert (by_batch - logits).abs().max() > 0.01


def test_slices_without_an_image_are_left_out(slices, cohort, tmp_path, caplog):
    failed = ["ID_0003", "ID_0050", "ID_0090"]  # two of train, one of validation
    images = slices[0].copy()
    with caplog.at_level(logging.INFO):
        result = train(cohort, write_cache(tmp_path, images, failed), **SETTINGS)
    assert result.facts["slices"] == {"train": 62, "validation": 39}
    assert "2 of 64 slices" in caplog.text
    assert "1 of 40 slices" in caplog.text
    assert "{'train': 62, 'validation': 39}" in caplog.text
    never = train(cohort[~cohort["image_id"].isin(failed)], write_cache(tmp_path, images), **SETTINGS)
    assert same(result.state, never.state)


def test_a_loss_that_is_not_finite_stops_training(cohort, cache):
    optimizer = {"name": "sgd", "learning_rate": 1e30, "weight_decay": 0.0, "momentum": 0.0}
    with pytest.raises(InputError, match=r"epoch 1, batch 2, .*Lower optimizer.learning_rate") as caught:
        train(cohort, cache, **SETTINGS | {"optimizer": optimizer})
    second = cohort["image_id"].iloc[batches(COUNTS["train"], 16, SETTINGS["seed"], epoch=1)[1]]
    assert ", ".join(second) in str(caught.value)


def test_logits_that_are_not_finite_are_refused(cohort, cache, trained):
    state = trained.state | {"fc.bias": torch.full((6,), math.nan)}
    dataset = SliceDataset(cohort[cohort["part"] == "validation"], cache)
    with pytest.raises(InputError, match=r"epoch 7, validation: .* 40 slices, ID_0064"):
        infer(network_of(state), dataset, 16, 0, torch.float32, CPU, "epoch 7, validation")


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_part_without_slices_is_an_error(cohort, cache, part):
    with pytest.raises(InputError, match="no slice"):
        train(cohort[cohort["part"] != part], cache, **SETTINGS)


def save(result, folder, **more):
    save_model(
        result,
        weights=folder / "weights.safetensors",
        history=folder / "history.csv",
        facts=folder / "model.json",
        **more,
    )


def test_what_is_saved(cohort, cache, trained, tmp_path):
    save(trained, tmp_path / "first", code="0123", experiment="tiny")
    facts = json.loads((tmp_path / "first/model.json").read_text())
    assert facts["model"] == "resnet18"
    assert facts["classes"] == list(CLASSES)
    assert facts["windows"] == WINDOWS
    assert facts["size"] == SIZE
    assert facts["value_range"] == [0, 1]
    assert facts["normalisation"] == {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert facts["parameters"] == 11_176_512 + 6 * (512 + 1)  # of ResNet18 without its head, and of the head
    assert facts["slices"] == {"train": 64, "validation": 40}
    assert facts["patients"] == {"train": 16, "validation": 10}
    settings = {key: value for key, value in SETTINGS.items() if key != "threads"}
    assert facts["configuration"] == settings | {"precision": "auto", "compile": False}
    assert facts["best_epoch"] == trained.best_epoch
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["hardware"]["threads"] == 1
    assert (facts["code"], facts["experiment"]) == ("0123", "tiny")
    assert facts["seconds"] == trained.seconds
    assert facts["epochs"] == trained.epochs
    assert facts["seconds_per_epoch"] == [each["seconds"] for each in trained.epochs]
    assert facts["resumed"] == 0

    network = build("resnet18", channels=3)
    load_weights(network, tmp_path / "first/weights.safetensors", exact=True)
    assert same(network.state_dict(), trained.state)
    history = pd.read_csv(tmp_path / "first/history.csv")
    pd.testing.assert_frame_equal(history, trained.history, check_exact=True)


def test_equal_runs_give_equal_files(cohort, cache, trained, tmp_path):
    save(trained, tmp_path / "first")
    save(train(cohort, cache, **SETTINGS), tmp_path / "second")
    for name in ("weights.safetensors", "history.csv"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    first, second = (json.loads((tmp_path / name / "model.json").read_text()) for name in ("first", "second"))
    times = {"seconds", "seconds_per_epoch", "epochs"}
    assert {key: first[key] for key in first.keys() - times} == {key: second[key] for key in second.keys() - times}


def test_weights_for_something_else_start_no_training(cohort, cache, trained, tmp_path):
    save(trained, tmp_path)
    start = {"weights": tmp_path / "weights.safetensors", "epochs": 1}
    train(cohort, cache, **SETTINGS | start)
    other = Cache(cache.paths)
    other.windows = WINDOWS[::-1]
    with pytest.raises(InputError, match=r"weights.safetensors: .*with the windows .*'a'.*, and not .*'c'"):
        train(cohort, other, **SETTINGS | start)


@pytest.mark.parametrize(("precision", "bits"), [("bfloat16", 8), ("float16", 11)])
def test_reduced_precision_trains_and_says_so(cohort, cache, trained, precision, bits):
    # Without steps the losses differ by rounding alone: some twenty layers, each to half a unit in the last place.
    still = SETTINGS | STILL | {"epochs": 1, "batch_size": 64}
    exact, rounded = (train(cohort, cache, **still, precision=each) for each in ("float32", precision))
    first, second = exact.history["train_loss"].item(), rounded.history["train_loss"].item()
    assert first != second
    assert second == pytest.approx(first, rel=20 * 2**-bits / 2)
    assert rounded.facts["hardware"]["precision"] == precision
    assert trained.facts["hardware"]["precision"] == "float32"

    learned = train(cohort, cache, **SETTINGS, precision=precision)
    assert learned.history["train_loss"].iloc[-1] < 0.9 * learned.history["train_loss"].iloc[0]
    assert all(value.dtype in (torch.float32, torch.int64) for value in learned.state.values())


def test_event_files_hold_what_is_watched(cohort, cache, trained, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    result = train(cohort, cache, **SETTINGS, events=tmp_path)
    assert same(result.state, trained.state)
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    losses = [(each.step, each.value) for each in events.Scalars("validation_loss")]
    assert losses == [(epoch, pytest.approx(loss)) for epoch, loss in enumerate(result.history["validation_loss"], 1)]
    assert len(events.Scalars("waiting_share")) == 2


def test_the_saved_weights_are_copies(trained, cohort, cache):
    before = hashlib.sha256(safetensors.torch.save(trained.state)).digest()
    train(cohort, cache, **SETTINGS | {"epochs": 1, "seed": 3})
    assert hashlib.sha256(safetensors.torch.save(trained.state)).digest() == before
    assert all(value.is_contiguous() and not value.requires_grad for value in trained.state.values())

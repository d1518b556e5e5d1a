"""What model.json holds, in words."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ich.evaluation.notation import duration


def training(models: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Give the rows of a table of how models were trained, a cell an experiment.

    Parameters
    ----------
    models : mapping of experiment to mapping
        model.json of each.
    """
    yield "architecture", [model["model"] for model in models.values()]
    yield "parameters", [f"{model['parameters']:,}" for model in models.values()]
    settings = [model["configuration"] for model in models.values()]
    yield "initial weights", [Path(each["weights"]).name if each["weights"] else "random" for each in settings]
    yield "input", [f"{model['size']} × {model['size']} pixels" for model in models.values()]
    yield "channels", [channels(model) for model in models.values()]
    yield "trained on", [_trained_on(model, "train") for model in models.values()]
    yield "validated on", [_trained_on(model, "validation") for model in models.values()]
    yield "batch size", [f"{each['batch_size']} slices" for each in settings]
    yield "optimiser", [_optimiser(each) for each in settings]
    yield "augmentation", [_augmentation(each["augmentation"]) for each in settings]
    yield "epoch kept", [f"{each['best_epoch']} of {len(each['seconds_per_epoch'])}" for each in models.values()]
    yield "time", [duration(model["seconds"]) for model in models.values()]
    yield "seed", [f"{model['seed']}" for model in models.values()]


def environment(models: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Give the rows of a table of hardware and versions, a cell an experiment; a dash where one does not say.

    Parameters
    ----------
    models : mapping of experiment to mapping
        model.json of each.
    """
    for kind in ("hardware", "versions"):
        for key in dict.fromkeys(key for model in models.values() for key in model[kind]):
            yield key, [f"{model[kind].get(key, '–')}" for model in models.values()]
    yield "ich", [model.get("version", "0.1.0") for model in models.values()]
    yield "code", [model["code"] for model in models.values()]


def channels(model: Mapping[str, Any]) -> str:
    """Name the windows of a model.json with level and width in HU."""
    windows = (f"{each['name'].replace('_', ' ')} ({each['level']:g}, {each['width']:g})" for each in model["windows"])
    return " · ".join(windows)


def _augmentation(settings: Mapping[str, float]) -> str:
    flips = f"flips {settings['horizontal_flip']:.0%} left to right, {settings['vertical_flip']:.0%} top to bottom"
    return f"{flips}; rotation up to {settings['rotation']:g}°"


def _optimiser(settings: Mapping[str, Any]) -> str:
    optimizer = settings["optimizer"]
    return f"{optimizer['name']}, learning rate {optimizer['learning_rate']:g}, {settings['schedule']['name']} schedule"


def _trained_on(model: Mapping[str, Any], part: str) -> str:
    return f"{model['slices'][part]:,} slices of {model['patients'][part]:,} patients"

"""The figures: those of the paper, the images that a model sees, and the course of training.

Each function gives a matplotlib figure; `save` writes it as SVG and PNG, byte for byte the same from equal inputs.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ich.cohort import PARTS
from ich.files import replacing
from ich.labels import CLASSES

# Okabe and Ito's palette, which colour-blind readers can tell apart; one colour a class in every figure.
COLOURS = dict(zip(CLASSES, ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#000000"), strict=True))
SERIES_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLE: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "svg.hashsalt": "ich",
}


def save(figure: Figure, *paths: str | os.PathLike) -> None:
    """Write a figure to each path, in the format that its suffix names, without a date in it."""
    for path in map(Path, paths):
        kind = path.suffix[1:]
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        with mpl.rc_context(STYLE), replacing(path) as partial:
            figure.savefig(partial, format=kind, dpi=150, metadata=metadata)


def _figure(width: float, height: float, synthetic: bool) -> Figure:
    """Make an empty figure, in inches, that says so if its data is synthetic."""
    figure = Figure(figsize=(width, height))
    if synthetic:
        figure.supxlabel("Synthetic data", x=0.995, ha="right", fontsize=8, color="#B00020", fontweight="bold")
    return figure


def _styled(draw):
    """Draw with the figures' common style."""

    def styled(*args: Any, **kwargs: Any) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    styled.__doc__, styled.__name__ = draw.__doc__, draw.__name__
    return styled


def _bars(
    axes: Axes, values: Mapping[str, Sequence[float]], groups: Sequence[str], errors: Mapping[str, Any] | None = None
) -> np.ndarray:
    """Draw grouped bars, a group for each of `groups` and in it a bar for each of `values`; the groups' centres."""
    width = 0.8 / len(values)
    centres = np.arange(len(groups), dtype=float)
    for number, (name, heights) in enumerate(values.items()):
        places = centres + (number - (len(values) - 1) / 2) * width
        axes.bar(
            places,
            heights,
            width * 0.94,
            label=name,
            color=SERIES_COLOURS[number % len(SERIES_COLOURS)],
            yerr=None if errors is None else errors[name],
            error_kw={"elinewidth": 1, "ecolor": "#444444", "capsize": 2},
        )
    axes.set_xticks(centres, groups, rotation=25, ha="right")
    axes.grid(False, axis="x")
    return centres


@_styled
def label_counts(counts: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw how many slices bear each label (figure 1b of the paper).

    Parameters
    ----------
    counts : DataFrame
        As from `cohort.counts`.
    synthetic : bool
        Mark the figure.
    """
    figure = _figure(6.5, 3.4, synthetic)
    axes = figure.add_subplot()
    totals = counts.groupby("class")["positive"].sum().reindex(CLASSES)
    bars = axes.barh(CLASSES, totals, color=[COLOURS[name] for name in CLASSES])
    axes.bar_label(bars, [f"{count:,}" for count in totals], padding=4)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.grid(False, axis="y")
    slices = counts.drop_duplicates("part")["slices"].sum()
    axes.set(xlabel=f"slices with the label, of {slices:,}", title="Labels")
    return figure


@_styled
def prevalence(counts: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw the share of positive slices by class and part (figure 2 of the paper).

    Parameters
    ----------
    counts : DataFrame
        As from `cohort.counts`.
    synthetic : bool
        Mark the figure.
    """
    figure = _figure(7, 3.6, synthetic)
    axes = figure.add_subplot()
    table = counts.pivot(index="part", columns="class", values="prevalence").loc[list(PARTS), list(CLASSES)] * 100
    patients = counts.groupby("part")["patients"].first()
    _bars(axes, {f"{part} ({patients[part]:,} patients)": [*table.loc[part]] for part in PARTS}, CLASSES)
    axes.set(ylabel="positive slices (%)", title="Prevalence by part")
    axes.legend()
    return figure


@_styled
def metric_bars(metrics: Mapping[str, pd.DataFrame], *, synthetic: bool) -> Figure:
    """Draw accuracy and log loss on test by class for each experiment, with the baselines (figure 3 of the paper).

    Parameters
    ----------
    metrics : mapping of experiment to DataFrame
        As from `evaluation.evaluate`.
    synthetic : bool
        Mark the figure.
    """
    figure = _figure(10, 4.2, synthetic)
    panels = {
        "accuracy": ("always_negative_accuracy", "always negative", "Accuracy"),
        "log_loss": ("prior_log_loss", "prevalence of training", "Log loss"),
    }
    groups = [*CLASSES, "mean"]
    for axes, (metric, (baseline, baseline_name, title)) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        heights, errors = {}, {}
        for name, frame in metrics.items():
            rows = _test(frame, metric).reindex(groups)
            heights[name] = rows["value"].tolist()
            ends = [rows["value"] - rows["lower"], rows["upper"] - rows["value"]]
            errors[name] = np.nan_to_num(np.clip(np.array(ends, dtype=float), 0, None))
        centres = _bars(axes, heights, groups, errors)
        reference = _test(next(iter(metrics.values())), baseline).reindex(groups)["value"]
        axes.hlines(reference, centres - 0.45, centres + 0.45, colors="#444444", linestyles="--", label=baseline_name)
        axes.set_title(title)
        if metric == "accuracy":
            axes.set_ylim(top=1)
            lowest = np.nanmin([*reference, *np.concatenate([*heights.values()])])
            axes.set_ylim(bottom=max(0, np.floor(lowest * 10 - 1) / 10) if np.isfinite(lowest) else 0)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=2, fontsize=9)
    return figure


def _test(metrics: pd.DataFrame, metric: str) -> pd.DataFrame:
    rows = metrics[(metrics["part"] == "test") & (metrics["metric"] == metric)]
    return rows.set_index("class")


@_styled
def roc(curves: pd.DataFrame, metrics: pd.DataFrame, *, title: str, synthetic: bool) -> Figure:
    """Draw the ROC curves of an experiment on test (figure 4 of the paper).

    Parameters
    ----------
    curves, metrics : DataFrame
        As from `evaluation.evaluate`.
    title : str
        Name of the experiment.
    synthetic : bool
        Mark the figure.
    """
    figure = _figure(5.6, 5.4, synthetic)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#888888", linestyle=":", linewidth=1)
    _curves(axes, curves, "roc", _test(metrics, "roc_auc"), "AUC")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title=f"ROC on test: {title}", aspect="equal")
    axes.legend(loc="lower right", fontsize=9)
    return figure


@_styled
def precision_recall(curves: pd.DataFrame, metrics: pd.DataFrame, *, title: str, synthetic: bool) -> Figure:
    """Draw the precision-recall curves of an experiment on test, recall across (figure 5 of the paper).

    Parameters
    ----------
    curves, metrics : DataFrame
        As from `evaluation.evaluate`.
    title : str
        Name of the experiment.
    synthetic : bool
        Mark the figure.
    """
    figure = _figure(5.6, 5.4, synthetic)
    axes = figure.add_subplot()
    _curves(axes, curves, "pr", _test(metrics, "average_precision"), "AP")
    axes.set(xlabel="recall", ylabel="precision", title=f"Precision and recall on test: {title}", aspect="equal")
    axes.set(xlim=(0, 1.01), ylim=(0, 1.01))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, fontsize=9)
    return figure


def _curves(axes: Axes, curves: pd.DataFrame, kind: str, values: pd.DataFrame, short: str) -> None:
    """Draw a curve a class; a class without one is named in the legend with a dash."""
    for name in CLASSES:
        points = curves[(curves["part"] == "test") & (curves["curve"] == kind) & (curves["class"] == name)]
        value = values["value"].get(name, np.nan)
        label = f"{name} ({short} {value:.3f})" if np.isfinite(value) else f"{name} (–)"
        axes.plot(points["x"], points["y"], color=COLOURS[name], linewidth=2 if name == "any" else 1.4, label=label)


@_styled
def montage(images: np.ndarray, captions: Sequence[str], windows: Sequence[str], *, synthetic: bool) -> Figure:
    """Draw slices in their windows, a column a slice and a row a window.

    Parameters
    ----------
    images : uint8 array [slice, channel, height, width]
    captions : sequence of str
        One a slice.
    windows : sequence of str
        One a channel.
    synthetic : bool
        Mark the figure.
    """
    figure = _figure(1.7 * len(images), 1.75 * len(windows) + 0.4, synthetic)
    grid = figure.subplots(len(windows), len(images), squeeze=False)
    for row, window in enumerate(windows):
        for column, caption in enumerate(captions):
            axes = grid[row, column]
            axes.imshow(images[column, row], cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            axes.grid(False)
            if row == 0:
                axes.set_title(caption, fontsize=9)
            if column == 0:
                axes.set_ylabel(window.replace("_", " "), fontsize=9)
    return figure


@_styled
def history(table: pd.DataFrame, best_epoch: int, *, title: str, synthetic: bool) -> Figure:
    """Draw loss and ROC AUC by epoch.

    Parameters
    ----------
    table : DataFrame
        As in history.csv.
    best_epoch : int
        The epoch that was kept.
    title : str
        Name of the experiment.
    synthetic : bool
        Mark the figure.
    """
    figure = _figure(8.5, 3.4, synthetic)
    loss, auc = figure.subplots(1, 2)
    marker = "o" if len(table) < 25 else None
    loss.plot(table["epoch"], table["train_loss"], marker=marker, color=SERIES_COLOURS[0], label="training, augmented")
    loss.plot(table["epoch"], table["validation_loss"], marker=marker, color=SERIES_COLOURS[1], label="validation")
    loss.set(xlabel="epoch", title=f"Loss: {title}")
    for name in CLASSES:
        auc.plot(table["epoch"], table[f"validation_roc_auc_{name}"], color=COLOURS[name], linewidth=1, label=name)
    auc.plot(table["epoch"], table["validation_roc_auc"], marker=marker, color="#666666", linewidth=2.4, label="mean")
    auc.set(xlabel="epoch", title="ROC AUC on validation")
    for axes in (loss, auc):
        axes.axvline(best_epoch, color="#888888", linestyle=":", label="kept epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(fontsize=8, ncols=1 if axes is loss else 2)
    return figure

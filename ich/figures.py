"""The figures: those of the paper, the images that a model sees, and the course of training.

Each function gives a matplotlib figure; `save` writes it as SVG and PNG, byte for byte the same from equal inputs.
"""

import functools
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ich.cohort import PARTS
from ich.files import replacing
from ich.labels import CLASSES

# Okabe and Ito's palette, which colour-blind readers can tell apart; one colour a class in every figure.
COLOURS = dict(zip(CLASSES, ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#000000"), strict=True))
# What is not a class has none of those colours. Parts: one hue, lighter and lighter, so that grey print will do.
PART_COLOURS = dict(zip(PARTS, ("#33415C", "#7D8FB3", "#C3CCDF"), strict=True))
# Experiments: Tol's muted palette without its greens; shapes tell them apart in grey print.
SERIES = (("#332288", "o"), ("#AA4499", "s"), ("#88CCEE", "D"), ("#999933", "^"), ("#882255", "v"), ("#666666", "P"))
INK, FAINT, ALERT = "#1C2024", "#8A939C", "#B00020"
STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "grid.color": "#E3E7EB",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "savefig.dpi": 150,
    "svg.hashsalt": "ich",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}
_P = ParamSpec("_P")


def origin(path: str | os.PathLike, source: str | os.PathLike, code: str) -> str:
    """Say where a picture comes from, in the words that its file carries.

    Parameters
    ----------
    path : path
        Of the picture.
    source : path
        The file that it shows. Named as seen from the picture's folder, so that results can be moved.
    code : str
        As from `fingerprint.code_hash`.
    """
    return f"From {os.path.relpath(source, Path(path).parent)}, drawn by code {code}"


def save(figure: Figure, *paths: str | os.PathLike, source: str | os.PathLike = "", code: str = "") -> None:
    """Write a figure to each path, in the format that its suffix names, without a date in it.

    Parameters
    ----------
    figure : Figure
    *paths : path
        SVG or PNG.
    source, code
        As of `origin`; kept in the file as its description. Without a source the file has none.
    """
    with mpl.rc_context(STYLE):
        figure.draw_without_rendering()  # the layout takes the size of tick labels from the drawing before
    for path in map(Path, paths):
        kind = path.suffix[1:]
        metadata: dict[str, Any] = {"Date" if kind == "svg" else "Software": None}
        if source:
            metadata |= {"Description": origin(path, source, code)}
        with mpl.rc_context(STYLE), replacing(path) as partial:
            figure.savefig(partial, format=kind, metadata=metadata)


def _styled(draw: Callable[_P, Figure]) -> Callable[_P, Figure]:
    """Draw with the figures' common style."""

    @functools.wraps(draw)
    def styled(*args: _P.args, **kwargs: _P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return styled


def _figure(width: float, height: float, synthetic: bool) -> Figure:
    """Make an empty figure, in inches, that says so if its data is synthetic."""
    figure = Figure(figsize=(width, height))
    if synthetic:
        figure.supxlabel("Synthetic data", x=0.995, ha="right", fontsize=8, color=ALERT, fontweight="bold")
    return figure


def _test(metrics: pd.DataFrame, metric: str, unit: str = "slice") -> pd.DataFrame:
    """Give a metric's rows on test, by class."""
    chosen = (metrics["part"] == "test") & (metrics["metric"] == metric) & (metrics["unit"] == unit)
    return metrics[chosen].set_index("class")


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
    slices = counts.drop_duplicates("part")["slices"].sum()
    bars = axes.barh(CLASSES, totals, height=0.7, color=[COLOURS[name] for name in CLASSES])
    axes.bar_label(bars, [f"{count:,} ({count / slices:.1%})" for count in totals], padding=4, fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.24)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set(xlabel="slices", title=f"Slices with each label, of {slices:,}")
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
    figure = _figure(6.5, 3.6, synthetic)
    axes = figure.add_subplot()
    shares = counts.pivot(index="part", columns="class", values="prevalence").loc[list(PARTS), list(CLASSES)] * 100
    patients = counts.groupby("part")["patients"].first()
    centres = np.arange(len(CLASSES))
    for place, (part, colour) in enumerate(PART_COLOURS.items()):
        label = f"{part} ({patients[part]:,} patients)"
        axes.bar(centres + (place - 1) * 0.27, shares.loc[part], 0.25, color=colour, label=label)
    axes.set_xticks(centres, CLASSES, rotation=25, ha="right", rotation_mode="anchor")
    axes.grid(False, axis="x")
    axes.set(ylabel="positive slices (%)", title="Prevalence by part")
    axes.legend(loc="upper left")
    return figure


@_styled
def metric_bars(metrics: Mapping[str, pd.DataFrame], *, synthetic: bool) -> Figure:
    """Draw accuracy and log loss on test by class for each experiment (figure 3 of the paper).

    A marker is a value, the bar through it the interval, and the short line across it what no model would give: always
    saying no, or forecasting the prevalence of the training part.

    Parameters
    ----------
    metrics : mapping of experiment to DataFrame
        As from `evaluation.evaluate`.
    synthetic : bool
        Mark the figure.
    """
    figure = _figure(10, 4.4, synthetic)
    groups = [*CLASSES, "mean"]
    centres = np.arange(len(groups), dtype=float)
    panels = {
        "accuracy": ("Accuracy", "always_negative_accuracy", "always saying no"),
        "log_loss": ("Log loss", "prior_log_loss", "forecasting the prevalence of training"),
    }
    for axes, (metric, (title, baseline, meaning)) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        reference = _test(next(iter(metrics.values())), baseline).reindex(groups)["value"]
        for place, (name, frame) in enumerate(metrics.items()):
            rows = _test(frame, metric).reindex(groups)
            ends = np.array([rows["value"] - rows["lower"], rows["upper"] - rows["value"]], dtype=float)
            colour, marker = SERIES[place % len(SERIES)]
            axes.errorbar(
                centres + (place - (len(metrics) - 1) / 2) * 0.7 / len(metrics),
                rows["value"],
                yerr=np.nan_to_num(ends).clip(0),
                fmt=marker,
                color=colour,
                markersize=6,
                elinewidth=1.6,
                label=name,
            )
        axes.hlines(reference, centres - 0.4, centres + 0.4, colors=FAINT, linewidth=1.6, label=meaning, zorder=1.5)
        axes.set_xticks(centres, groups, rotation=25, ha="right", rotation_mode="anchor")
        axes.axvline(len(CLASSES) - 0.5, color=FAINT, linewidth=0.8)
        axes.grid(False, axis="x")
        axes.set(title=f"{title} on test, slices", xlim=(-0.6, len(groups) - 0.4))
        bottom, top = axes.get_ylim()
        axes.set_ylim((bottom, min(top, 1.01)) if metric == "accuracy" else (0, top))
        handles, labels = axes.get_legend_handles_labels()
        last = {"handles": [*handles[1:], handles[0]], "labels": [*labels[1:], labels[0]]}  # what no model gives
        axes.legend(**last, loc="upper center", bbox_to_anchor=(0.5, -0.27), ncols=2)
    return figure


@_styled
def roc(curves: pd.DataFrame, metrics: pd.DataFrame, *, title: str, synthetic: bool, unit: str = "slice") -> Figure:
    """Draw the ROC curves of an experiment on test (figure 4 of the paper).

    Parameters
    ----------
    curves, metrics : DataFrame
        As from `evaluation.evaluate`.
    title : str
        Name of the experiment.
    synthetic : bool
        Mark the figure.
    unit : {"slice", "scan"}
        What is counted.
    """
    figure = _figure(5.6, 6.2, synthetic)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle=":", linewidth=1.2)
    _curves(axes, curves, "roc", _test(metrics, "roc_auc", unit), unit)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title=f"ROC on test, {unit}s: {title}")
    _legend(axes, "area under the curve (interval)")
    return figure


@_styled
def precision_recall(
    curves: pd.DataFrame, metrics: pd.DataFrame, *, title: str, synthetic: bool, unit: str = "slice"
) -> Figure:
    """Draw the precision-recall curves of an experiment on test, recall across (figure 5 of the paper).

    A dotted line is the prevalence of its class: the precision of calling every slice positive.

    Parameters
    ----------
    curves, metrics : DataFrame
        As from `evaluation.evaluate`.
    title : str
        Name of the experiment.
    synthetic : bool
        Mark the figure.
    unit : {"slice", "scan"}
        What is counted.
    """
    figure = _figure(5.6, 6.2, synthetic)
    axes = figure.add_subplot()
    values = _test(metrics, "average_precision", unit)
    for name in CLASSES:
        if np.isfinite(values["value"][name]):
            share = values["positive"][name] / values["n"][name]
            axes.axhline(share, color=COLOURS[name], linestyle=":", linewidth=1)
    _curves(axes, curves, "pr", values, unit)
    axes.set(xlabel="recall", ylabel="precision", title=f"Precision and recall on test, {unit}s: {title}")
    _legend(axes, "average precision (interval); dotted: prevalence")
    return figure


def _curves(axes: Axes, curves: pd.DataFrame, kind: str, values: pd.DataFrame, unit: str) -> None:
    """Draw a curve a class; the legend says the value of each, or why there is none."""
    curves = curves[(curves["part"] == "test") & (curves["curve"] == kind) & (curves["unit"] == unit)]
    for name in CLASSES:
        points = curves[curves["class"] == name]
        row: Any = values.loc[name]
        if np.isnan(row["value"]):
            label = f"{name}: {row['reason']}"
        elif np.isnan(row["lower"]):
            label = f"{name} {row['value']:.3f}"
        else:
            label = f"{name} {row['value']:.3f} ({row['lower']:.3f} to {row['upper']:.3f})"
        # `any` is drawn broad and below the others, which would be hidden where it runs with them.
        broad: Any = {"linewidth": 3, "zorder": 1.9} if name == "any" else {"linewidth": 1.5}
        axes.plot(points["x"], points["y"], color=COLOURS[name], label=label, **broad)


def _legend(axes: Axes, title: str) -> None:
    """Set a square plot of rates, with its legend below."""
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.47, -0.13), ncols=2, fontsize=8, title=title, title_fontsize=8,
        columnspacing=1.2, handlelength=1.5,
    )  # fmt: skip


@_styled
def montage(images: np.ndarray, captions: Sequence[str], windows: Sequence[str], *, synthetic: bool) -> Figure:
    """Draw slices in their windows, a row a slice and a column a window.

    Parameters
    ----------
    images : uint8 array [slice, channel, height, width]
    captions : sequence of str
        One a slice. That of a class gives the slice the colour of the class.
    windows : sequence of str
        One a channel.
    synthetic : bool
        Mark the figure.
    """
    side = 2.0  # inches
    figure = _figure(side * len(windows) + 0.4, side * len(images) + 0.4, synthetic)
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    grid = figure.subplots(len(images), len(windows), squeeze=False)
    for row, caption in enumerate(captions):
        for column, window in enumerate(windows):
            axes = grid[row, column]
            axes.imshow(images[row, column], cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set_visible(False)
            if row == 0:
                axes.set_title(window.replace("_", " "), loc="center", fontsize=10, fontweight="normal", pad=4)
            if column == 0:
                axes.set_ylabel(caption, fontsize=10)
                axes.spines["left"].set(visible=caption in COLOURS, color=COLOURS.get(caption), linewidth=5)
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
    figure = _figure(9.5, 3.8, synthetic)
    loss, auc = figure.subplots(1, 2)
    dots = {"marker": "o", "markersize": 4} if len(table) < 25 else {}
    epochs = table["epoch"]
    loss.plot(epochs, table["train_loss"], color=PART_COLOURS["train"], label="training, augmented", **dots)
    loss.plot(
        epochs, table["validation_loss"], color=PART_COLOURS["validation"], linestyle="--", label="validation", **dots
    )
    for name in CLASSES:
        values = table[f"validation_roc_auc_{name}"]
        label = name if values.notna().any() else f"{name} (no value)"
        auc.plot(epochs, values, color=COLOURS[name], linewidth=1.4, label=label, **dots)
    auc.plot(epochs, table["validation_roc_auc"], color=FAINT, linewidth=3.5, label="mean", zorder=1.5, **dots)
    loss.set(title=f"Loss: {title}", ylim=(0, None))
    auc.set(title=f"ROC AUC on validation: {title}")
    for axes in (loss, auc):
        axes.axvline(best_epoch, color=INK, linestyle=":", linewidth=1.2, label="epoch kept")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=4, fontsize=8, columnspacing=1.2)
    return figure


@_styled
def search(points: pd.DataFrame, keys: Sequence[str], *, title: str, synthetic: bool) -> Figure:
    """Draw the ROC AUC of each point of a grid search, and mark the one that was chosen.

    Two keys that vary give a heat map, one a line; more a dot for each point, best on top.

    Parameters
    ----------
    points : DataFrame
        As from `search.table`.
    keys : sequence of str
        The keys of the grid.
    title : str
        Name of the experiment.
    synthetic : bool
        Mark the figure.
    """
    varied = [key for key in keys if points[key].nunique() > 1] or list(keys[:1])
    draw, size = {1: (_line, (5.6, 3.8)), 2: (_heat, (5.6, 4.2))}.get(
        len(varied), (_dots, (7.5, 1.6 + len(points) / 4))
    )
    figure = _figure(*size, synthetic)
    axes = figure.add_subplot()
    draw(figure, axes, points, varied)
    axes.set_title(f"ROC AUC on validation: {title}")
    return figure


_CHOSEN: Any = {"marker": "o", "markersize": 11, "markerfacecolor": "none", "linestyle": "none", "color": INK}


def _line(figure: Figure, axes: Axes, points: pd.DataFrame, keys: Sequence[str]) -> None:
    """Draw values of one key across: in equal steps, for most grids are of powers."""
    ordered = points.sort_values(keys[0])
    axes.plot(ordered[keys[0]].map(_value), ordered["validation_roc_auc"], color=SERIES[0][0], marker="o")
    chosen = points[points["chosen"]]
    axes.plot(chosen[keys[0]].map(_value), chosen["validation_roc_auc"], label="chosen", **_CHOSEN)
    axes.margins(x=0.1, y=0.15)
    axes.set(xlabel=keys[0])
    axes.legend()


def _heat(figure: Figure, axes: Axes, points: pd.DataFrame, keys: Sequence[str]) -> None:
    """Draw a square for each pair of values, with its number in it."""
    grid = points.pivot(index=keys[0], columns=keys[1], values="validation_roc_auc")
    image = axes.imshow(np.ma.masked_invalid(grid), cmap="cividis", aspect="auto")
    middle = (grid.min().min() + grid.max().max()) / 2
    for (row, column), value in np.ndenumerate(grid.to_numpy()):
        colour = "white" if value < middle else INK
        axes.text(column, row, "–" if np.isnan(value) else f"{value:.3f}", ha="center", va="center", color=colour)
    chosen: Any = points[points["chosen"]].iloc[0]
    corner = [*grid.columns].index(chosen[keys[1]]) - 0.5, [*grid.index].index(chosen[keys[0]]) - 0.5
    axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=ALERT, linewidth=3, label="chosen", clip_on=False))
    axes.set_xticks(range(len(grid.columns)), map(_value, grid.columns))
    axes.set_yticks(range(len(grid)), map(_value, grid.index))
    axes.set(xlabel=keys[1], ylabel=keys[0])
    axes.grid(False)
    axes.legend(loc="upper right", bbox_to_anchor=(1, -0.13))
    figure.colorbar(image, ax=axes)


def _dots(figure: Figure, axes: Axes, points: pd.DataFrame, keys: Sequence[str]) -> None:
    """Draw a row for each point."""
    ordered = points.sort_values("validation_roc_auc", kind="stable", na_position="first")
    names = [", ".join(map(_value, row)) for row in ordered[[*keys]].itertuples(index=False)]
    axes.plot(ordered["validation_roc_auc"], names, color=SERIES[0][0], marker="o", linestyle="none")
    place = int(np.flatnonzero(ordered["chosen"])[0])
    axes.plot(ordered["validation_roc_auc"].iloc[[place]], [names[place]], label="chosen", **_CHOSEN)
    axes.margins(x=0.1)
    axes.set_ylabel(",\n".join(keys))
    axes.legend(loc="upper right", bbox_to_anchor=(1, -0.1))


def _value(value: Any) -> str:
    """Write a value of a grid."""
    return f"{value:g}" if isinstance(value, float) else str(value)


_SCALINGS = {  # what each method of calibration is called, and how it is drawn
    "none": ("as predicted", {"color": INK, "marker": "o", "markersize": 4, "linewidth": 1.3}),
    "temperature": (
        "temperature",
        {"color": "#AA4499", "marker": "s", "markersize": 2.5, "linewidth": 1.3, "linestyle": "--"},
    ),
    "isotonic": (
        "isotonic",
        {"color": "#999933", "marker": "^", "markersize": 2.5, "linewidth": 1.3, "linestyle": ":"},
    ),
}


@_styled
def calibration(reliability: pd.DataFrame, measured: pd.DataFrame, *, title: str, synthetic: bool) -> Figure:
    """Draw the reliability of each class before and after scaling, slices above scans.

    Parameters
    ----------
    reliability, measured : DataFrame
        As from `calibration.calibration`.
    title : str
        Name of the experiment.
    synthetic : bool
        Mark the figure.
    """
    figure = _figure(12.5, 5.4, synthetic)
    figure.suptitle(f"Calibration on test: {title}", x=0.01, ha="left", fontsize=11, fontweight="bold")
    grid = figure.subplots(len(_UNITS), len(CLASSES), sharex=True, sharey=True)
    root = {"functions": (lambda x: np.sqrt(np.clip(x, 0, None)), np.square)}
    for (unit, name), axes in zip(itertools.product(_UNITS, CLASSES), grid.flat, strict=True):
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, zorder=1.5)
        rows = reliability[(reliability["unit"] == unit) & (reliability["class"] == name)]
        for method, (label, style) in _SCALINGS.items():
            points = rows[rows["method"] == method]
            axes.plot(points["mean_probability"], points["value"], label=label, **style)
            if method == "none":
                axes.errorbar(
                    points["mean_probability"], points["value"], yerr=_ends(points), fmt="none", ecolor=INK,
                    elinewidth=1,
                )  # fmt: skip
        slopes = measured[(measured["unit"] == unit) & (measured["class"] == name) & (measured["measure"] == "slope")]
        slope = slopes.set_index("method")["value"]["none"]
        text = "no slope" if np.isnan(slope) else f"slope {slope:.2f}".replace("inf", "∞")
        axes.text(0.05, 0.93, text, transform=axes.transAxes, va="top", fontsize=8)
        axes.set_xscale("function", **root)
        axes.set_yscale("function", **root)
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=_ROOTS, yticks=_ROOTS)
        axes.set_xticklabels([f"{tick:g}" for tick in _ROOTS], fontsize=8)
        axes.set_yticklabels([f"{tick:g}" for tick in _ROOTS], fontsize=8)
        axes.set_aspect("equal")
        if unit == _UNITS[0]:
            axes.set_title(name, fontsize=10, loc="center", pad=5)
        if name == CLASSES[0]:
            axes.set_ylabel(f"observed share of {unit}s", fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel("predicted", fontsize=9)
    _legend_below(figure, grid[0, 0])
    return figure


_UNITS = ("slice", "scan")
_ROOTS = (0, 0.05, 0.2, 0.5, 1)
_RULES = {  # what each operating point is called, and its marker
    "decision": "decision rule",
    "youden": "Youden",
    "sensitivity_95": "sensitivity ≥ 0.95",
    "specificity_95": "specificity ≥ 0.95",
}


def _ends(rows: pd.DataFrame) -> np.ndarray:
    """Give the lengths of intervals to either side of the value [side, row], for matplotlib."""
    ends = np.array([rows["value"] - rows["lower"], rows["upper"] - rows["value"]], dtype=float)
    return np.nan_to_num(ends).clip(0)


def _legend_below(figure: Figure, axes: Axes) -> None:
    """Put one legend for all panels below them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=len(labels), fontsize=9)


def _by_class(axes: Axes, names: Sequence[str]) -> None:
    """Put classes down the left side, from the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.grid(False, axis="y")


@_styled
def operating_points(points: pd.DataFrame, *, title: str, synthetic: bool) -> Figure:
    """Draw rates at the operating points on test with their intervals, slices above scans.

    Parameters
    ----------
    points : DataFrame
        As from `operating.with_wilson`.
    title : str
        Name of the experiment.
    synthetic : bool
        Mark the figure.
    """
    measures = {"sensitivity": "sensitivity", "specificity": "specificity", "ppv": "PPV", "npv": "NPV"}
    figure = _figure(11.5, 7, synthetic)
    figure.suptitle(f"Operating points on test: {title}", x=0.01, ha="left", fontsize=11, fontweight="bold")
    grid = figure.subplots(len(_UNITS), len(measures), sharex=True, sharey=True)
    test = points[points["part"] == "test"]
    for (unit, (measure, name)), axes in zip(itertools.product(_UNITS, measures.items()), grid.flat, strict=True):
        for place, (rule, label) in enumerate(_RULES.items()):
            chosen = (test["unit"] == unit) & (test["measure"] == measure) & (test["rule"] == rule)
            rows = test[chosen].set_index("class").reindex(CLASSES)
            colour, marker = SERIES[place]
            axes.errorbar(
                rows["value"], np.arange(len(CLASSES)) + (place - 1.5) * 0.19, xerr=_ends(rows), fmt=marker,
                color=colour, markersize=4.5, elinewidth=1.4, label=label,
            )  # fmt: skip
        for line in np.arange(len(CLASSES) - 1) + 0.5:
            axes.axhline(line, color="#E3E7EB", linewidth=0.8)
        _by_class(axes, CLASSES)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
        axes.set(xlim=(-0.02, 1.02))
        axes.set_title(f"{name}, {unit}s", fontsize=10)
    _legend_below(figure, grid[0, 0])
    return figure


@_styled
def confusion(points: pd.DataFrame, *, title: str, synthetic: bool) -> Figure:
    """Draw the confusion matrices at the decision rule on test, slices above scans.

    Parameters
    ----------
    points : DataFrame
        As from `operating.operating_points`.
    title : str
        Name of the experiment.
    synthetic : bool
        Mark the figure.
    """
    figure = _figure(12.5, 5.2, synthetic)
    heading = f"Confusion matrices on test at the decision rule: {title}"
    figure.suptitle(heading, x=0.01, ha="left", fontsize=11, fontweight="bold")
    grid = figure.subplots(len(_UNITS), len(CLASSES))
    chosen = points[(points["part"] == "test") & (points["rule"] == "decision")]
    cells = chosen.set_index(["unit", "class", "measure"]).sort_index()
    for (unit, name), axes in zip(itertools.product(_UNITS, CLASSES), grid.flat, strict=True):
        rows: Any = cells.loc[(unit, name)]
        order = ["true_positive", "false_negative", "false_positive", "true_negative"]
        counts = rows["value"][order].to_numpy().reshape(2, 2)
        with np.errstate(invalid="ignore"):
            shares = counts / counts.sum(axis=1, keepdims=True)
        axes.imshow(np.nan_to_num(shares), cmap="Blues", vmin=0, vmax=1.25)
        for (row, column), count in np.ndenumerate(counts):
            share = shares[row, column]
            text = "–" if np.isnan(count) else f"{count:,.0f}" + ("" if np.isnan(share) else f"\n{share:.1%}")
            white = {"color": "white"} if share > 0.7 else {}
            axes.text(column, row, text, ha="center", va="center", fontsize=9, **white)
        axes.set_xticks([0, 1], ["called +", "called −"], fontsize=8)
        axes.set_yticks([0, 1], ["is +", "is −"] if name == CLASSES[0] else ["", ""], fontsize=8)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        cut = rows["threshold"].iloc[0]
        said = "no threshold" if np.isnan(cut) else "calls nothing" if np.isinf(cut) else f"from {cut:.3g} on"
        axes.set_title(f"{name}\n{said}" if unit == _UNITS[0] else said, fontsize=9, loc="center", pad=5)
        if name == CLASSES[0]:
            axes.set_ylabel(f"{unit}s", fontsize=10, fontweight="bold")
    return figure


_HEADS = {
    "pixels": "stored pixels",
    "tilt": "gantry tilt",
    "spacing": "slice spacing",
    "slices": "slices in the series",
    "position": "position in the series",
    "subtypes": "subtypes in the labels",
}


@_styled
def subgroups(table: pd.DataFrame, *, title: str, synthetic: bool, name: str = "any") -> Figure:
    """Draw the ROC AUC of a class on test in each subgroup, slices beside scans.

    Parameters
    ----------
    table : DataFrame
        As from `subgroups.subgroups`. Groups of few patients are grey.
    title : str
        Name of the experiment.
    synthetic : bool
        Mark the figure.
    name : str
        Class.
    """
    rows = table[(table["class"] == name) & (table["metric"] == "roc_auc")]
    pairs = [*dict.fromkeys(rows[["subgroup", "group"]].itertuples(index=False, name=None))]
    lines = [("all", "all")]
    for subgroup in dict.fromkeys(subgroup for subgroup, _ in pairs[1:]):
        lines += [(subgroup, ""), *(pair for pair in pairs if pair[0] == subgroup)]  # a head and its groups
    figure = _figure(10.5, 1.5 + 0.24 * len(lines), synthetic)
    figure.suptitle(f"Subgroups on test: {title}", x=0.01, ha="left", fontsize=11, fontweight="bold")
    grid = figure.subplots(1, len(_UNITS), sharex=True, sharey=True)
    lowest = float(np.nanmin(rows[["value", "lower"]].to_numpy(np.float64), initial=1))
    grid[0].set_xlim(min(0.5, np.floor(10 * lowest) / 10), 1.01)  # the same for most models
    for unit, axes in zip(_UNITS, grid, strict=True):
        of_unit = rows[rows["unit"] == unit].set_index(["subgroup", "group"])
        whole = of_unit["value"].get(("all", "all"), np.nan)
        axes.axvline(whole, color=FAINT, linewidth=1, linestyle=":")
        for place, line in enumerate(lines):
            if line not in of_unit.index:
                continue
            row: Any = of_unit.loc[line]
            colour = FAINT if row["few"] else COLOURS[name]
            note = f"{row['positive']:,} of {row['n']:,}"
            axes.text(1.02, place, note, transform=axes.get_yaxis_transform(), va="center", fontsize=8, color=colour)
            if np.isnan(row["value"]):
                axes.text(
                    0.02, place, row["reason"], transform=axes.get_yaxis_transform(), va="center", fontsize=8,
                    color=FAINT,
                )  # fmt: skip
                continue
            one = of_unit.loc[[line]]
            axes.errorbar(
                one["value"], [place], xerr=_ends(one), fmt="s" if line[0] == "all" else "o", color=colour,
                markersize=5, elinewidth=1.5,
            )  # fmt: skip
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.grid(False, axis="y")
        axes.set_title(f"ROC AUC of {name}, {unit}s", fontsize=10)
        axes.set_xlabel("at the right: positive, of all", fontsize=8)
    grid[0].set_yticks(range(len(lines)), [group or _HEADS[subgroup] for subgroup, group in lines])
    for label, (subgroup, group) in zip(grid[0].get_yticklabels(), lines, strict=True):
        label.set_fontweight("normal" if group and subgroup != "all" else "bold")
    return figure


@_styled
def differences(table: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw the paired differences of the experiments on test, slices above scans.

    Parameters
    ----------
    table : DataFrame
        As from `pairs.pairs`.
    synthetic : bool
        Mark the figure.
    """
    metrics = {"roc_auc": "ROC AUC", "average_precision": "average precision", "log_loss": "log loss"}
    names = [*CLASSES, "mean"]
    table = table[table["method"] == "bootstrap"]
    compared = [*table[["first", "second"]].drop_duplicates().itertuples(index=False)]
    figure = _figure(11, 6.4 + 0.5 * max(0, len(compared) - 3), synthetic)
    if not compared:
        figure.text(0.5, 0.5, "one experiment: nothing to compare", ha="center")
        return figure
    figure.suptitle("Paired differences on test", x=0.01, ha="left", fontsize=11, fontweight="bold")
    grid = figure.subplots(len(_UNITS), len(metrics), sharey=True, sharex="col")
    for (unit, (metric, called)), axes in zip(itertools.product(_UNITS, metrics.items()), grid.flat, strict=True):
        axes.axvline(0, color=FAINT, linewidth=1)
        for place, (first, second) in enumerate(compared):
            of_pair = (table["first"] == first) & (table["second"] == second)
            rows = table[of_pair & (table["unit"] == unit) & (table["metric"] == metric)].set_index("class")
            rows = rows.reindex(names)
            at = np.arange(len(names)) + (place - (len(compared) - 1) / 2) * 0.7 / len(compared)
            colour, marker = SERIES[place % len(SERIES)]
            axes.errorbar(
                rows["value"], at, xerr=_ends(rows), fmt=marker, color=colour, markerfacecolor="white", markersize=5,
                elinewidth=1.5, label=f"{first} − {second}",
            )  # fmt: skip
            # The mean is one test, and needs no correction.
            found = (rows["p_holm"].fillna(rows["p"]) < 0.05).to_numpy()
            axes.plot(rows["value"][found], at[found], marker, color=colour, markersize=5, zorder=4)
        _by_class(axes, names)
        axes.set_title(f"{called}, {unit}s", fontsize=10)
        if unit == _UNITS[-1]:
            sides = ("second", "first") if metric != "log_loss" else ("first", "second")
            axes.set_xlabel(f"← {sides[0]} better | {sides[1]} better →", fontsize=9)
    _legend_below(figure, grid[0, 0])
    return figure


@_styled
def along(slices: pd.DataFrame, *, title: str, synthetic: bool) -> Figure:
    """Draw the probabilities of each class along the slices of a series, and where it is labelled.

    Parameters
    ----------
    slices : DataFrame
        Slices of one series: number, the six labels and probabilities.
    title : str
        Name of the experiment.
    synthetic : bool
        Mark the figure.
    """
    slices = slices.sort_values("number")
    figure = _figure(8, 6.6, synthetic)
    grid = figure.subplots(len(CLASSES), 1, sharex=True)
    for axes, name in zip(grid, CLASSES, strict=True):
        labelled = slices.loc[slices[name] == 1, "number"]
        axes.bar(labelled, 1, width=1, color=COLOURS[name], alpha=0.22, label="labelled")
        axes.plot(slices["number"], slices[f"probability_{name}"], color=COLOURS[name], marker="o", markersize=3)
        axes.set(ylim=(-0.05, 1.05), yticks=[0, 0.5, 1])
        axes.set_title(name, fontsize=9, fontweight="normal", pad=3)
    grid[-1].set(xlabel="slice, from the feet up; shaded: labelled")
    grid[-1].xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(f"Probability along a scan: {title}", x=0.01, ha="left", fontweight="bold")
    return figure

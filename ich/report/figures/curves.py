"""ROC curves and precision-recall curves."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ich.base.classes import CLASSES
from ich.base.palette import FAINT
from ich.report.figures.frame import COLOURS, blank, on_test, styled


@styled
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
    figure = blank(5.6, 6.2, synthetic)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle=":", linewidth=1.2)
    _curves(axes, curves, "roc", on_test(metrics, "roc_auc", unit), unit)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title=f"ROC on test, {unit}s: {title}")
    _legend(axes, "area under the curve (interval)")
    return figure


@styled
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
    figure = blank(5.6, 6.2, synthetic)
    axes = figure.add_subplot()
    values = on_test(metrics, "average_precision", unit)
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

"""Reliability diagrams."""

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ich.base.classes import CLASSES
from ich.base.palette import FAINT, INK
from ich.report.figures.frame import ROOTS, UNITS, blank, interval_lengths, legend_below, styled

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


@styled
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
    figure = blank(12.5, 5.4, synthetic)
    figure.suptitle(f"Calibration on test: {title}", x=0.01, ha="left", fontsize=11, fontweight="bold")
    grid = figure.subplots(len(UNITS), len(CLASSES), sharex=True, sharey=True)
    root = {"functions": (lambda x: np.sqrt(np.clip(x, 0, None)), np.square)}
    for (unit, name), axes in zip(itertools.product(UNITS, CLASSES), grid.flat, strict=True):
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, zorder=1.5)
        rows = reliability[(reliability["unit"] == unit) & (reliability["class"] == name)]
        for method, (label, style) in _SCALINGS.items():
            points = rows[rows["method"] == method]
            axes.plot(points["mean_probability"], points["value"], label=label, **style)
            if method == "none":
                axes.errorbar(
                    points["mean_probability"], points["value"], yerr=interval_lengths(points), fmt="none", ecolor=INK,
                    elinewidth=1,
                )  # fmt: skip
        slopes = measured[(measured["unit"] == unit) & (measured["class"] == name) & (measured["measure"] == "slope")]
        slope = slopes.set_index("method")["value"]["none"]
        text = "no slope" if np.isnan(slope) else f"slope {slope:.2f}".replace("inf", "∞")
        axes.text(0.05, 0.93, text, transform=axes.transAxes, va="top", fontsize=8)
        axes.set_xscale("function", **root)
        axes.set_yscale("function", **root)
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=ROOTS, yticks=ROOTS)
        axes.set_xticklabels([f"{tick:g}" for tick in ROOTS], fontsize=8)
        axes.set_yticklabels([f"{tick:g}" for tick in ROOTS], fontsize=8)
        axes.set_aspect("equal")
        if unit == UNITS[0]:
            axes.set_title(name, fontsize=10, loc="center", pad=5)
        if name == CLASSES[0]:
            axes.set_ylabel(f"observed share of {unit}s", fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel("predicted", fontsize=9)
    legend_below(figure, grid[0, 0])
    return figure

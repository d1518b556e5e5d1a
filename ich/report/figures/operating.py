"""Figures of the operating points: rates by threshold rule, and confusion matrices."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ich.base.classes import CLASSES
from ich.report.figures.frame import SERIES, UNITS, blank, interval_lengths, label_rows, legend_below, styled

_RULES = {  # what each operating point is called, and its marker
    "decision": "decision rule",
    "youden": "Youden",
    "sensitivity_95": "sensitivity ≥ 0.95",
    "specificity_95": "specificity ≥ 0.95",
}


@styled
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
    figure = blank(11.5, 7, synthetic)
    figure.suptitle(f"Operating points on test: {title}", x=0.01, ha="left", fontsize=11, fontweight="bold")
    grid = figure.subplots(len(UNITS), len(measures), sharex=True, sharey=True)
    test = points[points["part"] == "test"]
    for (unit, (measure, name)), axes in zip(itertools.product(UNITS, measures.items()), grid.flat, strict=True):
        for place, (rule, label) in enumerate(_RULES.items()):
            chosen = (test["unit"] == unit) & (test["measure"] == measure) & (test["rule"] == rule)
            rows = test[chosen].set_index("class").reindex(CLASSES)
            colour, marker = SERIES[place]
            axes.errorbar(
                rows["value"], np.arange(len(CLASSES)) + (place - 1.5) * 0.19, xerr=interval_lengths(rows), fmt=marker,
                color=colour, markersize=4.5, elinewidth=1.4, label=label,
            )  # fmt: skip
        for line in np.arange(len(CLASSES) - 1) + 0.5:
            axes.axhline(line, color="#E3E7EB", linewidth=0.8)
        label_rows(axes, CLASSES)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
        axes.set(xlim=(-0.02, 1.02))
        axes.set_title(f"{name}, {unit}s", fontsize=10)
    legend_below(figure, grid[0, 0])
    return figure


@styled
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
    figure = blank(12.5, 5.2, synthetic)
    heading = f"Confusion matrices on test at the decision rule: {title}"
    figure.suptitle(heading, x=0.01, ha="left", fontsize=11, fontweight="bold")
    grid = figure.subplots(len(UNITS), len(CLASSES))
    chosen = points[(points["part"] == "test") & (points["rule"] == "decision")]
    cells = chosen.set_index(["unit", "class", "measure"]).sort_index()
    for (unit, name), axes in zip(itertools.product(UNITS, CLASSES), grid.flat, strict=True):
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
        axes.set_title(f"{name}\n{said}" if unit == UNITS[0] else said, fontsize=9, loc="center", pad=5)
        if name == CLASSES[0]:
            axes.set_ylabel(f"{unit}s", fontsize=10, fontweight="bold")
    return figure

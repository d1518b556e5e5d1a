"""Figures that compare experiments."""

import itertools
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ich.base.classes import CLASSES
from ich.base.palette import FAINT
from ich.report.figures.frame import SERIES, UNITS, blank, interval_lengths, label_rows, legend_below, on_test, styled


@styled
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
    figure = blank(10, 4.4, synthetic)
    groups = [*CLASSES, "mean"]
    centres = np.arange(len(groups), dtype=float)
    panels = {
        "accuracy": ("Accuracy", "always_negative_accuracy", "always saying no"),
        "log_loss": ("Log loss", "prior_log_loss", "forecasting the prevalence of training"),
    }
    for axes, (metric, (title, baseline, meaning)) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        reference = on_test(next(iter(metrics.values())), baseline).reindex(groups)["value"]
        for place, (name, frame) in enumerate(metrics.items()):
            rows = on_test(frame, metric).reindex(groups)
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


@styled
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
    figure = blank(11, 6.4 + 0.5 * max(0, len(compared) - 3), synthetic)
    if not compared:
        figure.text(0.5, 0.5, "one experiment: nothing to compare", ha="center")
        return figure
    figure.suptitle("Paired differences on test", x=0.01, ha="left", fontsize=11, fontweight="bold")
    grid = figure.subplots(len(UNITS), len(metrics), sharey=True, sharex="col")
    for (unit, (metric, called)), axes in zip(itertools.product(UNITS, metrics.items()), grid.flat, strict=True):
        axes.axvline(0, color=FAINT, linewidth=1)
        for place, (first, second) in enumerate(compared):
            of_pair = (table["first"] == first) & (table["second"] == second)
            rows = table[of_pair & (table["unit"] == unit) & (table["metric"] == metric)].set_index("class")
            rows = rows.reindex(names)
            at = np.arange(len(names)) + (place - (len(compared) - 1) / 2) * 0.7 / len(compared)
            colour, marker = SERIES[place % len(SERIES)]
            axes.errorbar(
                rows["value"], at, xerr=interval_lengths(rows), fmt=marker, color=colour, markerfacecolor="white",
                markersize=5, elinewidth=1.5, label=f"{first} − {second}",
            )  # fmt: skip
            # The mean is one test, and needs no correction.
            found = (rows["p_holm"].fillna(rows["p"]) < 0.05).to_numpy()
            axes.plot(rows["value"][found], at[found], marker, color=colour, markersize=5, zorder=4)
        label_rows(axes, names)
        axes.set_title(f"{called}, {unit}s", fontsize=10)
        if unit == UNITS[-1]:
            sides = ("second", "first") if metric != "log_loss" else ("first", "second")
            axes.set_xlabel(f"← {sides[0]} better | {sides[1]} better →", fontsize=9)
    legend_below(figure, grid[0, 0])
    return figure

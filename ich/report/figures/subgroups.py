"""ROC AUC by subgroup."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ich.base.palette import FAINT
from ich.report.figures.frame import COLOURS, UNITS, blank, interval_lengths, styled

_HEADS = {
    "pixels": "stored pixels",
    "tilt": "gantry tilt",
    "spacing": "slice spacing",
    "slices": "slices in the series",
    "position": "position in the series",
    "subtypes": "subtypes in the labels",
}


@styled
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
    figure = blank(10.5, 1.5 + 0.24 * len(lines), synthetic)
    figure.suptitle(f"Subgroups on test: {title}", x=0.01, ha="left", fontsize=11, fontweight="bold")
    grid = figure.subplots(1, len(UNITS), sharex=True, sharey=True)
    lowest = float(np.nanmin(rows[["value", "lower"]].to_numpy(np.float64), initial=1))
    grid[0].set_xlim(min(0.5, np.floor(10 * lowest) / 10), 1.01)  # the same for most models
    for unit, axes in zip(UNITS, grid, strict=True):
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
                one["value"], [place], xerr=interval_lengths(one), fmt="s" if line[0] == "all" else "o", color=colour,
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

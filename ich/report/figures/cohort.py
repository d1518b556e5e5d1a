"""Figures of the cohort: its labels, and slices as the models see them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ich.base.classes import CLASSES
from ich.cohort.split import PARTS
from ich.report.figures.frame import COLOURS, PART_COLOURS, blank, styled


@styled
def label_counts(counts: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw how many slices bear each label (figure 1b of the paper).

    Parameters
    ----------
    counts : DataFrame
        As from `cohort.counts`.
    synthetic : bool
        Mark the figure.
    """
    figure = blank(6.5, 3.4, synthetic)
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


@styled
def prevalence(counts: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw the share of positive slices by class and part (figure 2 of the paper).

    Parameters
    ----------
    counts : DataFrame
        As from `cohort.counts`.
    synthetic : bool
        Mark the figure.
    """
    figure = blank(6.5, 3.6, synthetic)
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


@styled
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
    figure = blank(side * len(windows) + 0.4, side * len(images) + 0.4, synthetic)
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

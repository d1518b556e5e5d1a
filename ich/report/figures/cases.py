"""Probabilities along a scan."""

import pandas as pd
from matplotlib.figure import Figure

from ich.base.classes import CLASSES
from ich.report.figures.frame import COLOURS, blank, styled


@styled
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
    figure = blank(8, 6.6, synthetic)
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

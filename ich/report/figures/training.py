"""Figures of training: loss by epoch, and the points of a search."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ich.base.classes import CLASSES
from ich.base.palette import ALERT, FAINT, INK
from ich.report.figures.frame import COLOURS, PART_COLOURS, SERIES, blank, styled


@styled
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
    figure = blank(9.5, 3.8, synthetic)
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


@styled
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
    figure = blank(*size, synthetic)
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

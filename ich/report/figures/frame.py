"""What all figures share: colours, style, and how they are written.

Each figure of this package is a function that gives a matplotlib figure; `save` writes it as SVG and PNG, byte for
byte the same from equal inputs.
"""

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ich.base.classes import CLASSES
from ich.base.files import replacing
from ich.base.palette import ALERT, FAINT, INK
from ich.cohort.split import PARTS

# Okabe and Ito's palette, which colour-blind readers can tell apart; one colour a class in every figure.
COLOURS = dict(zip(CLASSES, ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#000000"), strict=True))
# What is not a class has none of those colours. Parts: one hue, lighter and lighter, so that grey print will do.
PART_COLOURS = dict(zip(PARTS, ("#33415C", "#7D8FB3", "#C3CCDF"), strict=True))
# Experiments: Tol's muted palette without its greens; shapes tell them apart in grey print.
SERIES = (("#332288", "o"), ("#AA4499", "s"), ("#88CCEE", "D"), ("#999933", "^"), ("#882255", "v"), ("#666666", "P"))
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
        As from `fingerprint.Code.hash`.
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


def styled(draw: Callable[_P, Figure]) -> Callable[_P, Figure]:
    """Draw with the figures' common style."""

    @functools.wraps(draw)
    def styled(*args: _P.args, **kwargs: _P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return styled


def blank(width: float, height: float, synthetic: bool) -> Figure:
    """Make an empty figure, in inches, that says so if its data is synthetic."""
    figure = Figure(figsize=(width, height))
    if synthetic:
        figure.supxlabel("Synthetic data", x=0.995, ha="right", fontsize=8, color=ALERT, fontweight="bold")
    return figure


def on_test(metrics: pd.DataFrame, metric: str, unit: str = "slice") -> pd.DataFrame:
    """Give a metric's rows on test, by class."""
    chosen = (metrics["part"] == "test") & (metrics["metric"] == metric) & (metrics["unit"] == unit)
    return metrics[chosen].set_index("class")


UNITS = ("slice", "scan")
ROOTS = (0, 0.05, 0.2, 0.5, 1)


def interval_lengths(rows: pd.DataFrame) -> np.ndarray:
    """Give the lengths of intervals to either side of the value [side, row], for matplotlib."""
    ends = np.array([rows["value"] - rows["lower"], rows["upper"] - rows["value"]], dtype=float)
    return np.nan_to_num(ends).clip(0)


def legend_below(figure: Figure, axes: Axes) -> None:
    """Put one legend for all panels below them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=len(labels), fontsize=9)


def label_rows(axes: Axes, names: Sequence[str]) -> None:
    """Put classes down the left side, from the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.grid(False, axis="y")

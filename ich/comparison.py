"""The comparison table (figure 6 of the paper): any number of experiments, the baselines, and the paper's numbers."""

import html
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ich import paper
from ich.labels import CLASSES, SUBTYPES

TABLE_COLUMNS = ["quantity", "column", "source", "value", "lower", "upper", "text", "note"]
CLASS_METRICS = ("accuracy", "log_loss", "roc_auc", "average_precision", "pr_auc_trapezoid", "brier", "threshold")
# Rows of the table that are metrics on test: what they are called, the metric and the class.
_METRIC_ROWS = {
    "Accuracy, mean of classes": ("accuracy", "mean"),
    "Log loss, mean of classes": ("log_loss", "mean"),
    "Log loss, `any` counted twice": ("log_loss", "kaggle"),
    "ROC AUC, mean of classes": ("roc_auc", "mean"),
    "ROC AUC of `any`": ("roc_auc", "any"),
    "Average precision of `any`": ("average_precision", "any"),
    "PR AUC (trapezoid) of `any`": ("pr_auc_trapezoid", "any"),
}
_BASELINES = {"accuracy": "always_negative_accuracy", "log_loss": "prior_log_loss"}
_BEST, _WORST = "Best subtype by ROC AUC", "Worst subtype by ROC AUC"
_TIME, _EPOCHS, _PARAMETERS = "Training time", "Epoch kept, of epochs", "Parameters"
QUANTITIES = (*_METRIC_ROWS, _BEST, _WORST, _TIME, _EPOCHS, _PARAMETERS)


def comparison(metrics: Mapping[str, pd.DataFrame], facts: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Put the experiments beside the baselines and the paper.

    Parameters
    ----------
    metrics : mapping of experiment to DataFrame
        As from `evaluation.evaluate`; the part `test` is shown.
    facts : mapping of experiment to mapping
        model.json of each.

    Returns
    -------
    DataFrame
        `TABLE_COLUMNS`, a row a cell: source is experiment, baseline or paper; text is what a table shows; note is the
        number of a note in `paper.NOTES`, or why the cell is empty.
    """
    cells: list[dict[str, Any]] = []
    for name, frame in metrics.items():
        rows = frame[frame["part"] == "test"].set_index(["metric", "class"])
        for quantity, key in _METRIC_ROWS.items():
            cells.append(_cell(quantity, name, "experiment", **_value(rows, key)))
        aucs = {each: rows["value"].get(("roc_auc", each), math.nan) for each in SUBTYPES}
        cells += _extremes(name, "experiment", aucs)
        known = facts[name]
        seconds, epochs = known["seconds"], len(known["seconds_per_epoch"])
        cells += [
            _cell(_TIME, name, "experiment", seconds, text=duration(seconds)),
            _cell(_EPOCHS, name, "experiment", known["best_epoch"], text=f"{known['best_epoch']} of {epochs}"),
            _cell(
                _PARAMETERS, name, "experiment", known["parameters"], text=f"{known['parameters'] / 1e6:.1f} million"
            ),
        ]
    rows = next(iter(metrics.values())).query("part == 'test'").set_index(["metric", "class"])
    for quantity, (metric, group) in _METRIC_ROWS.items():
        if metric in _BASELINES:
            cells.append(_cell(quantity, "no model", "baseline", **_value(rows, (_BASELINES[metric], group))))
    for name, published in paper.RESULTS.items():
        cells += _published(f"{name} (paper)", published)
    return pd.DataFrame(cells, columns=TABLE_COLUMNS)


def _cell(
    quantity: str, column: str, source: str, value: float = math.nan, lower: float = math.nan, upper: float = math.nan,
    text: str | None = None, note: str = "",
) -> dict[str, Any]:  # fmt: skip
    if text is None:
        text = "–" if math.isnan(value) else f"{value:.3f}"
        if not math.isnan(lower):
            text += f" ({lower:.3f} to {upper:.3f})"
    values = (quantity, column, source, value, lower, upper, text, note)
    return dict(zip(TABLE_COLUMNS, values, strict=True))


def _value(rows: pd.DataFrame, key: tuple[str, str]) -> dict[str, Any]:
    if key not in rows.index:
        return {"note": "not measured"}
    row: Any = rows.loc[key]
    return {name: float(row[name]) for name in ("value", "lower", "upper")} | {"note": _text(row["reason"])}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _extremes(column: str, source: str, aucs: Mapping[str, float]) -> list[dict[str, Any]]:
    """Give the cells of the best and the worst subtype."""
    defined = {name: value for name, value in aucs.items() if not math.isnan(value)}
    if not defined:
        return [_cell(quantity, column, source, note="no subtype has both labels") for quantity in (_BEST, _WORST)]
    chosen = {_BEST: max(defined, key=defined.__getitem__), _WORST: min(defined, key=defined.__getitem__)}
    return [
        _cell(quantity, column, source, defined[name], text=f"{name} {defined[name]:.3f}")
        for quantity, name in chosen.items()
    ]


def _published(column: str, published: paper.Published) -> list[dict[str, Any]]:
    """Give the cells of a model of the paper."""
    losses = np.array(published.log_loss)
    values = {
        ("accuracy", "mean"): published.mean_accuracy,
        ("log_loss", "mean"): published.mean_log_loss,
        ("log_loss", "kaggle"): float(np.average(losses, weights=[1, 1, 1, 1, 1, 2])),
        ("roc_auc", "mean"): float(np.mean(published.roc_auc)),
        ("roc_auc", "any"): published.roc_auc[-1],
        ("pr_auc_trapezoid", "any"): published.pr_auc_trapezoid[-1],
    }
    cells = [
        _cell(quantity, column, "paper", values[key], note=str(published.notes.get(key, "")))
        for quantity, key in _METRIC_ROWS.items()
        if key in values
    ]
    return cells + _extremes(column, "paper", dict(zip(SUBTYPES, published.roc_auc[:-1], strict=True)))


def duration(seconds: float) -> str:
    """Write a duration as hours, minutes and seconds, or as seconds below a minute."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {whole % 60:02d} s"


def by_class(metrics: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Give every metric of every class and experiment on test.

    Returns
    -------
    DataFrame
        experiment, class, metric, value, lower, upper, n, positive, reason.
    """
    frames = [
        frame[(frame["part"] == "test") & frame["metric"].isin(CLASS_METRICS)].assign(experiment=name)
        for name, frame in metrics.items()
    ]
    columns = ["experiment", "class", "metric", "value", "lower", "upper", "n", "positive", "reason"]
    return pd.concat(frames, ignore_index=True)[columns]


# ---- the table as text


def grid(table: pd.DataFrame) -> pd.DataFrame:
    """Give the table as it is shown: a row a quantity, a column an experiment, baseline or model of the paper."""
    marked = table["text"] + table["note"].map(lambda note: f" [{note}]" if note.isdigit() else "")
    shown = table.assign(text=marked).pivot(index="quantity", columns="column", values="text")
    return shown.reindex(index=list(QUANTITIES), columns=list(table["column"].unique())).fillna("–")


def caption(synthetic: bool, slices: int, patients: int) -> str:
    """Say what the table shows, and on which data."""
    data = f"Test part of the {'synthetic' if synthetic else 'given'} data: {slices:,} slices of {patients:,} patients."
    intervals = "In parentheses: intervals from a bootstrap by patient."
    if synthetic:
        return (
            f"{data} {intervals} The paper's columns are of another data set, the RSNA 2019 test part: they cannot be "
            "compared with columns of synthetic data."
        )
    return f"{data} {intervals} The paper's columns are as published, of its own test part of the RSNA 2019 data."


def to_markdown(table: pd.DataFrame, head: str) -> str:
    """Write the table in Markdown, with its caption and notes."""
    shown = grid(table)
    lines = ["| | " + " | ".join(map(_markdown, shown.columns)) + " |", "|---|" + "---|" * len(shown.columns)]
    lines += [f"| {_markdown(name)} | " + " | ".join(map(_markdown, row)) + " |" for name, row in _rows(shown)]
    notes = [f"{number}. {note}" for number, note in enumerate(paper.NOTES, start=1)]
    return "\n".join([head, "", *lines, "", "Notes on the paper's numbers:", "", *notes, ""])


def _rows(shown: pd.DataFrame) -> list[tuple[str, list[str]]]:
    return [(str(name), row.tolist()) for name, row in shown.iterrows()]


def _markdown(text: str) -> str:
    return text.replace("|", "\\|")


def to_html(table: pd.DataFrame, head: str) -> str:
    """Write the table as an HTML fragment; everything in it is escaped."""
    shown = grid(table)
    sources = table.groupby("column")["source"].first().to_dict()
    header = "".join(f'<th scope="col" class="{sources[name]}">{_code(name)}</th>' for name in shown.columns)
    body = "\n".join(
        f'<tr><th scope="row">{_code(name)}</th>'
        + "".join(f'<td class="{sources[column]}">{_code(cell)}</td>' for column, cell in zip(shown, row, strict=True))
        + "</tr>"
        for name, row in _rows(shown)
    )
    return (
        f"<table>\n<caption>{html.escape(head)}</caption>\n<thead><tr><td></td>{header}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody>\n</table>\n"
    )


def _code(text: str) -> str:
    """Escape a text and set words between backticks as code."""
    pieces = html.escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces))


def to_latex(table: pd.DataFrame, head: str) -> str:
    """Write the table in LaTeX, for the package booktabs."""
    shown = grid(table)
    lines = [
        "\\begin{table}",
        f"\\caption{{{_latex(head)}}}",
        f"\\begin{{tabular}}{{l{'r' * len(shown.columns)}}}",
        "\\toprule",
        " & ".join(["", *map(_latex, shown.columns)]) + " \\\\",
        "\\midrule",
        *(" & ".join(map(_latex, [name, *row])) + " \\\\" for name, row in _rows(shown)),
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join([*lines, *(f"% [{number}] {note}" for number, note in enumerate(paper.NOTES, start=1)), ""])


_LATEX = {
    "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_", "{": "\\{", "}": "\\}",
    "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "–": "--", "`": "",
}  # fmt: skip


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def verdict(metrics: Mapping[str, pd.DataFrame], synthetic: bool) -> str:
    """Say in two sentences what the test part tells, and no more than it does."""
    losses = {
        name: frame.query("part == 'test' and metric == 'log_loss' and `class` == 'mean'").iloc[0]
        for name, frame in metrics.items()
    }
    ranked = sorted(losses, key=lambda name: losses[name]["value"])
    shown = {name: f"{row['value']:.3f} ({row['lower']:.3f} to {row['upper']:.3f})" for name, row in losses.items()}
    best = ranked[0]
    if len(ranked) == 1:
        first = f"{best} has a mean log loss of {shown[best]} on test."
    else:
        second = ranked[1]
        apart = losses[best]["upper"] < losses[second]["lower"]
        first = (
            f"{best} has the lowest mean log loss on test, {shown[best]}, before {second} with {shown[second]}; their "
            f"intervals {'do not overlap' if apart else 'overlap, so that this order may be chance'}."
        )
    prior = next(iter(metrics.values())).query("part == 'test' and metric == 'prior_log_loss' and `class` == 'mean'")
    baseline = float(prior["value"].iloc[0])
    last = f"Knowing the prevalence alone gives {baseline:.3f}"
    if synthetic:
        return f"{first} {last}; the data is synthetic, and none of this says how well the models read patients' scans."
    return f"{first} {last}."


assert CLASSES[-1] == "any"  # `_published` and the challenge's weights rely on it

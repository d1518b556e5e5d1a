"""Tables of the page that come from long tables: a row of a file becomes a cell.

Every number stands in its cell as it is shown and, to sort by, as the file has it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ich.base.classes import CLASSES
from ich.evaluation.notation import letters, number, p_value, reason_of
from ich.evaluation.operating import with_wilson

_METRICS = {
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "brier": "Brier score",
}
_POINTS = {
    "threshold": "threshold",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "ppv_stated": "PPV, stated prevalence",
    "npv_stated": "NPV, stated prevalence",
    "true_positive": "true positive",
    "false_positive": "false positive",
    "false_negative": "false negative",
    "true_negative": "true negative",
}
_CALIBRATION = {
    "brier": "Brier score",
    "log_loss": "log loss",
    "ece": "calibration error",
    "slope": "slope",
    "intercept": "intercept",
    "temperature": "temperature",
}
_COUNTS = {"n": "n", "positive": "positive", "patients": "patients"}
_P = "p (Holm)"
_RATES = {"sensitivity": "sensitivity", "specificity": "specificity", "accuracy": "accuracy"}


@dataclass(frozen=True)
class Grid:
    """A table of the page.

    Attributes
    ----------
    caption : str
        What it shows.
    names : list of str
        Heads of the columns that name a row.
    columns : list of str
        Heads of the columns of values.
    rows : list of (list of str, list of dict)
        Names and cells of each row. A cell has `text`, `interval`, `sort` (the value as the file has it; empty for
        none), `mark` (of a reason) and `few` (whether it rests on too little).
    reasons : dict of str to str
        The reason behind each mark.
    """

    caption: str
    names: list[str]
    columns: list[str]
    rows: list[tuple[list[str], list[dict[str, Any]]]]
    reasons: dict[str, str]


def grid(table: pd.DataFrame, caption: str, names: Sequence[str], of: str, columns: Mapping[str, str]) -> Grid:
    """Spread a long table.

    Parameters
    ----------
    table : DataFrame
        value, the columns `names` and `of`, and perhaps lower, upper, reason and few.
    caption : str
        What the table shows.
    names : list of str
        Columns that name a row; rows stand in the order of their first cell.
    of : str
        The column that says what a value is.
    columns : mapping
        Which of these stand in the table, and their heads; one that never occurs is left out.

    Returns
    -------
    Grid
    """
    shown = table[table[of].isin(columns)].astype({of: str})
    present = [name for name in columns if (shown[of] == name).any()]
    records: list[Any] = shown.to_dict("records")
    marks = letters(reason_of(row) for row in records)
    cells: dict[tuple[str, ...], dict[str, dict[str, Any]]] = {}
    for row in records:
        cells.setdefault(tuple(str(row[name]) for name in names), {})[row[of]] = _cell(row, marks)
    empty = {"text": "", "interval": "", "sort": "", "mark": "", "few": False}
    return Grid(
        caption,
        [name.replace("_", " ") for name in names],
        [columns[name] for name in present],
        [([*key], [row.get(name, empty) for name in present]) for key, row in cells.items()],
        {mark: reason for reason, mark in marks.items()},
    )


def _cell(row: Mapping[str, Any], marks: Mapping[str, str]) -> dict[str, Any]:
    value = row["value"]
    text, _, interval = number(value, row.get("lower", math.nan), row.get("upper", math.nan)).partition(" (")
    if row.get("whole") is True and not math.isnan(value):  # NaN where only other rows have it
        text = f"{value:,.0f}"
    elif row.get("test") is True:
        text = p_value(value)
    return {
        "text": text,
        "interval": interval and f"({interval}",
        "sort": "" if math.isnan(value) else repr(float(value)),
        "mark": marks.get(reason_of(row), ""),
        "few": bool(row.get("few", False)),
    }


def of_part(table: pd.DataFrame, part: str = "test") -> pd.DataFrame:
    """Give the rows of a part."""
    return table[table["part"] == part]


def scans(metrics: Mapping[str, pd.DataFrame]) -> Grid:
    """Show the metrics of scans, a row a class and experiment.

    Parameters
    ----------
    metrics : mapping of experiment to DataFrame
        metrics.csv of each.
    """
    tables = [
        of_part(table)[of_part(table)["unit"] == "scan"].assign(experiment=name) for name, table in metrics.items()
    ]
    together = pd.concat(tables, ignore_index=True)
    together["class"] = together["class"].replace("kaggle", "any counted twice")
    order = together["class"].drop_duplicates().tolist()
    together = together.sort_values("class", key=lambda names: names.map(order.index), kind="stable")
    return grid(together, "Scans of the test part", ["class", "experiment"], "metric", _METRICS)


def operating_points(table: pd.DataFrame) -> Iterator[Grid]:
    """Show what calling at each operating point is worth: slices, then scans.

    Intervals are those of `operating.with_wilson`.

    Parameters
    ----------
    table : DataFrame
        operating_points.csv of one experiment.
    """
    table = with_wilson(of_part(table))
    cuts = table.drop_duplicates(["unit", "class", "rule"])
    cuts = cuts.assign(measure="threshold", value=cuts["threshold"], lower=math.nan, upper=math.nan, reason="")
    counts = table["measure"].isin([name for name in _POINTS if name.startswith(("true", "false"))])
    together = pd.concat([cuts, table.assign(whole=counts)], ignore_index=True)
    together["rule"] = together["rule"].str.replace("_95", " 0.95")
    for unit, rows in together.groupby("unit", sort=False):
        yield grid(rows, f"Operating points of {unit}s", ["class", "rule"], "measure", _POINTS)


def calibration(table: pd.DataFrame) -> Iterator[Grid]:
    """Show calibration before and after scaling: slices, then scans.

    Parameters
    ----------
    table : DataFrame
        calibration.csv of one experiment.
    """
    for unit, rows in of_part(table).groupby("unit", sort=False):
        rows = rows.rename(columns={"method": "scaling"})
        yield grid(rows, f"Calibration of {unit}s", ["class", "scaling"], "measure", _CALIBRATION)


def subgroups(table: pd.DataFrame) -> Iterator[Grid]:
    """Show the metrics of subgroups: slices, then scans.

    Parameters
    ----------
    table : DataFrame
        subgroups.csv of one experiment.
    """
    names = ["subgroup", "group", "class"]
    for unit, rows in of_part(table).groupby("unit", sort=False):
        first = rows.drop_duplicates(names)
        counts = [first[names].assign(metric=name, value=first[name].astype(float), whole=True) for name in _COUNTS]
        together = pd.concat([*counts, rows], ignore_index=True)
        together["few"] = together["few"].eq(True)
        columns = _COUNTS | _METRICS | _RATES
        yield grid(together, f"Subgroups of {unit}s", names, "metric", columns)


_ALONE = "not corrected: a test of its own"


def differences(table: pd.DataFrame) -> Iterator[tuple[str, list[Grid]]]:
    """Show the differences of each two experiments, with p values: of classes after Holm's correction.

    Parameters
    ----------
    table : DataFrame
        comparison/pairs.csv.
    """
    if table.empty:
        return
    corrected = table["class"].isin(CLASSES)
    tests = table.assign(value=table["p_holm"].where(corrected, table["p"]), lower=math.nan, upper=math.nan, test=True)
    tests["reason"] = tests["p_reason"].mask(~corrected & tests["p"].notna(), _ALONE)
    tests["metric"] += " p"
    both = pd.concat([table, tests], ignore_index=True)
    both.loc[both["method"] == "delong", "metric"] += " delong"
    both["class"] = both["class"].replace("kaggle", "any counted twice")
    both["rule"] = both["rule"].fillna("").str.replace("_95", " 0.95")
    metrics, rates = _paired(_METRICS), _paired(_RATES)
    area = {"roc_auc delong": "ROC AUC (DeLong)", "roc_auc p delong": _P}
    for (first, second), rows in both.groupby(["first", "second"], sort=False):
        measured = rows[rows["method"] != "mcnemar"]
        grids = [
            grid(measured[measured["unit"] == unit], f"{unit.capitalize()}s", ["class"], "metric", metrics | area)
            for unit in measured["unit"].unique()
        ]
        called = rows[rows["method"] == "mcnemar"]
        if len(called):
            grids.append(grid(called, "Scans at each operating point", ["class", "rule"], "metric", rates))
        yield f"{first} less {second}", grids


def _paired(columns: Mapping[str, str]) -> dict[str, str]:
    """Put a column of p values behind each column of differences."""
    return {key: title for name, head in columns.items() for key, title in ((name, head), (f"{name} p", _P))}

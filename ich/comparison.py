"""The comparison table (figure 6 of the paper): any number of experiments, the baselines, and the paper's numbers."""

import html
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from string import ascii_lowercase
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ich import paper
from ich.labels import SUBTYPES
from ich.metrics import kaggle_log_loss

TABLE_COLUMNS = [
    "quantity", "column", "source", "data", "seeds", "value", "lower", "upper", "sd", "text", "reason", "notes"
]  # fmt: skip
CLASS_METRICS = (
    "roc_auc", "average_precision", "pr_auc_trapezoid", "log_loss", "prior_log_loss", "accuracy",
    "always_negative_accuracy", "brier", "threshold",
)  # fmt: skip
# Rows of the table that are metrics on test: what they are called, the metric and the class.
_METRIC_ROWS = {
    "Overall accuracy (mean of classes)": ("accuracy", "mean"),
    "Average log loss (mean of classes)": ("log_loss", "mean"),
    "Log loss, any counted twice": ("log_loss", "kaggle"),
    "ROC AUC, mean of classes": ("roc_auc", "mean"),
    "ROC AUC of any": ("roc_auc", "any"),
    "Average precision of any": ("average_precision", "any"),
    "PR AUC (trapezoid) of any": ("pr_auc_trapezoid", "any"),
}
_BEST, _WORST = "Best subtype (ROC AUC)", "Worst subtype (ROC AUC)"
_EPOCHS, _TIME, _DEVICE, _PARAMETERS = "Epoch kept, of epochs", "Training time", "Trained on", "Parameters"
QUANTITIES = (*_METRIC_ROWS, _BEST, _WORST, _EPOCHS, _TIME, _DEVICE, _PARAMETERS)

NO_MODEL = "no model"
_BASELINES = {"accuracy": "always_negative_accuracy", "log_loss": "prior_log_loss"}
_OWN = "test part of this run"
_NOTHING_TO_RANK = "without a model there is nothing to rank and nothing to train"
_NOT_PUBLISHED = "not published, or not among the published numbers that are kept here"


def over_seeds(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put the metrics of trainings that differ by their seed together.

    Parameters
    ----------
    frames : sequence of DataFrame
        As from `evaluation.evaluate`, one a seed, of the same slices and settings.

    Returns
    -------
    DataFrame
        The same rows, and the columns seeds and sd. value is the mean over the seeds, sd their standard deviation
        (divisor seeds - 1; NaN of one seed). lower and upper are means over the seeds as well: the interval of a
        single training, from drawing patients. The mean of several varies no more than that.
    """
    keys = ["part", "metric", "class"]
    first, *others = frames
    assert all(other[keys].equals(first[keys]) for other in others), "metrics of other rows"
    joined = first.assign(seeds=len(frames), sd=math.nan)
    for name in ("value", "lower", "upper"):
        joined[name] = np.mean([frame[name] for frame in frames], axis=0)
    if others:
        with np.errstate(invalid="ignore"):  # a threshold that calls no slice positive is infinite
            joined["sd"] = np.std([frame["value"] for frame in frames], axis=0, ddof=1)
        reasons = pd.concat([frame["reason"].replace("", None) for frame in frames], axis=1)
        joined["reason"] = reasons.bfill(axis=1).iloc[:, 0].fillna("")
    return joined


def comparison(
    metrics: Mapping[str, pd.DataFrame],
    facts: Mapping[str, Mapping[str, Any]],
    members: Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """Put the experiments beside the baselines and the paper.

    Parameters
    ----------
    metrics : mapping of experiment to DataFrame
        As from `evaluation.evaluate` or `over_seeds`; the part `test` is shown, slice by slice.
    facts : mapping of training to mapping
        model.json of each.
    members : mapping of experiment to sequence of str, or None
        Names of its trainings, one a seed; None: an experiment is one training of the same name.

    Returns
    -------
    DataFrame
        `TABLE_COLUMNS`, a row a cell. source is experiment, baseline or paper; data is what was tested on; text is
        what a table shows; sd is the standard deviation over an experiment's seeds, which are counted in seeds; reason
        says why a cell is empty or its interval incomplete; notes are keys of `paper.NOTES`, separated by spaces. No
        value is missing without a reason.
    """
    tests = {name: frame[frame["part"] == "test"].set_index(["metric", "class"]) for name, frame in metrics.items()}
    first = next(iter(tests.values()))
    slices = int(first["n"].iloc[0])
    members = members or {name: [name] for name in metrics}
    published = paper.DATA + ("" if paper.is_test_set(slices) else ": another data set")
    columns = [
        *(
            (name, "experiment", "test part of this run", _experiment(rows, [facts[each] for each in members[name]]))
            for name, rows in tests.items()
        ),
        (NO_MODEL, "baseline", "test part of this run", _baseline(first)),
        *((f"{name} (paper)", "paper", published, _published(name)) for name in paper.RESULTS),
        (f"{NO_MODEL} (paper)", "paper", published, _published_baseline()),
    ]
    return pd.DataFrame(
        [
            {
                "quantity": quantity,
                "column": column,
                "source": source,
                "data": data,
                "seeds": len(members.get(column, ())),
                **cells[quantity],
            }
            for column, source, data, cells in columns
            for quantity in QUANTITIES
        ],
        columns=TABLE_COLUMNS,
    )


def number(value: float, lower: float = math.nan, upper: float = math.nan, sd: float = math.nan) -> str:
    """Write a measured value for a reader, with its interval and SD over seeds if it has them; a dash for none."""
    if math.isnan(value):
        return "–"
    written, low, high, spread = (f"{each:.3f}".replace("inf", "∞") for each in (value, lower, upper, sd))
    interval = "" if math.isnan(lower) else f"{low} to {high}"
    inside = "; ".join(filter(None, [interval, "" if math.isnan(sd) else f"SD {spread}"]))
    return f"{written} ({inside})" if inside else written


def p_value(p: float) -> str:
    """Write a p value for a reader; none is so small that it were zero."""
    return "<0.001" if p < 0.001 else number(p)


def reason_of(row: Mapping[str, Any]) -> str:
    """Give the reason of a row; an empty one is NaN once it was a CSV file."""
    return row["reason"] if isinstance(row.get("reason"), str) else ""


def _cell(
    value: float = math.nan, lower: float = math.nan, upper: float = math.nan, sd: float = math.nan,
    *, text: str | None = None, reason: str = "", notes: str = "",
) -> dict[str, Any]:  # fmt: skip
    text = number(value, lower, upper, sd) if text is None else text
    return {"value": value, "lower": lower, "upper": upper, "sd": sd, "text": text, "reason": reason, "notes": notes}


def _measured(rows: pd.DataFrame, key: tuple[str, str]) -> dict[str, Any]:
    """Give the cell of a metric of a class."""
    row: Any = rows.loc[key]
    sd = float(row.get("sd", math.nan))  # there is none without `over_seeds`
    return _cell(float(row["value"]), float(row["lower"]), float(row["upper"]), sd, reason=reason_of(row))


def _experiment(rows: pd.DataFrame, known: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Give the cells of an experiment."""
    best = [each["best_epoch"] for each in known]
    epochs = max(len(each["seconds_per_epoch"]) for each in known)
    seconds, parameters = [each["seconds"] for each in known], known[0]["parameters"]
    spread = float(np.std(seconds, ddof=1)) if len(known) > 1 else math.nan
    time = duration(float(np.mean(seconds))) + (f" (SD {duration(spread)})" if len(known) > 1 else "")
    return (
        {quantity: _measured(rows, key) for quantity, key in _METRIC_ROWS.items()}
        | _extremes({name: rows["value"]["roc_auc", name] for name in SUBTYPES})
        | {
            _EPOCHS: _cell(float(np.mean(best)), text=f"{', '.join(map(str, best))} of {epochs}"),
            _TIME: _cell(float(np.mean(seconds)), sd=spread, text=time),
            _DEVICE: _cell(text=", ".join(dict.fromkeys(each["hardware"]["device"] for each in known))),
            _PARAMETERS: _cell(parameters, text=f"{parameters / 1e6:.1f} million"),
        }
    )


def _baseline(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Give the cells of always saying no (accuracy) and always forecasting the prevalence of training (the others)."""
    rows = rows.assign(sd=math.nan)  # it has no seed
    cells = dict.fromkeys(QUANTITIES, _cell(reason=_NOTHING_TO_RANK))
    for quantity, (metric, group) in _METRIC_ROWS.items():
        measured: Any = rows.loc[(metric, group)]
        if metric in _BASELINES:
            cells[quantity] = _measured(rows, (_BASELINES[metric], group))
        elif metric == "roc_auc" and math.isfinite(measured["value"]):
            cells[quantity] = _cell(0.5)  # by definition, of a forecast that is the same for every slice
        elif metric == "average_precision" and math.isfinite(measured["value"]):
            cells[quantity] = _cell(float(measured["positive"] / measured["n"]))
    return cells


def _published(name: str) -> dict[str, dict[str, Any]]:
    """Give the cells of a model of the paper."""
    model = paper.RESULTS[name]
    cells = dict.fromkeys(QUANTITIES, _cell(reason=_NOT_PUBLISHED))
    for quantity, key in _METRIC_ROWS.items():
        value, notes = paper.published(name, *key)
        if not math.isnan(value):
            cells[quantity] = _cell(value, notes=notes)
    return cells | {
        **_extremes({group: paper.published(name, "roc_auc", group)[0] for group in SUBTYPES}),
        _EPOCHS: _cell(model.epochs, text=f"{model.epochs} of {model.epochs}", notes="last"),
        _TIME: _cell(reason=_NOT_PUBLISHED, notes="loading"),
    }


def _published_baseline() -> dict[str, dict[str, Any]]:
    """Give the cells of no model on the paper's test set."""
    losses = np.array(paper.PRIOR_LOG_LOSS)
    values = {
        ("accuracy", "mean"): float(np.mean(paper.ALWAYS_NEGATIVE_ACCURACY)),
        ("log_loss", "mean"): float(losses.mean()),
        ("log_loss", "kaggle"): float(kaggle_log_loss(losses)),
        ("roc_auc", "mean"): 0.5,
        ("roc_auc", "any"): 0.5,
        ("average_precision", "any"): paper.PREVALENCE["test"][-1],
    }
    return dict.fromkeys(QUANTITIES, _cell(reason=_NOTHING_TO_RANK)) | {
        quantity: _cell(values[key]) for quantity, key in _METRIC_ROWS.items() if key in values
    }


def _extremes(aucs: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Give the cells of the best and the worst subtype, of those that have a value."""
    defined = {name: value for name, value in aucs.items() if not math.isnan(value)}
    if not defined:
        return dict.fromkeys((_BEST, _WORST), _cell(reason="no subtype has both positive and negative slices"))
    missing = [name for name in aucs if name not in defined]
    reason = f"no value for {', '.join(missing)}" if missing else ""
    best, worst = max(defined, key=defined.__getitem__), min(defined, key=defined.__getitem__)
    return {
        quantity: _cell(defined[name], text=f"{name} {defined[name]:.3f}", reason=reason)
        for quantity, name in ((_BEST, best), (_WORST, worst))
    }


def duration(seconds: float) -> str:
    """Write a duration as hours, minutes and seconds, or as seconds below a minute."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def by_class(metrics: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Give every metric of every class and experiment on test, baselines included.

    Returns
    -------
    DataFrame
        experiment, class, metric, value, lower, upper, seeds, sd, n, positive, reason.
    """
    frames = [
        frame[(frame["part"] == "test") & frame["metric"].isin(CLASS_METRICS)].assign(experiment=name)
        for name, frame in metrics.items()
    ]
    columns = [
        "experiment", "class", "metric", "value", "lower", "upper", "seeds", "sd", "n", "positive", "reason"
    ]  # fmt: skip
    return pd.concat(frames, ignore_index=True).reindex(columns=columns)  # seeds and sd come from `over_seeds`


def caption(
    synthetic: bool, slices: int, patients: int, confidence: float | None = None, *, several_seeds: bool = False
) -> str:
    """Say what the table shows, on which data, and what its intervals and standard deviations cover."""
    source = "synthetic data" if synthetic else "data of this run"
    first = (
        f"Results slice by slice on the test part of the {source}: {slices:,} slices of {patients:,} patients. In "
        f"parentheses: {'' if confidence is None else f'{confidence:.0%} '}intervals from a bootstrap by patient."
    )
    if several_seeds:
        first += (
            " Where an experiment was trained with several seeds, value and interval are the means over them, and SD "
            "is the standard deviation over them: the interval says how far other patients would move the value of "
            "one training, the SD how far another seed would on the same patients."
        )
    if synthetic or not paper.is_test_set(slices):
        last = (
            f"The paper's columns are of another data set, the {paper.DATA}, and cannot be compared with those of "
            + ("synthetic data." if synthetic else "this run.")
        )
    else:
        last = f"The paper's columns are as published, of its own run on the {paper.DATA}."
    return f"{first} {last}"


# ---- the table as text: each writer takes the cells of `comparison` and the caption


class _Column(NamedTuple):
    """A column as it is shown: its name, what it is called, its data, and the marks of the notes on all of it."""

    name: str
    title: str
    data: str
    marks: list[str]


def letters(reasons: Iterable[str]) -> dict[str, str]:
    """Give each of the reasons that is not empty a letter, in order: a to z, then aa, bb."""
    found = dict.fromkeys(reason for reason in reasons if reason)
    return {reason: ascii_lowercase[place % 26] * (place // 26 + 1) for place, reason in enumerate(found)}


def _columns(table: pd.DataFrame) -> list[_Column]:
    """Give the columns in their order."""
    columns = []
    heads = table[["column", "source", "data", "seeds"]].drop_duplicates()
    for name, source, data, seeds in heads.itertuples(index=False):
        published = source == "paper"
        title = name.removesuffix(" (paper)") if published else name
        if seeds > 1:
            title += f", mean of {seeds} seeds"
        keys = [] if not published else ["computed"] if title == NO_MODEL else ["batches", "unlike"]
        data = f"Published, {data}" if published else data.capitalize()
        columns.append(_Column(name, title, data, [str(paper.note_number(key)) for key in keys]))
    return columns


def _rows(table: pd.DataFrame, columns: Sequence[_Column]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Give each quantity with its cells, and these with the marks of their notes and reasons."""
    reasons = letters(table["reason"])
    records: list[Any] = table.to_dict("records")
    cells = {(cell["quantity"], cell["column"]): cell for cell in records}
    for cell in cells.values():
        cell["marks"] = [str(paper.note_number(key)) for key in cell["notes"].split()]
        cell["marks"] += [reasons[cell["reason"]]] if cell["reason"] else []
    for quantity in QUANTITIES:
        yield quantity, [cells[quantity, column.name] for column in columns]


def _notes(table: pd.DataFrame) -> tuple[dict[str, str], dict[str, str]]:
    """Give by mark the reasons why cells are empty, and the notes on the paper's numbers."""
    reasons = {mark: reason for reason, mark in letters(table["reason"]).items()}
    return reasons, {str(place): note for place, note in enumerate(paper.NOTES.values(), start=1)}


def to_markdown(table: pd.DataFrame, head: str) -> str:
    """Write the table in Markdown, aligned for a terminal, with its caption and notes."""
    columns = _columns(table)
    reasons, notes = _notes(table)

    def marked(text: str, marks: Sequence[str]) -> str:
        return markdown(text) + "".join(f" [{mark}]" for mark in marks)

    other = table["data"].str.endswith("another data set").any()
    origin = " (paper, another data set)" if other else " (paper)"
    names = [column.title + (origin if column.name.endswith(" (paper)") else "") for column in columns]
    rows = [["", *(marked(name, column.marks) for name, column in zip(names, columns, strict=True))]]
    for quantity, cells in _rows(table, columns):
        rows.append([quantity, *(marked(cell["text"], cell["marks"]) for cell in cells)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(
        [
            markdown(head),
            "",
            *lines,
            "",
            *(f"- [{mark}] {markdown(reason)}" for mark, reason in reasons.items()),
            "",
            "Notes on the paper's numbers:",
            "",
            *(f"{mark}. {markdown(note)}" for mark, note in notes.items()),
            "",
            paper.CITATION,
            "",
        ]
    )


def markdown(text: str) -> str:
    """Escape what Markdown, or HTML in it, would take for its own."""
    return re.sub(r"([\\|<>*`\[\]])", r"\\\1", " ".join(text.split()))


def to_html(table: pd.DataFrame, head: str) -> str:
    """Write the table with its caption and notes as an HTML fragment: everything escaped, in ASCII alone."""
    columns = _columns(table)
    groups = Counter(column.data for column in columns)
    # A line separates what is of other data.
    edges = ["", *(' class="edge"' if left.data != right.data else "" for left, right in pairwise(columns))]
    lines = [
        '<div class="scroll" tabindex="0" role="region" aria-label="Comparison table">',
        f'<table class="comparison">\n<caption><span>{html.escape(head)}</span></caption>\n<thead>',
        "<tr><td></td>"
        + "".join(f'<th scope="colgroup" colspan="{size}">{html.escape(data)}</th>' for data, size in groups.items())
        + "</tr>",
        "<tr><td></td>"
        + "".join(
            f'<th scope="col"{edge}>{html.escape(column.title)}{_links(column.marks)}</th>'
            for column, edge in zip(columns, edges, strict=True)
        )
        + "</tr>\n</thead>\n<tbody>",
    ]
    for quantity, cells in _rows(table, columns):
        row = "".join(
            f"<td{edge}>{_html_value(cell['text'], cell['marks'])}</td>"
            for cell, edge in zip(cells, edges, strict=True)
        )
        lines.append(f'<tr><th scope="row">{quantity}</th>{row}</tr>')
    reasons, notes = (
        "".join(f'<li id="note-{mark}"><b>{mark}</b> {html.escape(text)}</li>\n' for mark, text in texts.items())
        for texts in _notes(table)
    )
    lines += [
        "</tbody>\n</table>\n</div>",
        f'<ul class="notes">\n{reasons}</ul>',
        f'<h3>Notes on the paper\'s numbers</h3>\n<ul class="notes">\n{notes}</ul>',
        f'<p class="citation">{html.escape(paper.CITATION)}</p>\n',
    ]
    return "\n".join(lines).encode("ascii", "xmlcharrefreplace").decode("ascii")


def _links(marks: Sequence[str]) -> str:
    links = ", ".join(f'<a href="#note-{mark}">{mark}</a>' for mark in marks)
    return f"<sup>{links}</sup>" if links else ""


def _html_value(text: str, marks: Sequence[str]) -> str:
    """Write a cell with its marks; its interval may go to a line of its own, but is not broken."""
    value, _, interval = text.partition(" (")
    end = f' <span class="interval">({html.escape(interval)}</span>' if interval else ""
    return f"{html.escape(value)}{_links(marks)}{end}"


def to_latex(table: pd.DataFrame, head: str) -> str:
    """Write the table in LaTeX, on its side, with its caption and notes."""
    columns = _columns(table)
    reasons, notes = _notes(table)
    heads, rules, start = [""], "", 2
    for data, size in Counter(column.data for column in columns).items():
        heads.append(f"\\multicolumn{{{size}}}{{c}}{{{_latex(data)}}}")
        rules += f"\\cmidrule(lr){{{start}-{start + size - 1}}}"
        start += size
    rows = [
        [_latex(quantity), *(_latex_cell(cell["text"], cell["marks"]) for cell in cells)]
        for quantity, cells in _rows(table, columns)
    ]
    names = ["", *(_latex_cell(column.title, column.marks) for column in columns)]
    return "\n".join(
        [
            "% \\usepackage{booktabs, graphicx, rotating}",
            "\\begin{sidewaystable}",
            "\\centering",
            f"\\caption{{{_latex(head)}}}",
            "\\label{tab:comparison}",
            "\\resizebox{\\textwidth}{!}{%",
            f"\\begin{{tabular}}{{l{'r' * len(columns)}}}",
            "\\toprule",
            _latex_row(heads),
            rules,
            _latex_row(names),
            "\\midrule",
            *map(_latex_row, rows),
            "\\bottomrule",
            "\\end{tabular}}",
            "\\par\\medskip\\raggedright\\scriptsize",
            *(f"\\textsuperscript{{{mark}}}~{_latex(text)}\\par" for mark, text in (reasons | notes).items()),
            _latex(paper.CITATION),
            "\\end{sidewaystable}",
            "",
        ]
    )


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + " \\\\"


def _latex_cell(text: str, marks: Sequence[str]) -> str:
    """Write a cell with its marks; an interval goes to a line of its own."""
    value, _, interval = text.partition(" (")
    value = _latex(value) + (f"\\textsuperscript{{{','.join(marks)}}}" if marks else "")
    return f"\\begin{{tabular}}[t]{{@{{}}r@{{}}}}{value}\\\\({_latex(interval)}\\end{{tabular}}" if interval else value


_LATEX = {
    "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_", "{": "\\{", "}": "\\}",
    "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}",
    "|": "\\textbar{}", "–": "--",
}  # fmt: skip


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


# ---- the verdict

_FEW = 100  # slices, a few scans: the bootstrap of so few patients is no guide


def verdict(
    metrics: Mapping[str, pd.DataFrame],
    pairs: pd.DataFrame,
    synthetic: bool,
    members: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Say in two sentences what the test part tells, and no more than it does.

    The experiments are ordered by the mean log loss of the classes, which has a value on any test part. Whether the
    order of the best two may be chance is said by their paired difference alone: intervals of two values may overlap
    where that of the difference leaves zero out.

    Parameters
    ----------
    metrics : mapping of experiment to DataFrame
        As of `comparison`.
    pairs : DataFrame
        As from `pairs.pairs`, of the first training of each experiment; empty of one experiment.
    synthetic : bool
        Say that the data is synthetic.
    members : mapping of experiment to sequence of str, or None
        As of `comparison`.
    """
    losses = {name: _mean_log_loss(frame, "log_loss") for name, frame in metrics.items()}
    first_frame = next(iter(metrics.values()))
    slices = first_frame.loc[first_frame["part"] == "test", "n"].iloc[0]
    best, *others = sorted(losses, key=lambda name: losses[name][0])
    if others:
        trained = [members[name] if members else [name] for name in (best, others[0])]
        remark = "these are too few slices to conclude from"
        if slices >= _FEW:
            remark = _paired(pairs, trained[0][0], trained[1][0], len(losses))
            if any(len(each) > 1 for each in trained):
                remark = f"of their first trainings alone, {remark}"
        first = (
            f"On {slices:,} test slices {best} has the lowest average log loss, {number(*losses[best])}, which is "
            f"{losses[others[0]][0] - losses[best][0]:.3f} below the {number(*losses[others[0]])} of {others[0]}; "
            f"{remark}."
        )
    else:
        first = f"On {slices:,} test slices {best} has an average log loss of {number(*losses[best])}."

    prior, _, _ = _mean_log_loss(first_frame, "prior_log_loss")
    last = f"the {prior:.3f} that forecasting the prevalence of the training part gives"
    below = [name for name, (_, _, upper) in losses.items() if upper < prior]
    if slices < _FEW or any(math.isnan(upper) for _, _, upper in losses.values()):
        last = f"To compare with: {last}"
    elif 0 < len(below) < len(losses):
        plural = len(below) > 1
        names = " and ".join(below)
        last = f"Only the interval{'s' * plural} of {names} {'lie' if plural else 'lies'} wholly below {last}"
    else:
        none, every = {
            1: ("Its interval does not lie", "Its interval lies"),
            2: ("The interval of neither lies", "The intervals of both lie"),
        }.get(len(losses), ("The interval of none lies", "The intervals of all lie"))
        last = f"{every if below else none} wholly below {last}"
    if synthetic:
        last += "; the data is synthetic, so none of this says how well the models read scans of patients"
    return f"{first} {last}."


def _paired(pairs: pd.DataFrame, best: str, other: str, count: int) -> str:
    """Say by how much the other's mean log loss is higher on the same slices, and whether that may be chance.

    best and other are trainings, chosen out of `count`.
    """
    rows = pairs[(pairs["unit"] == "slice") & (pairs["class"] == "mean") & (pairs["metric"] == "log_loss")]
    row = rows[rows["first"].isin([best, other]) & rows["second"].isin([best, other])].iloc[0]
    value, lower, upper = row["value"], row["lower"], row["upper"]
    if row["first"] == best:
        value, lower, upper = -value, -upper, -lower
    if math.isnan(lower):
        return "the paired difference has no interval, so this order may be chance"
    p = f"p = {p_value(row['p'])}".replace("= <", "< ")
    chosen = f" (not corrected for the choice of two out of {count})" if count > 2 else ""
    said = f"the paired difference is {number(value, lower, upper)}, {p}{chosen}: "
    if lower > 0:
        return said + "its interval leaves zero out, so chance in the choice of patients hardly explains this order"
    if upper < 0:
        return said + "its interval lies wholly on the other side of zero"
    return said + "its interval holds zero, so this order may be chance"


def _mean_log_loss(frame: pd.DataFrame, metric: str) -> tuple[float, float, float]:
    row = frame[(frame["part"] == "test") & (frame["metric"] == metric) & (frame["class"] == "mean")].iloc[0]
    return float(row["value"]), float(row["lower"]), float(row["upper"])

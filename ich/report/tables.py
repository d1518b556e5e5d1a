"""The comparison table as Markdown, HTML and LaTeX."""

import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import pandas as pd

from ich.evaluation import paper
from ich.evaluation.comparison import NO_MODEL, QUANTITIES
from ich.evaluation.notation import letters


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


class _Column(NamedTuple):
    """A column as it is shown: its name, what it is called, its data, and the marks of the notes on all of it."""

    name: str
    title: str
    data: str
    marks: list[str]


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

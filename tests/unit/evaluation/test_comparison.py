"""The comparison table: its numbers are those of the experiments, however it is written."""

import html.parser
import math
import re
import shutil
import statistics
import subprocess

import numpy as np
import pandas as pd
import pytest

from ich.base.classes import SUBTYPES
from ich.evaluation import comparison, notation, paper, verdict
from ich.report import tables
from tests.unit import results

HOSTILE = '<script>alert("x")</script> & $50_% | {x} \\end{sidewaystable} ~^# `b` *z* [1] (y'


@pytest.fixture(scope="module")
def metrics():
    return {"good": results.evaluated(2.5)[0], "poor_one": results.evaluated(0.5, seed=2)[0]}


@pytest.fixture(scope="module")
def table(metrics):
    return comparison.comparison(metrics, {name: results.facts() for name in metrics})


def of(frame, metric, group="mean"):
    """The row of a metric on test, looked up without the code under test."""
    [row] = frame[
        (frame["part"] == "test") & (frame["metric"] == metric) & (frame["class"] == group)
    ].to_dict("records")  # fmt: skip
    return row


def cell(table, quantity, column):
    [row] = table[(table["quantity"] == quantity) & (table["column"] == column)].to_dict("records")
    return row


@pytest.mark.parametrize(
    ("quantity", "metric", "group"),
    [
        ("Overall accuracy (mean of classes)", "accuracy", "mean"),
        ("Average log loss (mean of classes)", "log_loss", "mean"),
        ("Log loss, any counted twice", "log_loss", "kaggle"),
        ("ROC AUC, mean of classes", "roc_auc", "mean"),
        ("ROC AUC of any", "roc_auc", "any"),
        ("Average precision of any", "average_precision", "any"),
        ("PR AUC (trapezoid) of any", "pr_auc_trapezoid", "any"),
    ],
)
def test_values_are_those_of_the_test_part(metrics, table, quantity, metric, group):
    for experiment, frame in metrics.items():
        row, found = of(frame, metric, group), cell(table, quantity, experiment)
        assert (found["value"], found["lower"], found["upper"]) == (row["value"], row["lower"], row["upper"])
        assert found["text"] == f"{row['value']:.3f} ({row['lower']:.3f} to {row['upper']:.3f})"


def test_best_and_worst_subtype(metrics, table):
    aucs = {name: of(metrics["good"], "roc_auc", name)["value"] for name in SUBTYPES}
    for quantity, name in (("Best", max(aucs, key=aucs.get)), ("Worst", min(aucs, key=aucs.get))):
        found = cell(table, f"{quantity} subtype (ROC AUC)", "good")
        assert (found["text"], found["value"]) == (f"{name} {aucs[name]:.3f}", aucs[name])


def test_training_is_told_by_model_json(table):
    assert cell(table, "Epoch kept, of epochs", "good")["text"] == "2 of 3"
    assert cell(table, "Training time", "good")["value"] == 75.0
    assert cell(table, "Training time", "good")["text"] == "1 min 15 s"
    assert cell(table, "Trained on", "good")["text"] == "a processor"
    assert cell(table, "Parameters", "good")["text"] == "11.2 million"


def test_the_papers_columns(table):
    for name, result in paper.RESULTS.items():
        column = f"{name} (paper)"
        assert cell(table, "Overall accuracy (mean of classes)", column)["value"] == result.mean_accuracy
        assert cell(table, "Average log loss (mean of classes)", column)["value"] == result.mean_log_loss
        assert cell(table, "ROC AUC of any", column)["value"] == result.roc_auc[-1]
        assert cell(table, "PR AUC (trapezoid) of any", column)["value"] == result.pr_auc_trapezoid[-1]
        assert cell(table, "Average precision of any", column)["text"] == "–"
    assert cell(table, "Log loss, any counted twice", "ResNet18 (paper)")["value"] == pytest.approx(0.1046, abs=5e-5)
    assert cell(table, "Overall accuracy (mean of classes)", "ResNet18 (paper)")["notes"] == "accuracy thresholds"
    assert cell(table, "Best subtype (ROC AUC)", "DenseNet121 (paper)")["text"] == "intraventricular 0.992"
    assert cell(table, "Worst subtype (ROC AUC)", "ResNet18 (paper)")["text"] == "subarachnoid 0.929"


def test_the_baselines(metrics, table):
    frame = metrics["good"]
    share = of(frame, "roc_auc", "any")
    for quantity, expected in {
        "Overall accuracy (mean of classes)": of(frame, "always_negative_accuracy")["value"],
        "Average log loss (mean of classes)": of(frame, "prior_log_loss")["value"],
        "Log loss, any counted twice": of(frame, "prior_log_loss", "kaggle")["value"],
        "ROC AUC of any": 0.5,
        "Average precision of any": share["positive"] / share["n"],
    }.items():
        assert cell(table, quantity, "no model")["value"] == expected
    theirs = {
        "Overall accuracy (mean of classes)": np.mean([0.9962, 0.9521, 0.9629, 0.9519, 0.9355, 0.8539]),
        "Log loss, any counted twice": 0.2342,  # as its parts, rounded to the fourth digit
    }
    for quantity, expected in theirs.items():
        assert cell(table, quantity, "no model (paper)")["value"] == pytest.approx(expected, abs=1e-4)


def test_no_cell_is_empty_without_a_reason(table):
    empty = table[table["text"] == "–"]
    assert len(empty) > 5
    assert (empty["reason"] != "").all()
    assert len(table) == len(comparison.QUANTITIES) * table["column"].nunique()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_experiments(metrics, count):
    frames = {f"experiment{number}": metrics["good"] for number in range(count)}
    table = comparison.comparison(frames, {name: results.facts() for name in frames})
    columns = [*frames, "no model", "ResNet18 (paper)", "DenseNet121 (paper)", "no model (paper)"]
    assert list(table["column"].unique()) == columns
    for rows in every_writing(table, "Head").values():
        assert [len(row) for row in rows] == [len(columns) + 1] * (len(comparison.QUANTITIES) + 1)


def test_another_data_set_is_marked_wherever_the_table_is_written(metrics, table):
    for text in (tables.to_html(table, ""), tables.to_latex(table, ""), tables.to_markdown(table, "")):
        assert "another data set" in text
    assert set(table.loc[table["source"] == "paper", "data"]) == {"RSNA 2019 test set: another data set"}
    same = {name: frame.assign(n=149_321) for name, frame in metrics.items()}
    table = comparison.comparison(same, {name: results.facts() for name in same})
    for text in (tables.to_html(table, ""), tables.to_latex(table, ""), tables.to_markdown(table, "")):
        assert "another data set" not in text


def test_the_caption_says_what_was_tested_on():
    synthetic = tables.caption(True, 1234, 20, 0.95)
    assert "synthetic data: 1,234 slices of 20 patients" in synthetic
    assert "95% intervals" in synthetic
    assert "another data set" in synthetic
    assert "another data set" in tables.caption(True, 149_321, 3_788)
    assert "another data set" in tables.caption(False, 41, 6)
    real = tables.caption(False, 149_321, 3_788)
    assert "another data set" not in real
    assert "synthetic" not in real


# ---- several seeds


@pytest.fixture(scope="module")
def trainings():
    """Metrics and facts of one experiment with three seeds."""
    frames = {f"mine_seed{seed}": results.evaluated(1.5, seed=seed)[0] for seed in (3, 4, 8)}
    facts = {name: results.facts(seconds) for name, seconds in zip(frames, (60.0, 75.0, 90.0), strict=True)}
    return frames, facts


@pytest.fixture(scope="module")
def seeded(trainings, metrics):
    frames, facts = trainings
    both = {"mine": comparison.over_seeds([*frames.values()]), "good": comparison.over_seeds([metrics["good"]])}
    members = {"mine": [*frames], "good": ["good"]}
    return comparison.comparison(both, facts | {"good": results.facts()}, members)


@pytest.mark.parametrize(
    ("quantity", "metric", "group"),
    [("ROC AUC, mean of classes", "roc_auc", "mean"), ("Average precision of any", "average_precision", "any"),
     ("Log loss, any counted twice", "log_loss", "kaggle")],
)  # fmt: skip
def test_mean_interval_and_spread_over_seeds(trainings, seeded, quantity, metric, group):
    rows = [of(frame, metric, group) for frame in trainings[0].values()]
    values = [row["value"] for row in rows]
    found = cell(seeded, quantity, "mine")
    assert found["seeds"] == 3
    assert found["value"] == pytest.approx(statistics.mean(values), rel=1e-12)
    assert found["sd"] == pytest.approx(statistics.stdev(values), rel=1e-9)
    for end in ("lower", "upper"):
        assert found[end] == pytest.approx(statistics.mean(row[end] for row in rows), rel=1e-12)
    interval = f"{found['lower']:.3f} to {found['upper']:.3f}"
    assert found["text"] == f"{found['value']:.3f} ({interval}; SD {found['sd']:.3f})"


def test_one_seed_has_no_spread_and_no_model_has_none(metrics, seeded):
    for column in ("good", "no model"):
        rows = seeded[seeded["column"] == column]
        assert rows["sd"].isna().all()
        assert not rows["text"].str.contains("SD").any()
    good = of(metrics["good"], "roc_auc", "any")
    assert cell(seeded, "ROC AUC of any", "good")["value"] == good["value"]


def test_training_of_several_seeds(seeded):
    assert cell(seeded, "Training time", "mine")["text"] == "1 min 15 s (SD 15.0 s)"
    assert cell(seeded, "Epoch kept, of epochs", "mine")["text"] == "2, 2, 2 of 3"
    assert cell(seeded, "Trained on", "mine")["text"] == "a processor"


def test_several_seeds_are_named_in_every_writing(seeded):
    several = tables.caption(True, 600, 40, 0.95, several_seeds=True)
    assert "SD is the standard deviation over them" in several
    assert "SD" not in tables.caption(True, 600, 40, 0.95)
    for rows in every_writing(seeded, several).values():
        assert rows[0][1] == "mine, mean of 3 seeds"
        assert rows[0][2] == "good"
        assert all("; SD 0." in row[1] for row in rows[1:8])
    for writer in (tables.to_html, tables.to_latex, tables.to_markdown):
        assert several in html.unescape(writer(seeded, several)).replace("\\%", "%")


def test_a_value_that_one_seed_lacks_has_no_mean_but_its_reason(trainings):
    frames = [frame.copy() for frame in trainings[0].values()]
    place = frames[1].index[(frames[1]["metric"] == "roc_auc") & (frames[1]["class"] == "any")]
    frames[1].loc[place, "value"], frames[1].loc[place, "reason"] = math.nan, "not defined"
    joined = comparison.over_seeds(frames)
    assert joined.loc[place, "value"].isna().all()
    assert (joined.loc[place, "reason"] == "not defined").all()
    assert joined.drop(place)["value"].notna().sum() == frames[0].drop(place)["value"].notna().sum()


def test_trainings_with_other_rows_are_not_averaged(trainings):
    first, second, _ = trainings[0].values()
    with pytest.raises(AssertionError):
        comparison.over_seeds([first, second.iloc[::-1]])


# ---- ways of writing


class Cells(html.parser.HTMLParser):
    """The texts of the cells of a table, row by row."""

    def __init__(self, text):
        super().__init__()
        self.rows = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "sup":
            self.rows[-1][-1] += " ["

    def handle_endtag(self, tag):
        if tag == "sup":
            self.rows[-1][-1] += "]"

    def handle_data(self, data):
        if self.rows and self.rows[-1] and data.strip("\n"):
            self.rows[-1][-1] += data


def every_writing(table, head):
    """The rows of cells of each way of writing, with marks as in `0.948 [1, 8]`."""
    as_html = tables.to_html(table, head).split("</table>")[0]
    as_html = re.sub(r"(<sup>.*?</sup>)( <span.*?</span>)", r"\2\1", as_html)  # the mark follows the interval
    as_html = Cells(as_html).rows[1:]
    lines = [line[2:-2] for line in tables.to_markdown(table, head).splitlines() if line.startswith("| ")]
    as_markdown = [[re.sub(r"\] \[", ", ", each.strip()) for each in re.split(r"(?<!\\)\|", line)] for line in lines]
    latex = tables.to_latex(table, head)
    latex = latex.split("\\toprule\n")[1].split("\\bottomrule")[0].replace("\\midrule\n", "").splitlines()[2:]
    as_latex = []
    for line in latex:
        line = re.sub(r"\\begin{tabular}\[t\]{@{}r@{}}(.*?)\\\\\((.*?)\\end{tabular}", r"\1 (\2", line)
        line = re.sub(r"(\\textsuperscript{[^}]*})( \([^&]*\))", r"\2\1", line)
        line = re.sub(r"\\textsuperscript{(.*?)}", lambda found: f" [{found[1].replace(',', ', ')}]", line)
        as_latex.append(line.removesuffix(" \\\\").replace("\\_", "_").replace("--", "–").split(" & "))
    return {"html": as_html, "markdown": as_markdown, "latex": as_latex}


def test_all_ways_of_writing_hold_the_same_cells(table):
    marks = {reason: mark for mark, reason in zip("abcdef", dict.fromkeys(filter(None, table["reason"])), strict=False)}

    def marked(row):
        notes = [str([*paper.NOTES].index(key) + 1) for key in row["notes"].split()]
        notes += [marks[row["reason"]]] if row["reason"] else []
        return row["text"] + (f" [{', '.join(notes)}]" if notes else "")

    expected = [
        [quantity, *(marked(cell(table, quantity, column)) for column in table["column"].unique())]
        for quantity in comparison.QUANTITIES
    ]
    written = every_writing(table, "Head")
    assert written["html"][1:] == expected
    assert written["latex"][1:] == expected
    assert written["markdown"][1:] == expected


def test_every_note_and_reason_is_under_the_table(table):
    as_html, as_latex, as_markdown = (
        writer(table, "Head") for writer in (tables.to_html, tables.to_latex, tables.to_markdown)
    )
    for mark in set(re.findall(r'href="#note-(\w+)"', as_html)):
        assert f'id="note-{mark}"' in as_html
    for text in (*paper.NOTES.values(), *filter(None, table["reason"])):
        assert text in html.unescape(as_html)
        assert text in as_latex.replace("\\%", "%")
        assert text in as_markdown


def test_hostile_names_stay_text(metrics):
    table = comparison.comparison({HOSTILE: metrics["good"]}, {HOSTILE: results.facts()})
    as_html = tables.to_html(table, HOSTILE)
    assert "<script" not in as_html
    assert HOSTILE in html.unescape(as_html)
    as_latex = tables.to_latex(table, HOSTILE)
    assert as_latex.count("\\end{sidewaystable}") == 1
    assert not re.search(r"(?<!\\)[$#_](?!\d)", re.sub(r"^% .*", "", as_latex))
    widths = {len(row) for row in every_writing(table, "Head")["markdown"]}
    assert widths == {6}
    assert "\\<script\\>" in tables.to_markdown(table, HOSTILE)


def test_the_html_is_plain_ascii(table):
    assert tables.to_html(table, "é –").isascii()
    assert "é –" in html.unescape(tables.to_html(table, "é –"))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.parametrize("name", ["resnet18", HOSTILE])
def test_latex_takes_it(metrics, name, tmp_path):
    table = comparison.comparison({name: metrics["good"]}, {name: results.facts()})
    text = tables.to_latex(table, name)
    packages = text.splitlines()[0].removeprefix("% ")
    document = f"\\documentclass{{article}}\n{packages}\n\\begin{{document}}\n{text}\\end{{document}}\n"
    (tmp_path / "table.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "table.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]


def test_letters_go_on_after_z():
    marks = list(notation.letters(["", *map(str, range(28)), "3"]).values())
    assert marks[:2] == ["a", "b"]
    assert marks[25:] == ["z", "aa", "bb"]


@pytest.mark.parametrize(
    ("cells", "text"),
    [((math.inf,), "∞"), ((-math.inf,), "-∞"), ((1.5, -math.inf, math.inf), "1.500 (-∞ to ∞)"),
     ((-0.5, -1, math.inf), "-0.500 (-1.000 to ∞)"), ((math.nan, 1, 2), "–"),
     ((1, 0, 2, 0.25), "1.000 (0.000 to 2.000; SD 0.250)")],
)  # fmt: skip
def test_numbers_with_their_intervals(cells, text):
    assert notation.number(*cells) == text


# ---- missing values


def test_a_class_with_one_label_leaves_an_empty_cell_and_its_reason():
    frame = results.cohort()
    frame.loc[frame["part"] == "test", "epidural"] = 0
    table = comparison.comparison({"one": results.evaluated(frame=frame)[0]}, {"one": results.facts()})
    found = cell(table, "ROC AUC, mean of classes", "one")
    assert math.isnan(found["value"])
    assert found["text"] == "–"
    assert found["reason"] == "no value for epidural"
    for quantity in ("Best subtype (ROC AUC)", "Worst subtype (ROC AUC)"):
        assert not cell(table, quantity, "one")["text"].startswith(("epidural", "–"))
        assert cell(table, quantity, "one")["reason"] == "no value for epidural"
    assert "no value for epidural" in tables.to_markdown(table, "Head")


def test_a_part_in_which_nothing_has_both_labels():
    frame = results.cohort()
    frame.loc[frame["part"] == "test", [*SUBTYPES, "any"]] = 0
    table = comparison.comparison({"one": results.evaluated(frame=frame)[0]}, {"one": results.facts()})
    for quantity in ("ROC AUC of any", "Best subtype (ROC AUC)", "Worst subtype (ROC AUC)", "Average precision of any"):
        for column in ("one", "no model"):
            found = cell(table, quantity, column)
            assert found["text"] == "–"
            assert found["reason"] != ""
    every_writing(table, "Head")


def test_metrics_read_from_a_file_give_the_same_table(metrics, table, tmp_path):
    frames = {}
    for name, frame in metrics.items():
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
        frames[name] = pd.read_csv(tmp_path / f"{name}.csv")
    facts = {name: results.facts() for name in metrics}
    pd.testing.assert_frame_equal(comparison.comparison(frames, facts), table)


def test_the_table_survives_its_csv(table, tmp_path):
    path = tmp_path / "table.csv"
    table.to_csv(path, index=False)
    back = pd.read_csv(path, keep_default_na=False, na_values=dict.fromkeys(("value", "lower", "upper", "sd"), ""))
    pd.testing.assert_frame_equal(back, table)


def test_every_metric_of_every_class(metrics):
    metrics = {name: comparison.over_seeds([frame]) for name, frame in metrics.items()}
    rows = comparison.by_class(metrics)
    assert set(rows["experiment"]) == set(metrics)
    assert set(rows["metric"]) == set(comparison.CLASS_METRICS)
    for name, frame in metrics.items():
        test = frame[(frame["part"] == "test") & frame["metric"].isin(comparison.CLASS_METRICS)]
        mine = rows[rows["experiment"] == name].drop(columns="experiment").reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, test[mine.columns].reset_index(drop=True))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (59.9, "59.9 s"), (59.96, "1 min 00 s"), (75, "1 min 15 s"), (3599.4, "59 min 59 s"),
     (3599.6, "1 h 00 min"), (7384, "2 h 03 min"), (93_600, "26 h 00 min")],
)  # fmt: skip
def test_durations(seconds, text):
    assert notation.duration(seconds) == text


# ---- the verdict


def with_losses(metrics, prior=0.5, **losses):
    """Experiments with these mean log losses (value, lower, upper)."""
    made = {}
    for name, bounds in losses.items():
        frame = metrics["good"].copy()
        chosen = (frame["class"] == "mean") & (frame["part"] == "test")
        frame.loc[chosen & (frame["metric"] == "log_loss"), ["value", "lower", "upper"]] = bounds
        frame.loc[chosen & (frame["metric"] == "prior_log_loss"), "value"] = prior
        made[name] = frame
    return made


def paired(*rows):
    """Rows (first, second, value, lower, upper, p) of the mean log loss of slices, among rows of other things."""
    keys = ["first", "second", "value", "lower", "upper", "p"]
    said = pd.DataFrame(rows, columns=keys).assign(unit="slice", metric="log_loss", **{"class": "mean"})
    other = said.assign(value=9.0, lower=8.0, upper=10.0, p=0.5)
    return pd.concat(
        [other.assign(unit="scan"), other.assign(metric="roc_auc"), other.assign(**{"class": "any"}), said],
        ignore_index=True,
    )


OVERLAPPING = {"a": (0.312, 0.211, 0.424), "b": (0.264, 0.193, 0.350)}


def test_the_verdict_orders_by_log_loss_and_reads_the_paired_difference(metrics):
    """Intervals of the values overlap, that of the difference leaves zero out: the latter is the test."""
    pairs = paired(("a", "b", 0.048, 0.007, 0.088, 0.016))
    text = verdict.verdict(with_losses(metrics, **OVERLAPPING), pairs, synthetic=False)
    assert "b has the lowest average log loss, 0.264 (0.193 to 0.350), which is 0.048 below the 0.312" in text
    assert "the paired difference is 0.048 (0.007 to 0.088), p = 0.016: its interval leaves zero out" in text
    assert "overlap" not in text
    assert "may be chance" not in text
    assert "The intervals of both lie wholly below the 0.500" in text
    assert "synthetic" not in text


def test_the_order_of_a_pair_in_the_file_makes_no_difference(metrics):
    one, two = (
        verdict.verdict(with_losses(metrics, **OVERLAPPING), pairs, synthetic=False)
        for pairs in (paired(("a", "b", 0.048, 0.007, 0.088, 0.016)), paired(("b", "a", -0.048, -0.088, -0.007, 0.016)))
    )
    assert one == two


def test_the_verdict_claims_no_more_than_the_interval_of_the_difference(metrics):
    """Intervals of the values do not overlap, and still the difference may be chance."""
    losses = with_losses(metrics, a=(0.3, 0.28, 0.32), b=(0.1, 0.08, 0.12))
    text = verdict.verdict(losses, paired(("b", "a", -0.2, -0.41, 0.01, 0.061)), synthetic=True)
    assert "0.200 (-0.010 to 0.410), p = 0.061: its interval holds zero, so this order may be chance" in text
    assert "leaves zero out" not in text
    assert "the data is synthetic" in text


def test_a_p_value_is_never_shown_as_zero(metrics):
    text = verdict.verdict(
        with_losses(metrics, **OVERLAPPING), paired(("a", "b", 0.05, 0.01, 0.09, 1e-12)), synthetic=False
    )
    assert "p < 0.001:" in text
    assert notation.p_value(1e-12) == notation.p_value(0.00099) == "<0.001"
    assert notation.p_value(0.001) == "0.001"
    assert notation.p_value(math.nan) == "–"


def test_of_several_seeds_the_verdict_says_that_first_trainings_are_compared(metrics):
    members = {"a": ["a_seed3", "a_seed4"], "b": ["b_seed3", "b_seed4"]}
    losses = with_losses(metrics, **OVERLAPPING)
    pairs = paired(("a_seed3", "b_seed3", 0.03, 0.01, 0.05, 0.01))
    text = verdict.verdict(losses, pairs, False, members)
    assert "; of their first trainings alone, the paired difference is 0.030 (0.010 to 0.050)" in text
    reverse = paired(("a_seed3", "b_seed3", -0.03, -0.05, -0.01, 0.01))
    assert "wholly on the other side of zero" in verdict.verdict(losses, reverse, False, members)


def test_the_verdict_compares_the_best_two_of_several_and_says_that_they_were_chosen(metrics):
    losses = with_losses(metrics, a=(0.3, 0.2, 0.4), b=(0.1, 0, 0.2), c=(0.2, 0.1, 0.3))
    pairs = paired(("a", "b", 0.2, 0.1, 0.3, 0.02), ("a", "c", 0.1, 0, 0.2, 0.03), ("b", "c", -0.1, -0.2, -0.05, 0.04))
    text = verdict.verdict(losses, pairs, synthetic=False)
    assert "0.100 (0.050 to 0.200), p = 0.040 (not corrected for the choice of two out of 3): " in text


def test_the_verdict_says_what_the_file_of_pairs_says(tmp_path):
    results.pairs(["one", "two"]).to_csv(tmp_path / "pairs.csv", index=False)
    pairs = pd.read_csv(tmp_path / "pairs.csv")
    metrics = {name: results.evaluated(seed=number)[0] for number, name in enumerate(("one", "two"))}
    [row] = pairs.query("unit == 'slice' and metric == 'log_loss' and `class` == 'mean'").to_dict("records")
    ends = sorted(abs(row[name]) for name in ("lower", "upper"))
    text = verdict.verdict(metrics, pairs, synthetic=False)
    assert f"which is {abs(row['value']):.3f} below" in text
    assert f"the paired difference is {abs(row['value']):.3f} (" in text
    assert f"{ends[1]:.3f}), p = {row['p']:.3f}: " in text


@pytest.mark.parametrize(
    ("prior", "said"),
    [(0.5, "The intervals of all lie"), (0.25, "Only the intervals of a and b lie wholly"),
     (0.15, "Only the interval of a lies wholly"), (0.05, "The interval of none lies")],
)  # fmt: skip
def test_the_verdict_names_who_beats_the_prevalence(metrics, prior, said):
    losses = {"a": (0.1, 0.08, 0.12), "b": (0.2, 0.18, 0.22), "c": (0.3, 0.28, 0.32)}
    pairs = paired(("a", "b", -0.1, -0.2, -0.05, 0.01))
    text = verdict.verdict(with_losses(metrics, prior, **losses), pairs, synthetic=False)
    assert f"{said}" in text
    assert f"below the {prior:.3f} that forecasting the prevalence" in text


def test_the_verdict_on_one_experiment(metrics):
    text = verdict.verdict(with_losses(metrics, 0.12, a=(0.11, 0.08, 0.14)), paired(), synthetic=False)
    assert "a has an average log loss of 0.110" in text
    assert "Its interval does not lie wholly below the 0.120" in text


def test_without_intervals_the_verdict_says_so(metrics):
    losses = {"a": (0.1, math.nan, math.nan), "b": (0.2, math.nan, math.nan)}
    pairs = paired(("a", "b", -0.1, math.nan, math.nan, math.nan))
    text = verdict.verdict(with_losses(metrics, **losses), pairs, synthetic=False)
    assert "the paired difference has no interval, so this order may be chance" in text
    assert "wholly" not in text


def test_a_few_slices_are_no_verdict(metrics):
    losses = with_losses(metrics, a=(0.3, 0.28, 0.32), b=(0.1, 0.08, 0.12))
    few = {name: frame.assign(n=12) for name, frame in losses.items()}
    text = verdict.verdict(few, paired(("a", "b", 0.2, 0.1, 0.3, 0.001)), synthetic=False)
    assert "too few slices to conclude from" in text
    assert "paired" not in text
    assert "wholly" not in text


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_verdict_has_two_sentences(metrics, count):
    losses = {f"x{number}": (0.1 + number / 50, 0.08, 0.15) for number in range(count)}
    pairs = paired(("x0", "x1", -0.02, -0.03, 0.01, 0.3))
    text = verdict.verdict(with_losses(metrics, **losses), pairs, synthetic=True)
    assert len(re.findall(r"\.(?= |$)", text)) == 2

"""The figures: what they show is what they were given, and equal inputs give equal files."""

import functools
import subprocess
import sys

import matplotlib as mpl
import matplotlib.text
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer

from ich.base import palette
from ich.base.classes import CLASSES
from ich.cohort.cohort import counts
from ich.cohort.split import PARTS
from ich.evaluation.calibration import calibration
from ich.evaluation.evaluate import evaluate
from ich.evaluation.operating import operating_points
from ich.evaluation.pairs import pairs
from ich.evaluation.subgroups import subgroups
from ich.report.figures import (
    calibration as calibration_figures,
)
from ich.report.figures import (
    cohort as cohort_figures,
)
from ich.report.figures import (
    comparison as comparison_figures,
)
from ich.report.figures import (
    curves as curves_figures,
)
from ich.report.figures import (
    frame as style,
)
from ich.report.figures import (
    operating as operating_figures,
)
from ich.report.figures import (
    subgroups as subgroups_figures,
)
from ich.report.figures import (
    training as training_figures,
)
from tests.unit import results


@pytest.fixture(scope="module")
def evaluated():
    return results.evaluated()


def drawn(name, evaluated, synthetic=False, experiments=2):
    metrics, curves = evaluated
    mark = {"synthetic": synthetic}
    match name:
        case "label_counts":
            return cohort_figures.label_counts(counts(results.cohort()), **mark)
        case "prevalence":
            return cohort_figures.prevalence(counts(results.cohort()), **mark)
        case "metric_bars":
            return comparison_figures.metric_bars(
                {f"experiment{number}": metrics for number in range(experiments)}, **mark
            )
        case "roc":
            return curves_figures.roc(curves, metrics, title="a", **mark)
        case "precision_recall":
            return curves_figures.precision_recall(curves, metrics, title="a", **mark)
        case "montage":
            images = np.arange(2 * 3 * 16 * 16, dtype=np.uint16).astype(np.uint8).reshape(2, 3, 16, 16)
            images[1, 2] = 7
            return cohort_figures.montage(
                images, ["no haemorrhage", "subdural"], ["bone", "soft_tissue", "brain"], **mark
            )
        case "history":
            return training_figures.history(results.history(), 2, title="a", **mark)
        case "search":
            grid = {"batch_size": [16, 32], "optimizer.learning_rate": [1e-5, 1e-4]}
            return training_figures.search(results.points(grid), list(grid), title="a", **mark)
        case "calibration":
            return calibration_figures.calibration(*tables()["calibration"][::-1], title="a", **mark)
        case "operating_points" | "confusion" | "subgroups":
            table = tables()[name.replace("confusion", "operating_points")]
            room = subgroups_figures if name == "subgroups" else operating_figures
            return getattr(room, name)(table, title="a", **mark)
        case "differences":
            return comparison_figures.differences(tables()["pairs"], **mark)


@functools.cache
def tables():
    """Tables of the judged demo of these tests, and of a second experiment beside it."""
    cohort = results.cohort(900, 250)
    judged = {name: results.judged(skill, seed, cohort) for name, skill, seed in (("a", 2, 1), ("b", 1, 2))}
    points = {name: operating_points(each, threshold="youden", prevalence=0.1) for name, each in judged.items()}
    predictions = {"a": results.predicted(2, 1, cohort)["test"], "b": results.predicted(1, 2, cohort)["test"]}
    headers = cohort[["image_id", "patient_id", "series_instance_uid", "index"]].assign(
        bits_stored=16, pixel_representation=1, tilt=np.linspace(0, 20, len(cohort)), gap=5.0
    )
    sampling = {"scan": "maximum", "replicates": 50, "confidence": 0.95, "seed": 1}
    return {
        "calibration": calibration(judged["a"]),
        "operating_points": points["a"],
        "subgroups": subgroups(judged["a"], headers, threshold="youden"),
        "pairs": pairs(cohort, predictions, points, **sampling),
    }


ALL = [
    "label_counts", "prevalence", "metric_bars", "roc", "precision_recall", "montage", "history", "calibration",
    "operating_points", "confusion", "subgroups", "differences", "search",
]  # fmt: skip


def where(frame, **equal):
    """Rows with the given values; `of` is the class."""
    for name, value in equal.items():
        frame = frame[frame["class" if name == "of" else name] == value]
    return frame


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


def on_test(metrics, metric):
    return metrics[(metrics["part"] == "test") & (metrics["metric"] == metric)].set_index("class")


@pytest.mark.parametrize("name", ALL)
def test_equal_inputs_give_equal_files(name, evaluated, tmp_path):
    for run in ("one", "two"):
        style.save(drawn(name, evaluated), tmp_path / f"{run}.svg", tmp_path / f"{run}.png")
    for suffix in ("svg", "png"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    svg = (tmp_path / "one.svg").read_text()
    assert "<svg" in svg
    assert "<dc:date>" not in svg


@pytest.mark.parametrize("name", ALL)
def test_synthetic_data_is_marked_and_other_is_not(name, evaluated):
    assert "Synthetic data" in texts(drawn(name, evaluated, synthetic=True))
    assert not any("ynthetic" in text for text in texts(drawn(name, evaluated)))


@pytest.mark.parametrize("name", ALL)
def test_drawing_leaves_no_setting_behind(name, evaluated):
    before = dict(mpl.rcParams)
    drawn(name, evaluated)
    assert dict(mpl.rcParams) == before


def test_pyplot_and_its_state_are_not_used():
    code = "import sys, ich.report.figures.frame; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_classes_have_colours_of_their_own():
    others = {*style.PART_COLOURS.values(), *(colour for colour, _ in style.SERIES)}
    assert len(set(style.COLOURS.values())) == len(CLASSES)
    assert not others & set(style.COLOURS.values())
    assert len({marker for _, marker in style.SERIES}) == len(style.SERIES)


def test_label_counts_are_those_of_all_parts(evaluated):
    figure = drawn("label_counts", evaluated)
    [axes] = figure.axes
    expected = [results.cohort()[name].sum() for name in CLASSES]
    assert [bar.get_width() for bar in axes.patches] == expected
    assert [to_hex(bar.get_facecolor()).upper() for bar in axes.patches] == list(style.COLOURS.values())
    for count in expected:
        assert f"{count} ({count / 600:.1%})" in texts(figure)


def test_prevalence_is_by_part_in_percent(evaluated):
    [axes] = drawn("prevalence", evaluated).axes
    cohort = results.cohort()
    expected = [100 * cohort.loc[cohort["part"] == part, name].mean() for part in PARTS for name in CLASSES]
    np.testing.assert_allclose([bar.get_height() for bar in axes.patches], expected)


@pytest.mark.parametrize("experiments", [1, 2, 5])
def test_metrics_with_their_intervals_and_baselines(evaluated, experiments):
    metrics, _ = evaluated
    figure = drawn("metric_bars", evaluated, experiments=experiments)
    panels = {"accuracy": "always_negative_accuracy", "log_loss": "prior_log_loss"}
    for axes, (metric, baseline) in zip(figure.axes, panels.items(), strict=True):
        rows = on_test(metrics, metric).loc[[*CLASSES, "mean"]]
        drawn_bars = [each for each in axes.containers if isinstance(each, ErrorbarContainer)]
        assert [each.get_label() for each in drawn_bars] == [f"experiment{number}" for number in range(experiments)]
        for each in drawn_bars:
            np.testing.assert_array_equal(each.lines[0].get_ydata(), rows["value"])
            ends = np.array(each.lines[2][0].get_segments())[:, :, 1]
            np.testing.assert_allclose(ends, rows[["lower", "upper"]].to_numpy(dtype=float))
        [marks] = [each for each in axes.collections if each.get_label().startswith(("always", "forecasting"))]
        expected = on_test(metrics, baseline).loc[[*CLASSES, "mean"], "value"]
        np.testing.assert_array_equal(np.array(marks.get_segments())[:, 0, 1], expected)
        bottom, top = axes.get_ylim()
        assert bottom <= min(rows["lower"].min(), expected.min())
        assert top >= max(rows["upper"].max(), expected.max())


@pytest.mark.parametrize(
    ("name", "kind", "metric"), [("roc", "roc", "roc_auc"), ("precision_recall", "pr", "average_precision")]
)
def test_curves_are_drawn_with_their_values(name, kind, metric, evaluated):
    metrics, curves = evaluated
    [axes] = drawn(name, evaluated).axes
    values = on_test(metrics, metric)
    for label in CLASSES:
        row = values.loc[label]
        [line] = [each for each in axes.lines if each.get_label().startswith(f"{label} ")]
        assert line.get_label() == f"{label} {row['value']:.3f} ({row['lower']:.3f} to {row['upper']:.3f})"
        assert line.get_color() == style.COLOURS[label]
        points = curves[(curves["part"] == "test") & (curves["curve"] == kind) & (curves["class"] == label)]
        np.testing.assert_array_equal(line.get_xydata(), points[["x", "y"]].to_numpy())


def test_recall_lies_across_and_prevalence_is_dotted(evaluated):
    [axes] = drawn("precision_recall", evaluated).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("recall", "precision")
    cohort = results.cohort()
    test = cohort[cohort["part"] == "test"]
    dotted = {line.get_color(): line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"}
    assert dotted == pytest.approx({style.COLOURS[name]: test[name].mean() for name in CLASSES})


@pytest.mark.parametrize("name", ["roc", "precision_recall"])
def test_a_class_without_a_curve_says_why(name):
    frame = results.cohort()
    frame.loc[frame["part"] == "test", "epidural"] = 0
    [axes] = drawn(name, results.evaluated(frame=frame)).axes
    assert "epidural: no positive slice" in [line.get_label() for line in axes.lines]


def test_metrics_without_values_can_be_drawn(tmp_path):
    frame = results.cohort()
    frame.loc[frame["part"] != "train", "epidural"] = 0
    metrics, _ = results.evaluated(frame=frame)
    metrics[["lower", "upper"]] = np.nan
    style.save(comparison_figures.metric_bars({"a": metrics}, synthetic=False), tmp_path / "a.svg")
    table = results.history().assign(validation_roc_auc_epidural=np.nan)
    figure = training_figures.history(table, 1, title="a", synthetic=False)
    assert "epidural (no value)" in texts(figure)


def test_the_montage_shows_the_grey_levels_as_they_are(evaluated):
    figure = drawn("montage", evaluated)
    shown = [axes.images[0] for axes in figure.axes]
    assert len(shown) == 2 * 3  # row by row: a row a slice, a column a window
    np.testing.assert_array_equal(shown[0].get_array(), np.arange(256, dtype=np.uint8).reshape(16, 16))
    np.testing.assert_array_equal(shown[5].get_array(), np.full((16, 16), 7, np.uint8))
    assert {image.get_clim() for image in shown} == {(0, 255)}
    assert [axes.get_title() for axes in figure.axes[:3]] == ["bone", "soft tissue", "brain"]
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == ["no haemorrhage", "subdural"]
    assert to_hex(figure.axes[3].spines["left"].get_edgecolor()).upper() == style.COLOURS["subdural"]


def test_the_history_and_the_epoch_that_was_kept(evaluated):
    table = results.history()
    loss, auc = drawn("history", evaluated).axes
    lines = {line.get_label(): line for line in (*loss.lines, *auc.lines)}
    np.testing.assert_array_equal(lines["training, augmented"].get_ydata(), table["train_loss"])
    np.testing.assert_array_equal(lines["validation"].get_ydata(), table["validation_loss"])
    np.testing.assert_array_equal(lines["mean"].get_ydata(), table["validation_roc_auc"])
    for name in CLASSES:
        np.testing.assert_array_equal(lines[name].get_ydata(), table[f"validation_roc_auc_{name}"])
        assert lines[name].get_color() == style.COLOURS[name]
    assert list(lines["epoch kept"].get_xdata()) == [2, 2]


RATE, SIZE, SCHEDULE = "optimizer.learning_rate", "batch_size", "schedule.name"


def searched(grid):
    points = results.points(grid)
    return points, training_figures.search(points, list(grid), title="a", synthetic=False)


def test_a_search_over_one_key_is_a_line():
    points, figure = searched({SIZE: [16], RATE: [1e-2, 1e-3, 1e-4, 1e-5]})
    [axes] = figure.axes
    line, chosen = axes.lines
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1e-05", "0.0001", "0.001", "0.01"]
    np.testing.assert_array_equal(line.get_ydata(), points["validation_roc_auc"][::-1])
    assert list(chosen.get_ydata()) == [points["validation_roc_auc"].max()]
    assert axes.get_xlabel() == RATE


def test_a_search_over_two_keys_is_a_map_with_every_value():
    points, figure = searched({SIZE: [16, 32, 64], RATE: [1e-5, 1e-4]})
    axes = figure.axes[0]
    assert (axes.get_ylabel(), axes.get_xlabel()) == (SIZE, RATE)
    np.testing.assert_array_equal(axes.images[0].get_array(), points["validation_roc_auc"].to_numpy().reshape(3, 2))
    assert [text.get_text() for text in axes.texts] == [f"{value:.3f}" for value in points["validation_roc_auc"]]
    [frame] = axes.patches
    column, row = np.add(frame.get_xy(), 0.5)
    best = points["validation_roc_auc"].to_numpy().argmax()
    assert (row, column) == divmod(best, 2)


def test_a_search_over_more_keys_has_a_row_for_each_point():
    points, figure = searched({SIZE: [16, 32], RATE: [1e-5, 1e-4], SCHEDULE: ["cosine", "constant"]})
    [axes] = figure.axes
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert len(labels) == len(points)
    assert labels[-1] == "16, 0.0001, cosine"  # the third, and the best


@pytest.mark.parametrize("grid", [{SIZE: [16, 32]}, {SIZE: [16, 32], RATE: [1e-5, 1e-4]}])
def test_points_without_a_value_are_shown_as_such(grid, tmp_path):
    points = results.points(grid).assign(validation_roc_auc=np.nan)
    style.save(training_figures.search(points, list(grid), title="a", synthetic=True), tmp_path / "search.svg")


@pytest.mark.parametrize("unit", ["slice", "scan"])
def test_curves_say_what_is_counted_and_show_no_other(unit):
    both = evaluate(results.judged(frame=results.cohort(900, 250)), threshold="accuracy")
    metrics, curves = both
    figure = curves_figures.roc(curves, metrics, title="a", synthetic=False, unit=unit)
    assert f"ROC on test, {unit}s: a" in texts(figure)
    area = where(metrics, part="test", unit=unit, of="any", metric="roc_auc").iloc[0]
    assert any(text.startswith(f"any {area['value']:.3f} (") for text in texts(figure))
    points = where(curves, part="test", unit=unit, of="any", curve="roc")
    [line] = [each for each in figure.axes[0].lines if str(each.get_label()).startswith("any")]
    np.testing.assert_array_equal(line.get_xdata(), points["x"])


def test_calibration_shows_each_method_of_each_class_and_unit():
    measured, reliability = tables()["calibration"]
    figure = calibration_figures.calibration(reliability, measured, title="a", synthetic=False)
    panels = [(unit, name) for unit in ("slice", "scan") for name in CLASSES]
    for axes, (unit, name) in zip(figure.axes, panels, strict=True):
        lines = {line.get_label(): line for line in axes.lines}
        for method, label in (("none", "as predicted"), ("temperature", "temperature"), ("isotonic", "isotonic")):
            rows = where(reliability, unit=unit, of=name, method=method)
            np.testing.assert_array_equal(lines[label].get_xdata(), rows["mean_probability"])
            np.testing.assert_array_equal(lines[label].get_ydata(), rows["value"])
        row = where(measured, unit=unit, of=name, method="none", measure="slope").iloc[0]
        expected = "no slope" if np.isnan(row["value"]) else f"slope {row['value']:.2f}"
        assert expected in [text.get_text() for text in axes.texts]


def test_confusion_matrices_hold_the_counts_at_the_decision_rule():
    points = tables()["operating_points"]
    figure = operating_figures.confusion(points, title="a", synthetic=False)
    panels = [(unit, name) for unit in ("slice", "scan") for name in CLASSES]
    for axes, (unit, name) in zip(figure.axes, panels, strict=True):
        rows = where(points, part="test", rule="decision", unit=unit, of=name)
        values = rows.set_index("measure")["value"]
        shown = {text.get_position(): text.get_text().split("\n")[0] for text in axes.texts}
        assert shown == {
            (0, 0): f"{values['true_positive']:,.0f}",
            (1, 0): f"{values['false_negative']:,.0f}",
            (0, 1): f"{values['false_positive']:,.0f}",
            (1, 1): f"{values['true_negative']:,.0f}",
        }


def test_operating_points_are_those_of_the_table():
    points = tables()["operating_points"]
    figure = operating_figures.operating_points(points, title="a", synthetic=False)
    axes = figure.axes[5]  # specificity of scans
    assert axes.get_title(loc="left") == "specificity, scans"
    for drawn, rule in zip(axes.containers, ("decision", "youden", "sensitivity_95", "specificity_95"), strict=True):
        rows = where(points, part="test", unit="scan", measure="specificity", rule=rule)
        np.testing.assert_array_equal(drawn.lines[0].get_xdata(), rows["value"])
        ends = [[left, right] for (left, _), (right, _) in drawn.lines[2][0].get_segments()]
        np.testing.assert_allclose(ends, rows[["lower", "upper"]], rtol=1e-12)


def test_subgroups_of_few_patients_are_grey_and_empty_ones_say_why():
    table = tables()["subgroups"]
    figure = subgroups_figures.subgroups(table, title="a", synthetic=False)
    for axes, unit in zip(figure.axes, ("slice", "scan"), strict=True):
        rows = where(table, unit=unit, of="any", metric="roc_auc")
        drawn = {each.lines[0].get_xdata()[0]: to_hex(each.lines[0].get_color()).upper() for each in axes.containers}
        for row in rows.itertuples():
            if np.isnan(row.value):
                assert row.reason in [text.get_text() for text in axes.texts]
            else:
                assert drawn[row.value] == (palette.FAINT if row.few else style.COLOURS["any"])
            assert f"{row.positive:,} of {row.n:,}" in [text.get_text() for text in axes.texts]
    assert {True, False} == set(where(table, of="any", metric="roc_auc")["few"])


def test_differences_that_survive_holms_correction_are_filled():
    table = where(tables()["pairs"], method="bootstrap")
    figure = comparison_figures.differences(tables()["pairs"], synthetic=False)
    axes = figure.axes[2]  # log loss of slices
    rows = where(table, unit="slice", metric="log_loss").set_index("class").loc[[*CLASSES, "mean"]]
    np.testing.assert_array_equal(axes.containers[0].lines[0].get_xdata(), rows["value"])
    filled = axes.lines[-1].get_xdata()
    np.testing.assert_array_equal(filled, rows.loc[rows["p_holm"].fillna(rows["p"]) < 0.05, "value"])


def test_one_experiment_has_no_differences():
    figure = comparison_figures.differences(tables()["pairs"].iloc[:0], synthetic=True)
    assert {"one experiment: nothing to compare", "Synthetic data"} <= {*texts(figure)}

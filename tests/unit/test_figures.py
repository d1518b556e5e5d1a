"""The figures: what they show is what they were given, and equal inputs give equal files."""

import subprocess
import sys

import matplotlib as mpl
import matplotlib.text
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer

from ich import figures
from ich.cohort import PARTS, counts
from ich.labels import CLASSES
from tests.unit import results


@pytest.fixture(scope="module")
def evaluated():
    return results.evaluated()


def drawn(name, evaluated, synthetic=False, experiments=2):
    metrics, curves = evaluated
    mark = {"synthetic": synthetic}
    match name:
        case "label_counts":
            return figures.label_counts(counts(results.cohort()), **mark)
        case "prevalence":
            return figures.prevalence(counts(results.cohort()), **mark)
        case "metric_bars":
            return figures.metric_bars({f"experiment{number}": metrics for number in range(experiments)}, **mark)
        case "roc":
            return figures.roc(curves, metrics, title="a", **mark)
        case "precision_recall":
            return figures.precision_recall(curves, metrics, title="a", **mark)
        case "montage":
            images = np.arange(2 * 3 * 16 * 16, dtype=np.uint16).astype(np.uint8).reshape(2, 3, 16, 16)
            images[1, 2] = 7
            return figures.montage(images, ["no haemorrhage", "subdural"], ["bone", "soft_tissue", "brain"], **mark)
        case "history":
            return figures.history(results.history(), 2, title="a", **mark)
        case "search":
            grid = {"batch_size": [16, 32], "optimizer.learning_rate": [1e-5, 1e-4]}
            return figures.search(results.points(grid), list(grid), title="a", **mark)


ALL = ["label_counts", "prevalence", "metric_bars", "roc", "precision_recall", "montage", "history", "search"]


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


def on_test(metrics, metric):
    return metrics[(metrics["part"] == "test") & (metrics["metric"] == metric)].set_index("class")


@pytest.mark.parametrize("name", ALL)
def test_equal_inputs_give_equal_files(name, evaluated, tmp_path):
    for run in ("one", "two"):
        figures.save(drawn(name, evaluated), tmp_path / f"{run}.svg", tmp_path / f"{run}.png")
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
    code = "import sys, ich.figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_classes_have_colours_of_their_own():
    others = {*figures.PART_COLOURS.values(), *(colour for colour, _ in figures.SERIES)}
    assert len(set(figures.COLOURS.values())) == len(CLASSES)
    assert not others & set(figures.COLOURS.values())
    assert len({marker for _, marker in figures.SERIES}) == len(figures.SERIES)


def test_label_counts_are_those_of_all_parts(evaluated):
    figure = drawn("label_counts", evaluated)
    [axes] = figure.axes
    expected = [results.cohort()[name].sum() for name in CLASSES]
    assert [bar.get_width() for bar in axes.patches] == expected
    assert [to_hex(bar.get_facecolor()).upper() for bar in axes.patches] == list(figures.COLOURS.values())
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
        assert line.get_color() == figures.COLOURS[label]
        points = curves[(curves["part"] == "test") & (curves["curve"] == kind) & (curves["class"] == label)]
        np.testing.assert_array_equal(line.get_xydata(), points[["x", "y"]].to_numpy())


def test_recall_lies_across_and_prevalence_is_dotted(evaluated):
    [axes] = drawn("precision_recall", evaluated).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("recall", "precision")
    cohort = results.cohort()
    test = cohort[cohort["part"] == "test"]
    dotted = {line.get_color(): line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"}
    assert dotted == pytest.approx({figures.COLOURS[name]: test[name].mean() for name in CLASSES})


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
    figures.save(figures.metric_bars({"a": metrics}, synthetic=False), tmp_path / "a.svg")
    table = results.history().assign(validation_roc_auc_epidural=np.nan)
    figure = figures.history(table, 1, title="a", synthetic=False)
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
    assert to_hex(figure.axes[3].spines["left"].get_edgecolor()).upper() == figures.COLOURS["subdural"]


def test_the_history_and_the_epoch_that_was_kept(evaluated):
    table = results.history()
    loss, auc = drawn("history", evaluated).axes
    lines = {line.get_label(): line for line in (*loss.lines, *auc.lines)}
    np.testing.assert_array_equal(lines["training, augmented"].get_ydata(), table["train_loss"])
    np.testing.assert_array_equal(lines["validation"].get_ydata(), table["validation_loss"])
    np.testing.assert_array_equal(lines["mean"].get_ydata(), table["validation_roc_auc"])
    for name in CLASSES:
        np.testing.assert_array_equal(lines[name].get_ydata(), table[f"validation_roc_auc_{name}"])
        assert lines[name].get_color() == figures.COLOURS[name]
    assert list(lines["epoch kept"].get_xdata()) == [2, 2]


RATE, SIZE, SCHEDULE = "optimizer.learning_rate", "batch_size", "schedule.name"


def searched(grid):
    points = results.points(grid)
    return points, figures.search(points, list(grid), title="a", synthetic=False)


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
    figures.save(figures.search(points, list(grid), title="a", synthetic=True), tmp_path / "search.svg")

"""The figures: what they show is what they were given, and equal inputs give equal files."""

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from ich import figures
from ich.cohort import counts
from ich.labels import CLASSES
from tests.unit import results


@pytest.fixture(scope="module")
def evaluated():
    return results.evaluated()


def drawn(name, evaluated, synthetic=False):
    metrics, curves = evaluated
    mark = {"synthetic": synthetic}
    match name:
        case "label_counts":
            return figures.label_counts(counts(results.cohort()), **mark)
        case "prevalence":
            return figures.prevalence(counts(results.cohort()), **mark)
        case "metric_bars":
            return figures.metric_bars({"a": metrics, "b": metrics}, **mark)
        case "roc":
            return figures.roc(curves, metrics, title="a", **mark)
        case "precision_recall":
            return figures.precision_recall(curves, metrics, title="a", **mark)
        case "montage":
            images = np.arange(3 * 2 * 16 * 16, dtype=np.uint8).reshape(3, 2, 16, 16)
            return figures.montage(images, ["x", "y", "z"], ["bone", "brain"], **mark)
        case "history":
            return figures.history(results.history(), 2, title="a", **mark)


ALL = ["label_counts", "prevalence", "metric_bars", "roc", "precision_recall", "montage", "history"]


@pytest.mark.parametrize("name", ALL)
def test_equal_inputs_give_equal_files(name, evaluated, tmp_path):
    for run in ("one", "two"):
        figures.save(drawn(name, evaluated), tmp_path / f"{run}.svg", tmp_path / f"{run}.png")
    for suffix in ("svg", "png"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "one.svg").read_bytes()


@pytest.mark.parametrize("name", ALL)
def test_synthetic_data_is_marked_and_other_is_not(name, evaluated):
    texts = {synthetic: figure_texts(drawn(name, evaluated, synthetic)) for synthetic in (True, False)}
    assert "Synthetic data" in texts[True]
    assert not any("ynthetic" in text for text in texts[False])


def figure_texts(figure):
    import matplotlib.text

    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


def test_label_counts_are_those_of_all_parts(evaluated):
    [axes] = drawn("label_counts", evaluated).axes
    assert [bar.get_width() for bar in axes.patches] == [results.cohort()[name].sum() for name in CLASSES]


def test_prevalence_is_by_part_in_percent(evaluated):
    [axes] = drawn("prevalence", evaluated).axes
    cohort = results.cohort()
    expected = [
        100 * cohort.loc[cohort["part"] == part, name].mean()
        for part in ("train", "validation", "test")
        for name in CLASSES
    ]
    np.testing.assert_allclose([bar.get_height() for bar in axes.patches], expected)


def test_bars_are_the_test_parts_metrics_with_their_intervals(evaluated):
    metrics, _ = evaluated
    accuracy, loss = drawn("metric_bars", evaluated).axes
    for axes, metric in ((accuracy, "accuracy"), (loss, "log_loss")):
        rows = metrics[(metrics["part"] == "test") & (metrics["metric"] == metric)].set_index("class")
        rows = rows.loc[[*CLASSES, "mean"]]
        np.testing.assert_allclose([bar.get_height() for bar in axes.patches[:7]], rows["value"])
        errors = next(each for each in axes.containers if isinstance(each, ErrorbarContainer))
        ends = np.array(errors.lines[2][0].get_segments())[:, :, 1]
        np.testing.assert_allclose(ends, rows[["lower", "upper"]].to_numpy(dtype=float))


@pytest.mark.parametrize(
    ("name", "kind", "metric"), [("roc", "roc", "roc_auc"), ("precision_recall", "pr", "average_precision")]
)
def test_curves_are_drawn_with_their_values(name, kind, metric, evaluated):
    metrics, curves = evaluated
    [axes] = drawn(name, evaluated).axes
    lines = {line.get_label().split(" (")[0]: line for line in axes.lines if "(" in line.get_label()}
    values = metrics[(metrics["part"] == "test") & (metrics["metric"] == metric)].set_index("class")["value"]
    for label in CLASSES:
        points = curves[(curves["part"] == "test") & (curves["curve"] == kind) & (curves["class"] == label)]
        np.testing.assert_array_equal(lines[label].get_xydata(), points[["x", "y"]].to_numpy())
        assert f"{values[label]:.3f}" in lines[label].get_label()
    assert len({line.get_color() for line in lines.values()}) == len(CLASSES)


def test_recall_lies_across(evaluated):
    [axes] = drawn("precision_recall", evaluated).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("recall", "precision")


def test_a_class_without_a_curve_has_a_dash():
    frame = results.cohort()
    frame.loc[frame["part"] == "test", "epidural"] = 0
    [axes] = drawn("roc", results.evaluated(frame=frame)).axes
    assert "epidural (–)" in [line.get_label() for line in axes.lines]


def test_the_montage_shows_the_grey_levels_as_they_are(evaluated):
    figure = drawn("montage", evaluated)
    shown = [axes.images[0] for axes in figure.axes]
    assert len(shown) == 6
    np.testing.assert_array_equal(shown[0].get_array(), np.arange(256, dtype=np.uint8).reshape(16, 16))
    assert {image.get_clim() for image in shown} == {(0, 255)}

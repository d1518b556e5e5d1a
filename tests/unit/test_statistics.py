import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

from ich import metrics, statistics


def reference(labels, probabilities, weight):
    """The three ranking metrics by scikit-learn."""
    if len(np.unique(labels[weight > 0])) < 2:
        return dict.fromkeys(statistics.RANKING, np.nan)
    precision, recall, _ = precision_recall_curve(labels, probabilities, sample_weight=weight)
    return {
        "roc_auc": roc_auc_score(labels, probabilities, sample_weight=weight),
        "average_precision": average_precision_score(labels, probabilities, sample_weight=weight),
        "pr_auc_trapezoid": auc(recall, precision),
    }


def assert_like_scikit_learn(labels, probabilities, patients, weights):
    found = statistics.ranking_metrics(labels, probabilities, patients, weights)
    for replicate, weight in enumerate(weights):
        for name, expected in reference(labels, probabilities, weight[patients]).items():
            np.testing.assert_allclose(found[name][replicate], expected, rtol=0, atol=1e-9, err_msg=name)


@st.composite
def samples(draw):
    """Slices of a few patients, most of them tied, and the weights of a few replicates, some of them zero."""
    count, patients = draw(st.integers(1, 40)), draw(st.integers(1, 6))
    column = lambda elements: np.array(draw(st.lists(elements, min_size=count, max_size=count)))  # noqa: E731
    row = st.lists(st.integers(0, 4), min_size=patients, max_size=patients).filter(any)
    return (
        column(st.integers(0, 1)).astype(np.uint8),
        column(st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.8, 1.0])),
        column(st.integers(0, patients - 1)),
        np.array(draw(st.lists(row, min_size=1, max_size=4)), dtype=float),
    )


def test_draws_are_of_whole_patients_and_repeat_with_the_seed():
    weights = statistics.draw_patients(50, 2000, seed=3)
    assert weights.shape == (2000, 50)
    assert (weights == np.round(weights)).all()
    assert (weights.sum(axis=1) == 50).all()
    np.testing.assert_array_equal(weights, statistics.draw_patients(50, 2000, seed=3))
    assert (weights != statistics.draw_patients(50, 2000, seed=4)).any()
    # Binomial(50, 1/50): mean 1, variance 0.98, and (1 - 1/50)^50 of the patients are not drawn.
    np.testing.assert_allclose(weights.var(), 0.98, atol=0.02)
    np.testing.assert_allclose((weights == 0).mean(), 0.98**50, atol=0.01)


@given(samples())
def test_ranking_metrics_equal_scikit_learn_with_weights_and_ties(sample):
    assert_like_scikit_learn(*sample)


@pytest.mark.parametrize("digits", [2, 4, 17])
def test_ranking_metrics_equal_scikit_learn_on_many_slices(digits, monkeypatch):
    monkeypatch.setattr(statistics, "CELLS", 2000)  # several replicates a piece, several pieces
    generator = np.random.default_rng(digits)
    patients = generator.integers(0, 300, size=12_000)
    labels = (generator.random(12_000) < 0.05).astype(np.uint8)
    probabilities = (1 / (1 + np.exp(3 - labels - generator.normal(size=12_000)))).round(digits)
    assert_like_scikit_learn(labels, probabilities, patients, statistics.draw_patients(300, 7, seed=0))
    assert_like_scikit_learn(labels, probabilities, patients, generator.random((3, 300)))


def test_a_replicate_equals_copying_the_slices_of_each_drawn_patient():
    generator = np.random.default_rng(0)
    patients = np.repeat(np.arange(20), generator.integers(5, 40, size=20))
    labels = (generator.random(len(patients)) < 0.2).astype(np.uint8)
    probabilities = generator.random(len(patients)).round(2)
    weights = statistics.draw_patients(20, 5, seed=1)
    ranking = statistics.ranking_metrics(labels, probabilities, patients, weights)
    losses = metrics.log_losses(labels, probabilities)[:, None]
    means = statistics.weighted_means(losses, patients, weights)
    for replicate, weight in enumerate(weights):
        drawn = np.concatenate(
            [np.flatnonzero(patients == number) for number in np.repeat(np.arange(20), weight.astype(int))]
        )
        for name in statistics.RANKING:
            expected = getattr(metrics, name)(labels[drawn], probabilities[drawn])
            assert ranking[name][replicate] == pytest.approx(expected, abs=1e-12)
        assert means[replicate, 0] == pytest.approx(losses[drawn].mean(), rel=1e-12)


@given(samples())
def test_weighted_means_equal_numpys(sample):
    labels, probabilities, patients, weights = sample
    values = np.column_stack([labels, probabilities, np.full(len(labels), np.nan)])
    weights += 0.5  # patients without slices may hold all whole weights
    expected = [np.average(values, axis=0, weights=weight[patients]) for weight in weights]
    np.testing.assert_allclose(statistics.weighted_means(values, patients, weights), expected, rtol=1e-12)


def test_a_replicate_that_lacks_a_label_has_no_value():
    labels, probabilities, patients = np.array([1, 0, 0]), np.array([0.9, 0.8, 0.1]), np.array([0, 0, 1])
    weights = np.array([[2.0, 0], [0, 2], [1, 1]])
    for values in statistics.ranking_metrics(labels, probabilities, patients, weights).values():
        np.testing.assert_array_equal(np.isnan(values), [False, True, False])
    for values in statistics.ranking_metrics(np.ones(3), probabilities, patients, weights).values():
        assert np.isnan(values).all()


def test_slices_of_a_patient_count_as_one_observation():
    """With 10 equal slices a patient, the standard error is that of the patients' mean, not of ten times as many."""
    generator = np.random.default_rng(0)
    of_patient = generator.normal(size=400)
    patients = np.repeat(np.arange(400), 10)
    weights = statistics.draw_patients(400, 4000, seed=1)
    means = statistics.weighted_means(of_patient[patients, None], patients, weights)
    assert means.std() == pytest.approx(of_patient.std() / np.sqrt(400), rel=0.03)


def test_percentile_interval():
    values = np.random.default_rng(0).permutation(np.arange(201.0))
    assert statistics.percentile_interval(values, 0.95) == pytest.approx((5, 195))
    assert statistics.percentile_interval(values, 0.5) == pytest.approx((50, 150))
    assert statistics.percentile_interval(np.r_[np.nan, values, np.nan], 0.95) == pytest.approx((5, 195))
    assert np.isnan(statistics.percentile_interval(np.full(3, np.nan), 0.95)).all()
    assert np.isnan(statistics.percentile_interval(np.empty(0), 0.95)).all()

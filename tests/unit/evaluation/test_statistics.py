import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

from ich.evaluation import metrics, statistics


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


def test_percentile_interval_of_values_that_may_be_infinite():
    inf = np.inf
    values = np.r_[np.arange(98.0), inf, inf]
    assert statistics.percentile_interval(values, 0.9) == (4, 95)  # places 4.95 and 94.05 of 0 to 99
    assert statistics.percentile_interval(values, 0.98) == (0, inf)
    assert statistics.percentile_interval(np.r_[-values, np.nan], 0.98) == (-inf, 0)
    assert statistics.percentile_interval(np.array([-inf, inf]), 0.95) == (-inf, inf)
    assert statistics.percentile_interval(np.full(5, inf), 0.95) == (inf, inf)


def test_ratio_of_nothing_has_no_value():
    np.testing.assert_array_equal(statistics.ratio(np.array([1, 0, 3]), np.array([2, 0, 0])), [0.5, np.nan, np.nan])


# ---- tests with known answers

# DeLong, DeLong and Clarke-Pearson (1988), as printed in the SAS/STAT User's Guide, "Comparing Receiver Operating
# Characteristic Curves": albumin, total protein, K-G score (lower is better) and outcome of 43 patients.
OVARIAN = np.array(
    [
        *(3.0, 5.8, 10, 0, 3.2, 6.3, 5, 1, 3.9, 6.8, 3, 1, 2.8, 4.8, 6, 0, 3.2, 5.8, 3, 1, 0.9, 4.0, 5, 0),
        *(2.5, 5.7, 8, 0, 1.6, 5.6, 5, 1, 3.8, 5.7, 5, 1, 3.7, 6.7, 6, 1, 3.2, 5.4, 4, 1, 3.8, 6.6, 6, 1),
        *(4.1, 6.6, 5, 1, 3.6, 5.7, 5, 1, 4.3, 7.0, 4, 1, 3.6, 6.7, 4, 0, 2.3, 4.4, 6, 1, 4.2, 7.6, 4, 0),
        *(4.0, 6.6, 6, 0, 3.5, 5.8, 6, 1, 3.8, 6.8, 7, 1, 3.0, 4.7, 8, 0, 4.5, 7.4, 5, 1, 3.7, 7.4, 5, 1),
        *(3.1, 6.6, 6, 1, 4.1, 8.2, 6, 1, 4.3, 7.0, 5, 1, 4.3, 6.5, 4, 1, 3.2, 5.1, 5, 1, 2.6, 4.7, 6, 1),
        *(3.3, 6.8, 6, 0, 1.7, 4.0, 7, 0, 3.7, 6.1, 5, 1, 3.3, 6.3, 7, 1, 4.2, 7.7, 6, 1, 3.5, 6.2, 5, 1),
        *(2.9, 5.7, 9, 0, 2.1, 4.8, 7, 1, 2.8, 6.2, 8, 0, 4.0, 7.0, 7, 1, 3.3, 5.7, 6, 1, 3.7, 6.9, 5, 1),
        *(3.6, 6.6, 5, 1),
    ]
).reshape(-1, 4)
OUTCOME, ALBUMIN, PROTEIN, KG = OVARIAN[:, 3], OVARIAN[:, 0], OVARIAN[:, 1], 10 - OVARIAN[:, 2]


def test_delong_gives_the_published_comparison_of_ovarian_cancer_scores():
    scores = np.column_stack([ALBUMIN, PROTEIN, KG])
    areas, covariance = statistics.auc_covariance(OUTCOME, scores, np.arange(43))
    # R's pROC 1.18.0: auc, var and cov (method "delong").
    np.testing.assert_allclose(areas, [0.736559139784946, 0.647849462365591, 0.725806451612903], rtol=1e-12)
    variances = [0.00859224179008258, 0.01000947736119432, 0.01057228327324581]
    np.testing.assert_allclose(np.diag(covariance), variances, rtol=1e-12)
    np.testing.assert_allclose(covariance[0, 2], 0.00503705981073307, rtol=1e-12)
    # pROC's roc.test; SAS prints chi-squares of 0.0127 and 0.5554.
    z, lower, upper, p = statistics.delong(areas[[0, 2]], covariance[np.ix_([0, 2], [0, 2])], 0.95)
    expected = (0.1127782690445, -0.176117368734695, 0.197622745078781, 0.910206347201)
    np.testing.assert_allclose((z, lower, upper, p), expected, rtol=1e-10)
    z, lower, upper, p = statistics.delong(areas[1:], covariance[1:, 1:], 0.95)
    expected = (-0.745218389658, -0.282988015572399, 0.127074037077776, 0.456139707507)
    np.testing.assert_allclose((z, lower, upper, p), expected, rtol=1e-10)


def test_delong_of_clusters_equals_obuchowskis_own_program():
    """Three rows in turn are taken for a patient; the figures are from R, by clusteredROC (funcs_clusteredROC.R)."""
    scores = np.column_stack([PROTEIN, KG])
    areas, covariance = statistics.auc_covariance(OUTCOME, scores, np.arange(43) // 3)
    np.testing.assert_allclose(areas, [0.647849462365591, 0.725806451612903], rtol=1e-12)
    expected = [[0.0156797081511227, 0.0104219267797565], [0.0104219267797565, 0.0186607158863001]]
    np.testing.assert_allclose(covariance, expected, rtol=1e-12)
    z, lower, upper, p = statistics.delong(areas, covariance, 0.95)
    np.testing.assert_allclose((z, p), (-0.6710321751985636, 0.5022000326338056), rtol=1e-10)
    np.testing.assert_allclose((upper - lower) / 2, 1.959963984540054 * 0.1161747411355406, rtol=1e-10)


def test_delong_equals_another_library():
    from MLstatkit import Delong_test

    generator = np.random.default_rng(5)
    labels = (generator.random(400) < 0.3).astype(int)
    first, second = ((labels + generator.normal(size=400)).round(1) for _ in range(2))
    areas, covariance = statistics.auc_covariance(labels, np.column_stack([first, second]), np.arange(400))
    z, _, _, p = statistics.delong(areas, covariance, 0.95)
    expected_z, expected_p = Delong_test(labels, first, second)[:2]
    assert (abs(z), p) == pytest.approx((abs(expected_z), expected_p), rel=1e-9)


def test_delong_of_clusters_agrees_with_the_bootstrap_by_patient():
    generator = np.random.default_rng(6)
    patients = np.repeat(np.arange(300), generator.integers(1, 5, size=300))
    severity = generator.normal(size=300)[patients]
    labels = (severity + generator.normal(size=len(patients)) > 0.5).astype(int)
    scores = severity[:, None] + labels[:, None] + generator.normal(size=(len(patients), 2)) * 2
    _, covariance = statistics.auc_covariance(labels, scores, patients)
    weights = statistics.draw_patients(300, 4000, seed=7)
    drawn = [statistics.ranking_metrics(labels, each, patients, weights)["roc_auc"] for each in scores.T]
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), np.std(drawn, axis=1), rtol=0.05)
    difference = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert np.sqrt(difference) == pytest.approx(np.std(drawn[0] - drawn[1]), rel=0.05)


def test_delong_of_equal_scores_finds_no_difference_and_of_too_few_has_no_value():
    areas, covariance = statistics.auc_covariance(OUTCOME, np.column_stack([KG, KG]), np.arange(43))
    assert statistics.delong(areas, covariance, 0.95) == (0, 0, 0, 1)
    labels = np.array([1, 0, 0, 0])
    areas, covariance = statistics.auc_covariance(labels, np.array([[3.0, 1], [1, 2], [2, 3], [0, 0]]), np.arange(4))
    assert areas == pytest.approx([1, 1 / 3])
    assert np.isnan(statistics.delong(areas, covariance, 0.95)).all()
    areas, covariance = statistics.auc_covariance(np.zeros(4), np.ones((4, 2)), np.arange(4))
    assert np.isnan(areas).all()
    assert np.isnan(covariance).all()


def test_delong_of_a_perfect_and_a_constant_score_is_no_test():
    labels = np.array([1, 1, 1, 0, 0, 0, 0])
    areas, covariance = statistics.auc_covariance(labels, np.column_stack([labels, np.ones(7)]), np.arange(7))
    assert areas == pytest.approx([1, 0.5])
    assert (covariance == 0).all()
    assert np.isnan(statistics.delong(areas, covariance, 0.95)).all()
    rounded = np.array([[0.01, 0.01 - 1e-18], [0.01 - 1e-18, 0.01 + 2e-18]])
    assert np.isnan(statistics.delong(np.array([0.8, 0.7]), rounded, 0.95)).all()


def test_paired_bootstrap_gives_procs_test_of_ovarian_cancer_scores():
    """R's pROC 1.18.0: roc.test(total protein, K-G, "bootstrap", boot.n=20000, boot.stratified=FALSE): D -0.7412."""
    weights = statistics.draw_patients(43, 20_000, seed=1)
    drawn = [statistics.ranking_metrics(OUTCOME, score, np.arange(43), weights)["roc_auc"] for score in (PROTEIN, KG)]
    differences = drawn[0] - drawn[1]
    assert -0.0779569892473119 / differences.std() == pytest.approx(-0.7411981303723, rel=0.02)
    assert statistics.bootstrap_p_value(differences) == pytest.approx(0.458573316862, abs=0.03)


def test_bootstrap_p_value_counts_replicates_on_the_other_side():
    values = np.r_[np.full(96, 0.3), -0.1, -0.2, 0.0, np.nan]
    assert statistics.bootstrap_p_value(values) == pytest.approx(2 * (3 + 1) / (99 + 1))
    assert statistics.bootstrap_p_value(-values) == statistics.bootstrap_p_value(values)
    assert statistics.bootstrap_p_value(np.zeros(50)) == 1
    assert statistics.bootstrap_p_value(np.ones(999)) == pytest.approx(0.002)
    assert np.isnan(statistics.bootstrap_p_value(np.full(3, np.nan)))


def test_bootstrap_p_value_is_below_alpha_where_the_interval_leaves_zero_out():
    generator = np.random.default_rng(8)
    for shift in np.linspace(1.5, 2.5, 21):
        values = generator.normal(shift, 1, size=9999)
        lower, _ = statistics.percentile_interval(values, 0.95)
        if abs(lower) > 0.01:
            assert (statistics.bootstrap_p_value(values) < 0.05) == (lower > 0)


def test_mcnemar_gives_the_published_exact_p_value():
    """Fagerland, Lydersen and Laake (2013), airway hyper-responsiveness: 1 and 7 discordant of 21, p 0.070."""
    first = np.repeat([True, True, False, False], [1, 1, 7, 12])
    second = np.repeat([True, False, True, False], [1, 1, 7, 12])
    assert statistics.mcnemar(first, second) == (1, 7, pytest.approx(0.0703125, rel=1e-12))
    # The approval ratings of Agresti, Categorical Data Analysis, in R: binom.test(86, 236).
    first = np.repeat([True, True, False, False], [794, 150, 86, 570])
    second = np.repeat([True, False, True, False], [794, 150, 86, 570])
    assert statistics.mcnemar(first, second) == (150, 86, pytest.approx(3.715971e-05, rel=1e-5))
    assert statistics.mcnemar(first, first) == (0, 0, 1)


def test_holm_gives_the_known_adjustment():
    """R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm"); the example is that of Wikipedia's page on the method."""
    np.testing.assert_allclose(statistics.holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(statistics.holm(np.array([0.6, np.nan, 0.01, 0.7])), [1, np.nan, 0.03, 1])
    assert statistics.holm(np.empty(0)).shape == (0,)
    assert np.isnan(statistics.holm(np.full(2, np.nan))).all()


@pytest.mark.parametrize(
    ("successes", "trials", "expected"),
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0, 0.1611)), (1, 29, (0.0061, 0.1718))],
)
def test_wilson_gives_the_published_intervals(successes, trials, expected):
    """Newcombe (1998), table I, method 3."""
    assert statistics.wilson_interval(successes, trials, 0.95) == pytest.approx(expected, abs=5e-5)


def test_wilson_of_no_case_has_no_value():
    assert np.isnan(statistics.wilson_interval(0, 0, 0.95)).all()

"""What the paper printed, and what a reader must know about it.

Murphy and Satyamoorthi, Intracranial Hemorrhage Detection with Deep Convolutional Neural Networks (2021), figures 2 to
6. These are numbers of the RSNA 2019 data; a result on other data must not stand beside them unmarked.
"""

from dataclasses import dataclass, field

CITATION = (
    "Murphy, Satyamoorthi. Intracranial Hemorrhage Detection with Deep Convolutional Neural Networks. 2021. "
    "RSNA 2019 data, 149,321 test slices."
)


@dataclass(frozen=True)
class Published:
    """Results of one model on the test part, in the order of `labels.CLASSES`.

    Attributes
    ----------
    roc_auc, pr_auc_trapezoid, log_loss, accuracy : tuple of 6 floats
        By class. `accuracy` is as printed.
    mean_log_loss, mean_accuracy : float
        Over the classes, as printed.
    notes : dict
        Number of the note in `NOTES` that a quantity needs, by metric and class.
    """

    roc_auc: tuple[float, ...]
    pr_auc_trapezoid: tuple[float, ...]
    log_loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    mean_log_loss: float
    mean_accuracy: float
    notes: dict[tuple[str, str], int] = field(default_factory=dict)


RESULTS = {
    "ResNet18": Published(
        roc_auc=(0.930, 0.967, 0.975, 0.929, 0.935, 0.949),
        pr_auc_trapezoid=(0.066, 0.756, 0.742, 0.546, 0.653, 0.842),
        log_loss=(0.010, 0.077, 0.062, 0.111, 0.120, 0.176),
        accuracy=(0.930, 0.967, 0.975, 0.929, 0.935, 0.949),
        mean_log_loss=0.090,
        mean_accuracy=0.948,
        notes={("accuracy", "mean"): 1, ("log_loss", "mean"): 6},
    ),
    "DenseNet121": Published(
        roc_auc=(0.961, 0.985, 0.992, 0.968, 0.967, 0.977),
        pr_auc_trapezoid=(0.159, 0.868, 0.902, 0.729, 0.783, 0.917),
        log_loss=(0.016, 0.054, 0.034, 0.081, 0.096, 0.123),
        accuracy=(0.996, 0.981, 0.988, 0.969, 0.964, 0.954),
        mean_log_loss=0.067,
        mean_accuracy=0.975,
    ),
}

PREVALENCE = {  # share of positive slices by part
    "train": (0.004, 0.048, 0.035, 0.047, 0.061, 0.142),
    "validation": (0.004, 0.049, 0.033, 0.049, 0.067, 0.144),
    "test": (0.004, 0.048, 0.037, 0.048, 0.064, 0.146),
}

NOTES = (
    "The accuracies printed for ResNet18 are its ROC AUCs, to the digit, and 94.8% is their mean; its accuracy is not "
    "published. An accuracy of 93.0% for epidural would be below that of always saying no (99.6%).",
    "The published area under the precision-recall curve is the trapezoid's. Average precision, which does not "
    "interpolate, is the sounder figure and is printed beside it; the paper has none.",
    "The released code predicted the test part with batch normalisation in training mode, so that the slices of a "
    "batch influenced each other, and evaluated the last epoch although it meant to keep the best.",
    "The two published models were not trained alike: in the released code ResNet18 saw 15% of its training part, at "
    "256 pixels, with another split and batch size.",
    "The published decision thresholds (0.4, 0.6, 0.7) were set by hand; here they are chosen on the validation part.",
    "0.090 is printed as the average log loss of ResNet18, but its printed log losses by class have the mean 0.093.",
)

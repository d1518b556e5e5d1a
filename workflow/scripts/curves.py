import pandas as pd

from ich.base import jobs
from ich.base.files import read_json, read_parquet
from ich.evaluation.operating import with_wilson
from ich.report.figures.calibration import calibration
from ich.report.figures.curves import precision_recall, roc
from ich.report.figures.frame import save
from ich.report.figures.operating import confusion, operating_points
from ich.report.figures.subgroups import subgroups
from ich.report.figures.training import history

jobs.start(snakemake.log[0])
inputs, outputs = snakemake.input, snakemake.output
curves = read_parquet(inputs.curves)
metrics, points, measured, reliability, table = (
    pd.read_csv(inputs[name]) for name in ("metrics", "operating_points", "calibration", "reliability", "subgroups")
)
mark = {"title": snakemake.wildcards.experiment, "synthetic": snakemake.params.synthetic}
kept = read_json(inputs.facts)["best_epoch"]
drawn = {  # with the input that it shows
    "roc": ("curves", roc(curves, metrics, **mark)),
    "roc_scan": ("curves", roc(curves, metrics, unit="scan", **mark)),
    "precision_recall": ("curves", precision_recall(curves, metrics, **mark)),
    "precision_recall_scan": ("curves", precision_recall(curves, metrics, unit="scan", **mark)),
    "history": ("history", history(pd.read_csv(inputs.history), kept, **mark)),
    "calibration": ("reliability", calibration(reliability, measured, **mark)),
    "operating_points": ("operating_points", operating_points(with_wilson(points), **mark)),
    "confusion": ("operating_points", confusion(points, **mark)),
    "subgroups": ("subgroups", subgroups(table, **mark)),
}
for name, (source, figure) in drawn.items():
    save(figure, outputs[name], outputs[f"{name}_png"], source=inputs[source], code=snakemake.params.code)

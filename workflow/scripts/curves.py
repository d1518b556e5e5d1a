import pandas as pd

from ich import figures, jobs
from ich.files import read_json, read_parquet
from ich.operating import with_wilson

jobs.start(snakemake.log[0])
inputs, outputs = snakemake.input, snakemake.output
curves = read_parquet(inputs.curves)
metrics, points, measured, reliability, table = (
    pd.read_csv(inputs[name]) for name in ("metrics", "operating_points", "calibration", "reliability", "subgroups")
)
mark = {"title": snakemake.wildcards.experiment, "synthetic": snakemake.params.synthetic}
kept = read_json(inputs.facts)["best_epoch"]
drawn = {  # with the input that it shows
    "roc": ("curves", figures.roc(curves, metrics, **mark)),
    "roc_scan": ("curves", figures.roc(curves, metrics, unit="scan", **mark)),
    "precision_recall": ("curves", figures.precision_recall(curves, metrics, **mark)),
    "precision_recall_scan": ("curves", figures.precision_recall(curves, metrics, unit="scan", **mark)),
    "history": ("history", figures.history(pd.read_csv(inputs.history), kept, **mark)),
    "calibration": ("reliability", figures.calibration(reliability, measured, **mark)),
    "operating_points": ("operating_points", figures.operating_points(with_wilson(points), **mark)),
    "confusion": ("operating_points", figures.confusion(points, **mark)),
    "subgroups": ("subgroups", figures.subgroups(table, **mark)),
}
for name, (source, figure) in drawn.items():
    figures.save(figure, outputs[name], outputs[f"{name}_png"], source=inputs[source], code=snakemake.params.code)

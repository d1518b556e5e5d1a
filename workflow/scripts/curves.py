import pandas as pd

from ich import figures, jobs
from ich.files import read_json, read_parquet

jobs.start(snakemake.log[0])
curves = read_parquet(snakemake.input.curves)
metrics = pd.read_csv(snakemake.input.metrics)
mark = {"title": snakemake.wildcards.experiment, "synthetic": snakemake.params.synthetic}
figures.save(figures.roc(curves, metrics, **mark), snakemake.output.roc, snakemake.output.roc_png)
figures.save(figures.precision_recall(curves, metrics, **mark), snakemake.output.pr, snakemake.output.pr_png)
kept = read_json(snakemake.input.facts)["best_epoch"]
history = figures.history(pd.read_csv(snakemake.input.history), kept, **mark)
figures.save(history, snakemake.output.history, snakemake.output.history_png)

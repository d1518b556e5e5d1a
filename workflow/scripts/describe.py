import pandas as pd

from ich import figures, jobs

jobs.start(snakemake.log[0])
counts, synthetic = pd.read_csv(snakemake.input[0]), snakemake.params.synthetic
figures.save(figures.label_counts(counts, synthetic=synthetic), snakemake.output.labels, snakemake.output.labels_png)
figures.save(figures.prevalence(counts, synthetic=synthetic), snakemake.output.parts, snakemake.output.parts_png)

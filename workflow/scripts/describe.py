import pandas as pd

from ich import figures, jobs

jobs.start(snakemake.log[0])
counts, synthetic, output = pd.read_csv(snakemake.input[0]), snakemake.params.synthetic, snakemake.output
origin = {"source": snakemake.input[0], "code": snakemake.params.code}
figures.save(figures.label_counts(counts, synthetic=synthetic), output.labels, output.labels_png, **origin)
figures.save(figures.prevalence(counts, synthetic=synthetic), output.parts, output.parts_png, **origin)

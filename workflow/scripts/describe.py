import pandas as pd

from ich import figures, jobs
from ich.characteristics import characteristics
from ich.files import read_parquet, write_csv

jobs.start(snakemake.log[0])
inputs, output, synthetic = snakemake.input, snakemake.output, snakemake.params.synthetic
counts = pd.read_csv(inputs.counts)
described = characteristics(read_parquet(inputs.cohort), read_parquet(inputs.slices))
write_csv(described, output.characteristics)
origin = {"source": inputs.counts, "code": snakemake.params.code}
figures.save(figures.label_counts(counts, synthetic=synthetic), output.labels, output.labels_png, **origin)
figures.save(figures.prevalence(counts, synthetic=synthetic), output.parts, output.parts_png, **origin)

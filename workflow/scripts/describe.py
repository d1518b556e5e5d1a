import pandas as pd

from ich.base import jobs
from ich.base.files import read_parquet, write_csv
from ich.cohort.characteristics import characteristics
from ich.report.figures.cohort import label_counts, prevalence
from ich.report.figures.frame import save

jobs.start(snakemake.log[0])
inputs, output, synthetic = snakemake.input, snakemake.output, snakemake.params.synthetic
counts = pd.read_csv(inputs.counts)
described = characteristics(read_parquet(inputs.cohort), read_parquet(inputs.slices))
write_csv(described, output.characteristics)
origin = {"source": inputs.counts, "code": snakemake.params.code}
save(label_counts(counts, synthetic=synthetic), output.labels, output.labels_png, **origin)
save(prevalence(counts, synthetic=synthetic), output.parts, output.parts_png, **origin)

import pandas as pd

from ich import figures, jobs
from ich.files import read_parquet, write_csv
from ich.pairs import pairs

jobs.start(snakemake.log[0])
names = snakemake.params.experiments
table = pairs(
    read_parquet(snakemake.input.cohort),
    {name: read_parquet(path) for name, path in zip(names, snakemake.input.predictions, strict=True)},
    {name: pd.read_csv(path) for name, path in zip(names, snakemake.input.operating_points, strict=True)},
    **snakemake.params.settings,
)
write_csv(table, snakemake.output.pairs)
figures.save(
    figures.differences(table, synthetic=snakemake.params.synthetic),
    snakemake.output.svg,
    snakemake.output.png,
    source=snakemake.output.pairs,
    code=snakemake.params.code,
)

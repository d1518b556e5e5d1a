import pandas as pd

from ich.base import jobs
from ich.base.files import read_parquet, write_csv
from ich.evaluation.pairs import pairs
from ich.report.figures.comparison import differences
from ich.report.figures.frame import save

jobs.start(snakemake.log[0])
names = snakemake.params.experiments
table = pairs(
    read_parquet(snakemake.input.cohort),
    {name: read_parquet(path) for name, path in zip(names, snakemake.input.predictions, strict=True)},
    {name: pd.read_csv(path) for name, path in zip(names, snakemake.input.operating_points, strict=True)},
    **snakemake.params.settings,
)
write_csv(table, snakemake.output.pairs)
save(
    differences(table, synthetic=snakemake.params.synthetic),
    snakemake.output.svg,
    snakemake.output.png,
    source=snakemake.output.pairs,
    code=snakemake.params.code,
)

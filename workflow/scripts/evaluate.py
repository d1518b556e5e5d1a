from ich import jobs
from ich.cache import Cache
from ich.evaluation import CURVES_SCHEMA, evaluate
from ich.files import read_parquet, write_csv, write_parquet

jobs.start(snakemake.log[0])
metrics, curves = evaluate(
    read_parquet(snakemake.input.cohort),
    {part: read_parquet(path) for part, path in zip(snakemake.params.parts, snakemake.input.predictions, strict=True)},
    quarantined=Cache(snakemake.input.images).failed,
    **snakemake.params.settings,
)
write_csv(metrics, snakemake.output.metrics)
write_parquet(curves, snakemake.output.curves, CURVES_SCHEMA)

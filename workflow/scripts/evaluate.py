from ich.base import jobs
from ich.base.files import read_parquet, write_csv, write_parquet
from ich.cohort.series import HEADERS
from ich.evaluation.calibration import calibration
from ich.evaluation.evaluate import CURVES_SCHEMA, evaluate
from ich.evaluation.operating import operating_points
from ich.evaluation.subgroups import subgroups
from ich.evaluation.units import samples
from ich.images.cache import Cache

jobs.start(snakemake.log[0])
params, rule = snakemake.params, {"threshold": snakemake.params.threshold}
judged = samples(
    read_parquet(snakemake.input.cohort),
    {part: read_parquet(path) for part, path in zip(params.parts, snakemake.input.predictions, strict=True)},
    quarantined=Cache(snakemake.input.images).failed,
    **params.settings,
)
metrics, curves = evaluate(judged, **rule)
write_csv(metrics, snakemake.output.metrics)
write_parquet(curves, snakemake.output.curves, CURVES_SCHEMA)
points = operating_points(judged, **rule, prevalence=params.prevalence)
write_csv(points, snakemake.output.operating_points)
measured, reliability = calibration(judged)
write_csv(measured, snakemake.output.calibration)
write_csv(reliability, snakemake.output.reliability)
headers = read_parquet(snakemake.input.slices)[HEADERS]
write_csv(subgroups(judged, headers, **rule), snakemake.output.subgroups)

import pandas as pd

from ich.base import jobs
from ich.base.files import read_parquet, write_csv, write_json, write_parquet
from ich.cohort.cohort import COHORT_SCHEMA, build_cohort, counts

jobs.start(snakemake.log[0])
slices = read_parquet(snakemake.input.slices)
labels = read_parquet(snakemake.input.labels)
quarantined = pd.read_csv(snakemake.input.quarantine, dtype=str, keep_default_na=False)["image_id"]
cohort, quarantine, flow = build_cohort(slices, labels, quarantined=quarantined, **snakemake.params.split)
write_parquet(cohort, snakemake.output.cohort, COHORT_SCHEMA)
write_csv(counts(cohort), snakemake.output.counts)
write_json(flow, snakemake.output.flow)
write_csv(quarantine, snakemake.output.quarantine)

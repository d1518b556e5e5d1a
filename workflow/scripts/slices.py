import logging

import pandas as pd

from ich.base import jobs
from ich.base.files import read_parquet, write_csv, write_parquet
from ich.cohort.slices import SLICES_SCHEMA, build_manifest

jobs.start(snakemake.log[0])
headers = pd.concat([read_parquet(path) for path in snakemake.input], ignore_index=True)
slices, quarantine = build_manifest(headers, snakemake.params.shards)
logging.info("%d slices, %d in quarantine", len(slices), len(quarantine))
write_parquet(slices, snakemake.output.slices, SLICES_SCHEMA)
write_csv(quarantine, snakemake.output.quarantine)

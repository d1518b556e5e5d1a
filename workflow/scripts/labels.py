import logging

from ich.base import jobs
from ich.base.files import write_parquet
from ich.cohort.labels import LABELS_SCHEMA, read_labels

jobs.start(snakemake.log[0])
labels, counts = read_labels(snakemake.input[0])
logging.info("%s", ", ".join(f"{name}: {count}" for name, count in counts.items()))
write_parquet(labels, snakemake.output[0], LABELS_SCHEMA)

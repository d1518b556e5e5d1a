import logging

from ich import jobs
from ich.files import write_parquet
from ich.labels import LABELS_SCHEMA, read_labels

jobs.start(snakemake.log[0])
labels, counts = read_labels(snakemake.input[0])
logging.info("%s", ", ".join(f"{name}: {count}" for name, count in counts.items()))
write_parquet(labels, snakemake.output[0], LABELS_SCHEMA)

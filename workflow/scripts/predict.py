from ich import jobs
from ich.cache import Cache
from ich.data import reading_threads
from ich.files import read_json, read_parquet, write_parquet
from ich.prediction import PREDICTIONS_SCHEMA, predict

jobs.start(snakemake.log[0])
predictions = predict(
    read_parquet(snakemake.input.cohort, part=snakemake.wildcards.part),
    Cache(snakemake.input.images),
    snakemake.input.weights,
    read_json(snakemake.input.facts),
    readers=reading_threads(snakemake.threads),
    threads=snakemake.threads,
)
write_parquet(predictions, snakemake.output[0], PREDICTIONS_SCHEMA)

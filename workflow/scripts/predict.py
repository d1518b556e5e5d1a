from ich.base import jobs
from ich.base.files import read_json, read_parquet, write_parquet
from ich.images.cache import Cache
from ich.prediction.predict import PREDICTIONS_SCHEMA, predict
from ich.training.data import reading_threads

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

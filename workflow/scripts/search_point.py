from ich import jobs
from ich.cache import Cache
from ich.data import readers
from ich.files import read_parquet, write_csv, write_json
from ich.search import subset, summary
from ich.training import train

jobs.start(snakemake.log[0])
cache = Cache(snakemake.input.images)
cache.verify()
trained = train(
    subset(read_parquet(snakemake.input.cohort), **snakemake.params.patients),
    cache,
    weights=snakemake.input.weights or None,
    workers=readers(snakemake.threads),
    threads=snakemake.threads,
    **snakemake.params.settings,
)
write_csv(trained.history, snakemake.output.history)
write_json(summary(trained.history, trained.best_epoch, trained.seconds), snakemake.output.summary)

from ich.base import jobs
from ich.base.files import read_parquet, write_csv, write_json
from ich.images.cache import Cache
from ich.training.data import nearby, reading_threads
from ich.training.loop import train
from ich.training.outcome import fingerprint
from ich.training.resume import Resume
from ich.training.search import subset, summary

jobs.start(snakemake.log[0])
settings = snakemake.params.settings | {"weights": snakemake.input.weights or None}
cohort = subset(read_parquet(snakemake.input.cohort), **snakemake.params.patients)
with nearby(Cache(snakemake.input.images), snakemake.resources.cache_copy) as cache:
    name = fingerprint(cohort, cache, **settings, code=snakemake.params.code)
    with Resume(snakemake.params.resume, name, settings) as resume:
        trained = train(
            cohort,
            cache,
            **settings,
            readers=reading_threads(snakemake.threads),
            threads=snakemake.threads,
            resume=resume,
            checkpoint_minutes=snakemake.resources.checkpoint_minutes,
        )
        write_csv(trained.history, snakemake.output.history)
        write_json(summary(trained.history, trained.best_epoch, trained.seconds), snakemake.output.summary)
        resume.discard()

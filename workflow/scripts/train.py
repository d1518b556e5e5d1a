from ich import jobs
from ich.cache import Cache
from ich.data import readers
from ich.files import read_json, read_parquet
from ich.settings import merged
from ich.training import save_model, train

jobs.start(snakemake.log[0])
cache = Cache(snakemake.input.images)
cache.verify()
settings = merged(snakemake.params.settings, read_json(snakemake.input.chosen) if snakemake.input.chosen else {})
trained = train(
    read_parquet(snakemake.input.cohort),
    cache,
    weights=snakemake.input.weights or None,
    workers=readers(snakemake.threads),
    threads=snakemake.threads,
    **settings,
)
save_model(
    trained,
    weights=snakemake.output.weights,
    history=snakemake.output.history,
    facts=snakemake.output.facts,
    code=snakemake.params.code,
)

from ich import jobs
from ich.cache import Cache
from ich.files import read_parquet
from ich.training import save_model, train

jobs.start(snakemake.log[0])
cache = Cache(snakemake.input.images)
cache.verify()
trained = train(
    read_parquet(snakemake.input.cohort),
    cache,
    weights=snakemake.input.weights or None,
    workers=snakemake.threads - 1,
    threads=snakemake.threads,
    **snakemake.params.settings,
)
save_model(
    trained,
    weights=snakemake.output.weights,
    history=snakemake.output.history,
    facts=snakemake.output.facts,
    settings=snakemake.params.settings,
    initial_weights=snakemake.params.initial_weights,
    code=snakemake.params.code,
)

from contextlib import nullcontext

from ich.base import jobs
from ich.base.files import read_json, read_parquet
from ich.base.settings import merged
from ich.base.version import version
from ich.images.cache import Cache
from ich.training.data import nearby, reading_threads
from ich.training.distributed import join, launch
from ich.training.loop import train
from ich.training.outcome import fingerprint, save_model
from ich.training.resume import Resume

jobs.start(snakemake.log[0])
settings = merged(snakemake.params.settings, read_json(snakemake.input.chosen) if snakemake.input.chosen else {})
launch(settings.pop("gpus"), nodes=snakemake.resources.get("nodes", 1))
with join() as world:
    cohort = read_parquet(snakemake.input.cohort)
    settings["weights"] = snakemake.input.weights or None
    threads = max(1, snakemake.threads // world.size)
    with nearby(Cache(snakemake.input.images), snakemake.resources.cache_copy, world) as cache:
        name = fingerprint(cohort, cache, **settings, processes=world.size, code=snakemake.params.code)
        with Resume(snakemake.params.resume, name, settings) if world.rank == 0 else nullcontext() as resume:
            trained = train(
                cohort,
                cache,
                **settings,
                readers=reading_threads(threads),
                threads=threads,
                world=world,
                resume=resume,
                checkpoint_minutes=snakemake.resources.checkpoint_minutes,
                events=snakemake.params.events,
            )
            if resume:
                save_model(
                    trained,
                    weights=snakemake.output.weights,
                    history=snakemake.output.history,
                    facts=snakemake.output.facts,
                    version=version(),
                    code=snakemake.params.code,
                )
                resume.discard()

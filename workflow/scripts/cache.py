import logging

import torch

from ich import jobs
from ich.cache import build_shard
from ich.files import read_parquet

jobs.start(snakemake.log[0])
torch.set_num_threads(snakemake.threads)
mine = read_parquet(snakemake.input[0], shard=int(snakemake.wildcards.shard))
logging.info("%d slices", len(mine))
build_shard(
    mine,
    snakemake.params.windows,
    snakemake.params.size,
    snakemake.output.images,
    snakemake.output.sidecar,
)

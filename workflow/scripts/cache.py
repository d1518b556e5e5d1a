import logging

import torch

from ich.base import jobs
from ich.base.files import read_parquet
from ich.images.cache import build_shard

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

from ich.base import jobs
from ich.models.pretrained import download

jobs.start(snakemake.log[0])
download(snakemake.wildcards.model, snakemake.params.address, snakemake.output[0])

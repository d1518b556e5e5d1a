from ich import jobs
from ich.files import write_csv
from ich.resources import resources

jobs.start(snakemake.log[0])
write_csv(resources(snakemake.params.patterns, snakemake.params.names), snakemake.output[0])

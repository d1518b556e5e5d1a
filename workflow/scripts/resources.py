from ich.base import jobs
from ich.base.files import write_csv
from ich.report.resources import resources

jobs.start(snakemake.log[0])
write_csv(resources(snakemake.params.patterns, snakemake.params.names), snakemake.output[0])

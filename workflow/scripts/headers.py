from ich.base import jobs
from ich.base.files import count_rows, read_rows, write_parquet
from ich.dicom.headers import HEADER_SCHEMA, header_rows
from ich.dicom.sources import shard_rows

jobs.start(snakemake.log[0])
mine = shard_rows(count_rows(snakemake.input[0]), int(snakemake.wildcards.shard), snakemake.params.shards)
files = read_rows(snakemake.input[0], mine)
write_parquet(header_rows(files), snakemake.output[0], HEADER_SCHEMA)

from ich import jobs
from ich.dicom import HEADER_SCHEMA, header_rows, shard_rows
from ich.files import read_parquet, write_parquet

jobs.start(snakemake.log[0])
files = read_parquet(snakemake.input[0])
mine = shard_rows(len(files), int(snakemake.wildcards.shard), snakemake.params.shards)
write_parquet(header_rows(files.iloc[mine]), snakemake.output[0], HEADER_SCHEMA)

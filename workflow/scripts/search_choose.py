from ich import figures, jobs
from ich.files import read_json, write_csv, write_json
from ich.search import table
from ich.settings import nested

jobs.start(snakemake.log[0])
points = snakemake.params.points
measured = dict(zip(points, map(read_json, snakemake.input), strict=True))
results = table(points, measured)
write_csv(results, snakemake.output.points)
write_json(nested(points[results.loc[results["chosen"], "point"].item()]), snakemake.output.chosen)
figure = figures.search(
    results, snakemake.params.grid, title=snakemake.wildcards.search, synthetic=snakemake.params.synthetic
)
figures.save(
    figure, snakemake.output.svg, snakemake.output.png, source=snakemake.output.points, code=snakemake.params.code
)

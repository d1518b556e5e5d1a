# Detection of intracranial haemorrhage in head CT: from label file and DICOM slices to model comparison.
# Each included file is one stage; docs/reruns.md says what a change reruns.

from snakemake.utils import min_version

min_version("9.14")


configfile: "config.yaml"


include: "workflow/rules/common.smk"


pathvars:
    results=CONFIG.results,
    logs=f"{CONFIG.results}/logs",
    benchmarks=f"{CONFIG.results}/benchmarks",


# Only for --software-deployment-method apptainer; docs/cluster.md says how to build it.
container: "envs/ich.sif"


report: "workflow/report/workflow.rst"


include: "workflow/rules/ingest.smk"
include: "workflow/rules/cache.smk"
include: "workflow/rules/search.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/report.smk"


# Every artifact is a target, so that a missing one is noticed even if everything downstream is up to date.
rule all:
    default_target: True
    input:
        rules.inventory.output,
        rules.labels.output,
        rules.slices.output,
        rules.cohort.output,
        rules.quarantine.output,
        expand(rules.headers.output, shard=SHARDS),
        expand(rules.cache.output, cache=CONFIG.used_caches(), shard=SHARDS),
        [expand(rules.search_point.output, search=search, point=point) for search, point in POINTS],
        expand(rules.search_choose.output, search=SEARCHES),
        expand(rules.train.output, experiment=CONFIG.experiments),
        expand(rules.predict.output, experiment=CONFIG.experiments, part=PARTS),
        expand(rules.evaluate.output, experiment=CONFIG.experiments),
        expand(rules.curves.output, experiment=CONFIG.experiments),
        expand(rules.cases.output, experiment=CONFIG.experiments),
        expand(rules.card.output, experiment=CONFIG.experiments),
        rules.describe.output,
        rules.montage.output,
        rules.compare.output,
        rules.pairs.output,
        rules.resources.output,
        rules.report.output,
    localrule: True


onstart:
    logger.info(f"{len(CONFIG.experiments)} experiments: {', '.join(CONFIG.experiments)}. Data: {CONFIG.data.root}.")


onsuccess:
    logger.info(f"Comparison table: {CONFIG.results}/comparison/table.md\nReport: {CONFIG.results}/report/index.html")


onerror:
    logger.error(f"A job failed. Its own words are in {CONFIG.results}/logs; finished work is kept.")

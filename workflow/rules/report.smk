# Figures of the cohort, the resources that jobs used, and the HTML report.

from snakemake.io import strip_wildcard_constraints


rule describe:
    input:
        counts="<results>/data/cohort.csv",
        cohort="<results>/data/cohort.parquet",
        slices="<results>/data/slices.parquet",
    output:
        characteristics=report(
            "<results>/data/characteristics.csv",
            caption="../report/characteristics.rst",
            category="Cohort",
            labels={"table": "characteristics by part"},
        ),
        labels=figure("<results>/data/figures/label_counts.svg", "Cohort", "label counts"),
        labels_png="<results>/data/figures/label_counts.png",
        parts=figure("<results>/data/figures/prevalence.svg", "Cohort", "prevalence by part"),
        parts_png="<results>/data/figures/prevalence.png",
    log:
        "<logs>/describe.log",
    benchmark:
        "<benchmarks>/describe.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        synthetic=SYNTHETIC,
        code=code("describe"),
    script:
        "../scripts/describe.py"


rule montage:
    input:
        unpack(lambda _: cache_shards(CONFIG.used_caches()[0])),
        cohort="<results>/data/cohort.parquet",
    output:
        figure("<results>/data/figures/montage.png", "Cohort", "slices as the models see them"),
    log:
        "<logs>/montage.log",
    benchmark:
        "<benchmarks>/montage.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        synthetic=SYNTHETIC,
        code=code("montage"),
    script:
        "../scripts/montage.py"


# Measured times must not affect other artifacts: the benchmark files are not inputs, so a missing one reruns nothing.
# The last output of every branch of the graph is an input, so that the table is made once all of them exist.
rule resources:
    input:
        rules.compare.output.csv,
        rules.quarantine.output,
        rules.describe.output.labels,
        rules.montage.output,
        expand(rules.curves.output.history, experiment=CONFIG.experiments),
        expand(rules.cases.output.series, experiment=CONFIG.experiments),
        expand(rules.card.output, experiment=CONFIG.experiments),
        expand(rules.search_choose.output.points, search=SEARCHES),
    output:
        "<results>/report/resources.csv",
    log:
        "<logs>/resources.log",
    benchmark:
        "<benchmarks>/resources.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        patterns=lambda _: {
            rule.name: strip_wildcard_constraints(rule.benchmark)
            for rule in workflow.rules
            if rule.benchmark and rule.name not in ("resources", "report", "crate")
        },
        names=dict(
            cache=CONFIG.used_caches(),
            experiment=list(CONFIG.experiments),
            point=[point for _, point in POINTS],
            search=list(SEARCHES),
            shard=SHARDS,
        ),
        code=code("resources"),
    script:
        "../scripts/resources.py"


rule report:
    input:
        table="<results>/comparison/table.html",
        verdict="<results>/comparison/verdict.txt",
        classes="<results>/comparison/classes.csv",
        counts="<results>/data/cohort.csv",
        characteristics="<results>/data/characteristics.csv",
        flow="<results>/data/flow.json",
        quarantine="<results>/data/quarantine.csv",
        resources="<results>/report/resources.csv",
        search=expand("<results>/search/{search}/{name}", search=SEARCHES, name=["points.csv", "search.svg"]),
        facts=expand("<results>/models/{experiment}/model.json", experiment=CONFIG.experiments),
        cohort=expand("<results>/data/figures/{name}", name=["montage.png", "label_counts.svg", "prevalence.svg"]),
        evaluations=expand(
            "<results>/evaluation/{experiment}/{table}.csv",
            experiment=CONFIG.experiments,
            table=["metrics", "operating_points", "calibration", "subgroups"],
        ),
        pairs="<results>/comparison/pairs.csv",
        results=["<results>/comparison/metrics.svg", *evaluation_figures(["roc", "precision_recall"])],
        scans=evaluation_figures(["roc_scan", "precision_recall_scan"]),
        differences=["<results>/comparison/differences.svg"],
        operating_points=evaluation_figures(["operating_points", "confusion"]),
        calibration=evaluation_figures(["calibration"]),
        subgroups=evaluation_figures(["subgroups"]),
        case_folders=expand("<results>/evaluation/{experiment}/cases", experiment=CONFIG.experiments),
        cases=evaluation_figures(["series"]),
        training=evaluation_figures(["history"]),
    output:
        "<results>/report/index.html",
    log:
        "<logs>/report.log",
    benchmark:
        "<benchmarks>/report.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        experiments=list(CONFIG.experiments),
        searches=list(SEARCHES),
        sections=[
            "cohort",
            "results",
            "scans",
            "differences",
            "operating_points",
            "calibration",
            "subgroups",
            "cases",
            "training",
        ],
        hash_ids=CONFIG.report.hash_ids,
        configuration=canonical(CONFIG),
        synthetic=SYNTHETIC,
        code=code("report"),
    script:
        "../scripts/report.py"


# Not a target of `all`: the archive names the commit and the times of the run, which are not results. The HTML report
# is left out, because it shows slices.
rule crate:
    input:
        labels=CONFIG.data.labels_path,
        inventory="<results>/data/inventory.parquet",
        results=[
            *expand("<results>/data/{name}", name=["cohort.csv", "characteristics.csv", "flow.json"]),
            *expand(rules.train.output, experiment=CONFIG.experiments),
            *expand(rules.card.output, experiment=CONFIG.experiments),
            *expand(rules.evaluate.output, experiment=CONFIG.experiments),
            *expand(rules.curves.output, experiment=CONFIG.experiments),
            *rules.compare.output,
            *rules.pairs.output,
            *expand(rules.search_choose.output, search=SEARCHES),
            *rules.resources.output,
        ],
    output:
        "<results>/crate.zip",
    log:
        "<logs>/crate.log",
    benchmark:
        "<benchmarks>/crate.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        run=dict(
            results=CONFIG.results,
            configuration=canonical(CONFIG),
            synthetic=SYNTHETIC,
        ),
        benchmarks=f"{CONFIG.results}/benchmarks",
        code=code("crate"),
    script:
        "../scripts/crate.py"

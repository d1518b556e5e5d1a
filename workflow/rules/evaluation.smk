# From predictions to metrics with intervals, and to the comparison of the experiments.


rule evaluate:
    input:
        unpack(experiment_cache),
        cohort="<results>/data/cohort.parquet",
        predictions=expand("<results>/predictions/{{experiment}}/{part}.parquet", part=PARTS),
    output:
        metrics="<results>/evaluation/{experiment}/metrics.csv",
        curves="<results>/evaluation/{experiment}/curves.parquet",
    log:
        "<logs>/evaluate/{experiment}.log",
    benchmark:
        "<benchmarks>/evaluate/{experiment}.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=6000,
        runtime=60,
    params:
        settings=canonical(CONFIG.evaluation),
        parts=PARTS,
        code=code("evaluate"),
    script:
        "../scripts/evaluate.py"


rule compare:
    input:
        metrics=expand("<results>/evaluation/{experiment}/metrics.csv", experiment=CONFIG.experiments),
        facts=expand("<results>/models/{experiment}/model.json", experiment=CONFIG.experiments),
    output:
        csv="<results>/comparison/table.csv",
    log:
        "<logs>/compare.log",
    benchmark:
        "<benchmarks>/compare.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        experiments=list(CONFIG.experiments),
        synthetic=SYNTHETIC,
        code=code("compare"),
    script:
        "../scripts/compare.py"

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
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=canonical(CONFIG.evaluation),
        parts=PARTS,
        code=code("evaluate"),
    script:
        "../scripts/evaluate.py"


rule curves:
    input:
        metrics="<results>/evaluation/{experiment}/metrics.csv",
        curves="<results>/evaluation/{experiment}/curves.parquet",
        history="<results>/models/{experiment}/history.csv",
        facts="<results>/models/{experiment}/model.json",
    output:
        roc=figure("<results>/evaluation/{experiment}/roc.svg", "Curves", "ROC"),
        roc_png="<results>/evaluation/{experiment}/roc.png",
        pr=figure("<results>/evaluation/{experiment}/precision_recall.svg", "Curves", "precision and recall"),
        pr_png="<results>/evaluation/{experiment}/precision_recall.png",
        history=figure("<results>/evaluation/{experiment}/history.svg", "Training", "loss and ROC AUC by epoch"),
        history_png="<results>/evaluation/{experiment}/history.png",
    log:
        "<logs>/curves/{experiment}.log",
    benchmark:
        "<benchmarks>/curves/{experiment}.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        synthetic=SYNTHETIC,
        code=code("curves"),
    script:
        "../scripts/curves.py"


rule compare:
    input:
        metrics=expand("<results>/evaluation/{experiment}/metrics.csv", experiment=CONFIG.experiments),
        facts=expand("<results>/models/{experiment}/model.json", experiment=CONFIG.experiments),
        counts="<results>/data/cohort.csv",
    output:
        csv="<results>/comparison/table.csv",
        md="<results>/comparison/table.md",
        html=report(
            "<results>/comparison/table.html",
            caption="../report/table.rst",
            category="Comparison",
            labels={"table": "experiments, baselines and the paper"},
        ),
        tex="<results>/comparison/table.tex",
        classes=report(
            "<results>/comparison/classes.csv",
            caption="../report/classes.rst",
            category="Comparison",
            labels={"table": "every metric of every class"},
        ),
        verdict="<results>/comparison/verdict.txt",
        svg=figure("<results>/comparison/metrics.svg", "Comparison", "accuracy and log loss"),
        png="<results>/comparison/metrics.png",
    log:
        "<logs>/compare.log",
    benchmark:
        "<benchmarks>/compare.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        members=CONFIG.members(),
        synthetic=SYNTHETIC,
        confidence=CONFIG.evaluation.confidence,
        code=code("compare"),
    script:
        "../scripts/compare.py"

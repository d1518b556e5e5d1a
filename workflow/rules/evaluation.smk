# From predictions to metrics with intervals and the comparison of the experiments.

# How slices are combined into scans and how replicates are drawn: the same for all experiments, for paired tests.
SAMPLING = {key: canonical(CONFIG.evaluation)[key] for key in ("confidence", "replicates", "scan", "seed")}
# For an experiment with several seeds, its first training is compared; the table has the SD over seeds.
PAIRED = [trained[0] for trained in CONFIG.members().values()]


rule evaluate:
    input:
        unpack(experiment_cache),
        cohort="<results>/data/cohort.parquet",
        slices="<results>/data/slices.parquet",
        predictions=expand("<results>/predictions/{{experiment}}/{part}.parquet", part=PARTS),
    output:
        metrics="<results>/evaluation/{experiment}/metrics.csv",
        curves="<results>/evaluation/{experiment}/curves.parquet",
        operating_points="<results>/evaluation/{experiment}/operating_points.csv",
        calibration="<results>/evaluation/{experiment}/calibration.csv",
        reliability="<results>/evaluation/{experiment}/reliability.csv",
        subgroups="<results>/evaluation/{experiment}/subgroups.csv",
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
        settings=SAMPLING,
        threshold=CONFIG.evaluation.threshold,
        prevalence=CONFIG.evaluation.prevalence,
        parts=PARTS,
        code=code("evaluate"),
    script:
        "../scripts/evaluate.py"


rule curves:
    input:
        metrics="<results>/evaluation/{experiment}/metrics.csv",
        curves="<results>/evaluation/{experiment}/curves.parquet",
        operating_points="<results>/evaluation/{experiment}/operating_points.csv",
        calibration="<results>/evaluation/{experiment}/calibration.csv",
        reliability="<results>/evaluation/{experiment}/reliability.csv",
        subgroups="<results>/evaluation/{experiment}/subgroups.csv",
        history="<results>/models/{experiment}/history.csv",
        facts="<results>/models/{experiment}/model.json",
    output:
        roc=figure("<results>/evaluation/{experiment}/roc.svg", "Curves", "ROC"),
        roc_png="<results>/evaluation/{experiment}/roc.png",
        roc_scan=figure("<results>/evaluation/{experiment}/roc_scan.svg", "Curves", "ROC of scans"),
        roc_scan_png="<results>/evaluation/{experiment}/roc_scan.png",
        precision_recall=figure(
            "<results>/evaluation/{experiment}/precision_recall.svg", "Curves", "precision and recall"
        ),
        precision_recall_png="<results>/evaluation/{experiment}/precision_recall.png",
        precision_recall_scan=figure(
            "<results>/evaluation/{experiment}/precision_recall_scan.svg", "Curves", "precision and recall of scans"
        ),
        precision_recall_scan_png="<results>/evaluation/{experiment}/precision_recall_scan.png",
        history=figure("<results>/evaluation/{experiment}/history.svg", "Training", "loss and ROC AUC by epoch"),
        history_png="<results>/evaluation/{experiment}/history.png",
        calibration=figure("<results>/evaluation/{experiment}/calibration.svg", "Calibration", "reliability"),
        calibration_png="<results>/evaluation/{experiment}/calibration.png",
        operating_points=figure(
            "<results>/evaluation/{experiment}/operating_points.svg", "Operating points", "rates at each threshold"
        ),
        operating_points_png="<results>/evaluation/{experiment}/operating_points.png",
        confusion=figure("<results>/evaluation/{experiment}/confusion.svg", "Operating points", "confusion matrices"),
        confusion_png="<results>/evaluation/{experiment}/confusion.png",
        subgroups=figure("<results>/evaluation/{experiment}/subgroups.svg", "Subgroups", "ROC AUC by subgroup"),
        subgroups_png="<results>/evaluation/{experiment}/subgroups.png",
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


rule cases:
    input:
        unpack(experiment_cache),
        cohort="<results>/data/cohort.parquet",
        slices="<results>/data/slices.parquet",
        predictions="<results>/predictions/{experiment}/test.parquet",
        points="<results>/evaluation/{experiment}/operating_points.csv",
        weights="<results>/models/{experiment}/weights.safetensors",
        facts="<results>/models/{experiment}/model.json",
    output:
        folder=directory("<results>/evaluation/{experiment}/cases"),
        series=figure("<results>/evaluation/{experiment}/series.svg", "Cases", "probabilities along a scan"),
        series_png="<results>/evaluation/{experiment}/series.png",
    log:
        "<logs>/cases/{experiment}.log",
    benchmark:
        "<benchmarks>/cases/{experiment}.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        number=CONFIG.evaluation.cases,
        synthetic=SYNTHETIC,
        code=code("cases"),
    script:
        "../scripts/cases.py"


rule card:
    input:
        facts="<results>/models/{experiment}/model.json",
        weights="<results>/models/{experiment}/weights.safetensors",
        counts="<results>/data/cohort.csv",
        metrics="<results>/evaluation/{experiment}/metrics.csv",
        points="<results>/evaluation/{experiment}/operating_points.csv",
        calibration="<results>/evaluation/{experiment}/calibration.csv",
    output:
        "<results>/models/{experiment}/README.md",
    log:
        "<logs>/card/{experiment}.log",
    benchmark:
        "<benchmarks>/card/{experiment}.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        settings={key: canonical(CONFIG.evaluation)[key] for key in ("scan", "threshold", "confidence")},
        synthetic=SYNTHETIC,
        code=code("card"),
    script:
        "../scripts/card.py"


rule pairs:
    input:
        cohort="<results>/data/cohort.parquet",
        predictions=expand("<results>/predictions/{experiment}/test.parquet", experiment=PAIRED),
        operating_points=expand("<results>/evaluation/{experiment}/operating_points.csv", experiment=PAIRED),
    output:
        pairs=report(
            "<results>/comparison/pairs.csv",
            caption="../report/pairs.rst",
            category="Comparison",
            labels={"table": "differences and their tests"},
        ),
        svg=figure("<results>/comparison/differences.svg", "Comparison", "paired differences"),
        png="<results>/comparison/differences.png",
    log:
        "<logs>/pairs.log",
    benchmark:
        "<benchmarks>/pairs.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        experiments=PAIRED,
        settings=SAMPLING,
        synthetic=SYNTHETIC,
        code=code("pairs"),
    script:
        "../scripts/pairs.py"


rule compare:
    input:
        metrics=expand("<results>/evaluation/{experiment}/metrics.csv", experiment=CONFIG.experiments),
        facts=expand("<results>/models/{experiment}/model.json", experiment=CONFIG.experiments),
        counts="<results>/data/cohort.csv",
        pairs="<results>/comparison/pairs.csv",
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

# Grid search: each grid point is one job on a subset of the patients; trainings that ask for it use the best values.


rule search_point:
    input:
        unpack(search_cache),
        cohort="<results>/data/cohort.parquet",
        weights=lambda wildcards: weights_of(SEARCHES[wildcards.search]),
    output:
        history="<results>/search/{search}/{point}/history.csv",
        summary="<results>/search/{search}/{point}/summary.json",
    log:
        "<logs>/search_point/{search}/{point}.log",
    benchmark:
        "<benchmarks>/search_point/{search}/{point}.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        mem_mb=32000,
        runtime=1440,
        gpu=1,
        checkpoint_minutes=10,
        cache_copy="",  # as in the rule train
    params:
        resume=lambda wildcards: f"{CONFIG.results}/resume/search/{wildcards.search}/{wildcards.point}",
        settings=lambda wildcards: SEARCHES[wildcards.search].point_settings(wildcards.point),
        patients=search_patients,
        code=code("search_point"),
    script:
        "../scripts/search_point.py"


rule search_choose:
    input:
        lambda wildcards: expand(
            "<results>/search/{{search}}/{point}/summary.json", point=SEARCHES[wildcards.search].points()
        ),
    output:
        points="<results>/search/{search}/points.csv",
        chosen="<results>/search/{search}/chosen.json",
        svg=figure("<results>/search/{search}/search.svg", "Search", "ROC AUC on validation by point"),
        png="<results>/search/{search}/search.png",
    log:
        "<logs>/search_choose/{search}.log",
    benchmark:
        "<benchmarks>/search_choose/{search}.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        points=lambda wildcards: SEARCHES[wildcards.search].points(),
        grid=lambda wildcards: list(SEARCHES[wildcards.search].grid()),
        synthetic=SYNTHETIC,
        code=code("search_choose"),
    script:
        "../scripts/search_choose.py"


# Only the searches, to review them before training with their values.
rule search:
    input:
        expand(rules.search_choose.output, search=SEARCHES),
    localrule: True

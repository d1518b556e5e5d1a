rule report:
    input:
        "<results>/comparison/table.csv",
    output:
        "<results>/report/index.html",
    log:
        "<logs>/report.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        code=code("report"),
    script:
        "../scripts/report.py"

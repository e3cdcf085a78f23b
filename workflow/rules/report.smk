"""One HTML file that shows everything."""


rule report:
    input:
        run=results.run_file("report"),
        cohort=[results.cohort, results.exclusions, results.flow],
        volumes=[results.index, results.grid],
        models=expand(rules.train.output, method=settings.methods, fold=folds),
        probes=rules.probe.output,
        tables=rules.tables.output,
        representations=expand(rules.embed.output, method=settings.methods),
        vbm=rules.vbm.output,
        leakage=rules.leakage.output,
        maps=expand(results.saliency("{method}"), method=settings.methods),
        patterns=expand(results.patterns("{method}"), method=two_spaces),
        subtypes=expand(results.subtypes("{method}"), method=with_subtypes),
    output:
        report(results.report, caption="../report/report.rst", category="Report"),
        directory(results.figures),
        results.maps_page,
        results.checklist,
        results.bibliography,
    log:
        results.log("report"),
    benchmark:
        results.benchmark("report")
    conda:
        environment
    threads: 2
    resources:
        mem_mb=needs.memory("report"),
        runtime=needs.minutes("report"),
    shell:
        "logged {log:q} sepclr-neuro report {input.run:q}"

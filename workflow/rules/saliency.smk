"""Maps and subtypes of each method, a folder a method, and the t-maps of a voxel-wise linear model."""


rule vbm:
    input:
        run=results.run_file("vbm"),
        cohort=results.cohort,
        index=results.index,
        grid=results.grid,
        splits=results.splits,
        standardisation=expand(rules.standardise.output, fold=folds),
    output:
        report(
            directory(results.vbm),
            patterns=["{target}.png"],
            caption="../report/vbm.rst",
            category="Maps",
        ),
    log:
        results.log("vbm"),
    benchmark:
        results.benchmark("vbm")
    conda:
        environment
    threads: 4
    resources:
        mem_mb=needs.memory("vbm"),
        runtime=needs.minutes("vbm"),
    shell:
        "logged {log:q} sepclr-neuro vbm {input.run:q}"


rule patterns:
    input:
        run=results.run_file("patterns", "{method}"),
        cohort=results.cohort,
        index=results.index,
        grid=results.grid,
        splits=results.splits,
        standardisation=expand(rules.standardise.output, fold=folds),
        models=expand(rules.train.output, fold=folds, allow_missing=True),
        representations=rules.embed.output,
        vbm=rules.vbm.output,
    output:
        report(
            directory(results.patterns("{method}")),
            patterns=["{map}.png"],
            caption="../report/patterns.rst",
            category="Maps",
        ),
    log:
        results.log("patterns", "{method}"),
    benchmark:
        results.benchmark("patterns", "{method}")
    conda:
        environment
    threads: half_of_cores
    resources:
        mem_mb=needs.memory("patterns"),
        runtime=needs.minutes("patterns"),
    shell:
        "logged {log:q} sepclr-neuro patterns {input.run:q} --method {wildcards.method}"


rule subtypes:
    input:
        run=results.run_file("subtypes", "{method}"),
        cohort=results.cohort,
        # Which keep the codes in grey matter.
        patterns=rules.patterns.output,
    output:
        directory(results.subtypes("{method}")),
    log:
        results.log("subtypes", "{method}"),
    benchmark:
        results.benchmark("subtypes", "{method}")
    conda:
        environment
    resources:
        mem_mb=needs.memory("subtypes"),
        runtime=needs.minutes("subtypes"),
    shell:
        "logged {log:q} sepclr-neuro subtypes {input.run:q} --method {wildcards.method}"


rule saliency:
    input:
        run=results.run_file("saliency", "{method}"),
        atlas=atlas_files(settings),
        cohort=results.cohort,
        index=results.index,
        grid=results.grid,
        splits=results.splits,
        standardisation=expand(rules.standardise.output, fold=folds),
        models=expand(rules.train.output, fold=folds, allow_missing=True),
        representations=rules.embed.output,
        coefficients=results.coefficients,
        vbm=rules.vbm.output,
    output:
        report(
            directory(results.saliency("{method}")),
            patterns=["{attribution}/{target}_{space}.png"],
            caption="../report/maps.rst",
            category="Maps",
        ),
    log:
        results.log("saliency", "{method}"),
    benchmark:
        results.benchmark("saliency", "{method}")
    conda:
        environment
    threads: half_of_cores
    resources:
        mem_mb=needs.memory("saliency"),
        runtime=needs.minutes("saliency"),
    shell:
        "logged {log:q} sepclr-neuro saliency {input.run:q} --method {wildcards.method}"

"""Digits on objects, the paper's other benchmark: `snakemake digits`. Nothing else in the workflow needs it."""


rule digits_run:
    input:
        run=results.run_file("digits", "{method}"),
        images=digits_files(settings),
    output:
        results.digits_run("{method}", "{repetition}"),
        results.digits_history("{method}", "{repetition}"),
    log:
        results.log("digits", "{method}", "repetition-{repetition}"),
    benchmark:
        results.benchmark("digits", "{method}", "repetition-{repetition}")
    wildcard_constraints:
        method="|".join(re.escape(method) for method in settings.digits.methods),
        repetition=r"\d+",
    conda:
        environment
    resources:
        mem_mb=needs.memory("digits_run"),
        runtime=needs.minutes("digits_run"),
    shell:
        "logged {log:q} sepclr-neuro digits {input.run:q} --method {wildcards.method} --repetition {wildcards.repetition}"


rule digits:
    input:
        run=results.run_file("digits"),
        runs=[
            results.digits_run(method, repetition)
            for method in settings.digits.methods
            for repetition in range(settings.digits.repetitions(method))
        ],
    output:
        data=results.table("digits_on_objects", "tsv"),
        table=results.table("digits_on_objects", "md"),
    log:
        results.log("digits-table"),
    benchmark:
        results.benchmark("digits-table")
    conda:
        environment
    shell:
        "logged {log:q} sepclr-neuro digits-table {input.run:q}"

"""From tables and volumes to folds of standardised volumes."""

made_here = settings.cohort.source != "files"
if made_here:

    rule dataset:
        input:
            run=results.run_file("dataset"),
            tables=cohort_tables(settings),
        output:
            results.dataset / "participants.tsv",
            results.truth / "factors.tsv",
            results.truth / "disease_mask.nii.gz",
        log:
            results.log("dataset"),
        benchmark:
            results.benchmark("dataset")
        conda:
            environment
        threads: needs.threads()
        resources:
            mem_mb=needs.memory("dataset"),
            runtime=needs.minutes("dataset"),
        shell:
            "logged {log:q} sepclr-neuro dataset {input.run:q}"


rule cohort:
    input:
        run=results.run_file("cohort"),
        tables=cohort_tables(settings),
        dataset=rules.dataset.output[0] if made_here else [],
        # Participants with a bad volume are left out here, then.
        on_disk=results.run_file("volumes-on-disk") if settings.cohort.on_error == "exclude" else [],
    output:
        results.cohort,
        results.exclusions,
        results.flow,
    log:
        results.log("cohort"),
    benchmark:
        results.benchmark("cohort")
    retries: 0  # wrong tables stay wrong
    conda:
        environment
    resources:
        mem_mb=needs.memory("cohort"),
        runtime=needs.minutes("cohort"),
    shell:
        "logged {log:q} sepclr-neuro cohort {input.run:q}"


# The volumes themselves are no inputs: a cohort has thousands. `on_disk` changes when one of them is replaced; the
# command then looks at all and reads those anew whose content changed. The array is no output: Snakemake would delete
# it before a rebuild, which copies from it what is still current.
rule volumes:
    input:
        run=results.run_file("volumes"),
        on_disk=results.run_file("volumes-on-disk"),
        # A data set made anew may have the same table and other volumes.
        dataset=results.run_file("dataset") if made_here else [],
        cohort=results.cohort,
    output:
        results.index,
        results.grid,
    log:
        results.log("volumes"),
    benchmark:
        results.benchmark("volumes")
    conda:
        environment
    threads: needs.threads()
    resources:
        mem_mb=needs.memory("volumes"),
        runtime=needs.minutes("volumes"),
    shell:
        "logged {log:q} sepclr-neuro volumes {input.run:q}"


rule splits:
    input:
        run=results.run_file("splits"),
        cohort=results.cohort,
        index=results.index,
        fixed_list=settings.splits.file or [],
    output:
        results.splits,
        results.published_splits,
    log:
        results.log("splits"),
    benchmark:
        results.benchmark("splits")
    retries: 0
    conda:
        environment
    resources:
        mem_mb=needs.memory("splits"),
        runtime=needs.minutes("splits"),
    shell:
        "logged {log:q} sepclr-neuro splits {input.run:q}"


rule standardise:
    input:
        run=results.run_file("standardisation"),
        index=results.index,
        grid=results.grid,
        splits=results.splits,
    output:
        results.standardisation("{fold}"),
        results.standardisation("{fold}").with_suffix(".json"),
    log:
        results.log("standardise", "fold-{fold}"),
    benchmark:
        results.benchmark("standardise", "fold-{fold}")
    conda:
        environment
    resources:
        mem_mb=needs.memory("standardise"),
        runtime=needs.minutes("standardise"),
    shell:
        "logged {log:q} sepclr-neuro standardise {input.run:q} --fold {wildcards.fold}"

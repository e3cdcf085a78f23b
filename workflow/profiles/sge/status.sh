#!/bin/sh
# Says of a job, by its number: running, success or failed. Called in the folder in which Snakemake runs.
exit_status=".snakemake/cluster/$1.exit"

ended() {
    [ -s "$exit_status" ] || return 1
    if [ "$(cat "$exit_status")" -eq 0 ]; then echo success; else echo failed; fi
}

ended && exit
# An answer of a server that is down says nothing of the job.
case $(qstat -j "$1" 2>&1) in
*"do not exist"*) ;;
*"error reason"*) # it would wait in the queue for ever
    echo failed
    exit
    ;;
*)
    echo running
    exit
    ;;
esac
# What a job wrote at its end may be seen late. One that was killed wrote nothing.
for _ in 1 2 3 4 5 6; do
    ls .snakemake/cluster > /dev/null
    ended && exit
    sleep 5
done
echo failed

#!/usr/bin/env python3
"""Hands a job of Snakemake to PBS, and prints its number. Any Python from 3.7 on runs it.

Resources that it knows: mem_mb, runtime, gpu, queue, gpu_queue, account, options.
"""

import json
import os
import shlex
import subprocess
import sys

FOLDER = ".snakemake/cluster"  # what jobs say, and how they ended


def main(path: str) -> None:
    with open(path) as file:
        script = file.read()
    job = json.loads(script.partition("# properties = ")[2].partition("\n")[0])
    asks = job["resources"]
    on_gpu = bool(asks.get("gpu"))
    folder = os.path.abspath(FOLDER)
    os.makedirs(folder, exist_ok=True)
    chunk = f"select=1:ncpus={job['threads']}:mem={asks['mem_mb']}mb"
    if on_gpu:
        chunk += f":ngpus={asks['gpu']}"
    hours, minutes = divmod(int(asks["runtime"]), 60)
    command = ["qsub", "-V", "-N", job.get("rule", job.get("groupid")), "-j", "oe", "-o", f"{folder}/"]
    command += ["-l", chunk, "-l", f"walltime={hours}:{minutes:02}:00"]
    queue = asks.get("gpu_queue") if on_gpu else asks.get("queue")
    if queue:
        command += ["-q", queue]
    if asks.get("account"):
        command += ["-A", asks["account"]]
    command += shlex.split(asks.get("options", ""))
    # The exit status is kept, since PBS forgets jobs that have ended.
    ended = f'{shlex.quote(folder)}/"$PBS_JOBID"'
    keep = f"code=$?; echo $code > {ended}.part; mv {ended}.part {ended}.exit; exit $code"
    wrapped = f"#!/bin/sh\n(\n{script}\n)\n{keep}\n"
    done = subprocess.run(command, input=wrapped, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"refused, as {command[0]} says above: {' '.join(map(shlex.quote, command))}")
    print(done.stdout.split()[0])


if __name__ == "__main__":
    main(sys.argv[1])

#!/usr/bin/env python3
"""Hands a job of Snakemake to Kubernetes, as `job.json` beside this file says, and prints its name.

Any Python from 3.7 on runs it. Resources that it knows: mem_mb, runtime, gpu.
"""

import json
import os
import shlex
import subprocess
import sys
import uuid


def main(path: str) -> None:
    with open(path) as file:
        script = file.read()
    job = json.loads(script.partition("# properties = ")[2].partition("\n")[0])
    asks = job["resources"]
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "job.json")) as file:
        body = json.load(file)
    rule = job.get("rule", job.get("groupid")).replace("_", "-")
    body["metadata"]["name"] = f"sepclr-neuro-{rule}-{uuid.uuid4().hex[:8]}"
    body["spec"]["activeDeadlineSeconds"] = 60 * int(asks["runtime"])
    pod = body["spec"]["template"]["spec"]
    # Results belong to who started the run.
    pod["securityContext"] = {"runAsUser": os.getuid(), "runAsGroup": os.getgid()}
    container = pod["containers"][0]
    container["command"] = ["/bin/sh", "-c", script]
    container["workingDir"] = os.getcwd()
    container["resources"] = {
        "requests": {"cpu": str(job["threads"]), "memory": f"{asks['mem_mb']}M"},
        "limits": {"memory": f"{asks['mem_mb']}M"},
    }
    if asks.get("gpu"):
        container["resources"]["limits"]["nvidia.com/gpu"] = str(asks["gpu"])
    command = ["kubectl", "create", "-o", "name", "-f", "-"]
    text = json.dumps(body)
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"refused, as {command[0]} says above: {' '.join(map(shlex.quote, command))}")
    print(done.stdout.split()[0].partition("/")[2])


if __name__ == "__main__":
    main(sys.argv[1])

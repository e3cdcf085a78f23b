"""Stands in for a scheduler's commands, by the name that it is called by: its jobs are processes of this machine.

Its state is in the folder SCHEDULER, a folder a job. `kill-NAME` in it ends the next job of this name, as a scheduler
does with one that takes too much memory; while `down` is in it, no command answers.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

STATE = Path(os.environ.get("SCHEDULER", "."))
UNKNOWN = {
    "pbs": "qstat: Unknown Job Id {}",
    "sge": "Following jobs do not exist: \n{}",
    "lsf": "Job <{}> is not found",
    "kubernetes": 'Error from server (NotFound): jobs.batch "{}" not found',
}


def submit(kind: str, name: str, script: str, folder: str | None = None, job: str | None = None) -> str:
    """Starts a job, a group of processes of its own, and gives its id."""
    number = str(len(list(STATE.glob("*/asked.json"))) + 1)
    job = job or {"pbs": f"{number}.host"}.get(kind, number)
    own = STATE / job
    own.mkdir()
    (own / "script").write_text(script)
    variable = {"pbs": "PBS_JOBID", "sge": "JOB_ID", "lsf": "LSB_JOBID"}.get(kind, "HOSTNAME")
    killed = STATE / f"kill-{name}"
    if killed.exists():
        killed.unlink()
        (own / "script").write_text("kill -9 0")
    run = f"sh {own}/script; echo $? > {own}/status.part; mv {own}/status.part {own}/status"
    with (own / "said").open("w") as said:
        process = subprocess.Popen(
            ["setsid", "sh", "-c", run],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=os.environ | {variable: job},
            cwd=folder,
        )
    (own / "process").write_text(str(process.pid))
    (own / "asked.json").write_text(json.dumps([name, *sys.argv[1:]]))
    return job


def state(job: str) -> str:
    """`running`, an exit status, or `unknown`."""
    own = STATE / job
    if not own.is_dir():
        return "unknown"
    if (own / "status").exists():
        return (own / "status").read_text().strip()
    with suppress(ProcessLookupError):
        os.killpg(int((own / "process").read_text()), 0)
        return "running"
    return (own / "status").read_text().strip() if (own / "status").exists() else "137"


def end(jobs: list[str]) -> None:
    for job in jobs:
        (STATE / "cancelled").open("a").write(job + "\n")
        with suppress(ProcessLookupError):
            os.killpg(int((STATE / job / "process").read_text()), signal.SIGKILL)


def after(option: str) -> str:
    return sys.argv[sys.argv.index(option) + 1]


def main() -> None:
    called, kind = Path(sys.argv[0]).name, os.environ["SCHEDULER_KIND"]
    if (STATE / "down").exists():
        sys.exit("cannot connect to the server")
    if called == "qsub":
        print(submit(kind, after("-N"), sys.stdin.read()))
    elif called == "bsub":
        print(f"Job <{submit(kind, after('-J'), sys.stdin.read())}> is submitted to queue <normal>.")
    elif called == "kubectl" and sys.argv[1] == "create":
        body = json.load(sys.stdin)
        container = body["spec"]["template"]["spec"]["containers"][0]
        name = body["metadata"]["name"]
        submit(kind, name.split("-")[2], container["command"][2], container["workingDir"], name)
        (STATE / name / "body.json").write_text(json.dumps(body))
        print(f"job.batch/{name}")
    elif called in ("qdel", "bkill") or sys.argv[1] == "delete":
        end([word for word in sys.argv[1:] if word not in ("delete", "job")])
    else:
        job = sys.argv[3] if called == "kubectl" else sys.argv[-1]
        found = state(job)
        # PBS and Grid Engine forget jobs that have ended.
        if found == "unknown" or (kind in ("pbs", "sge") and found != "running"):
            sys.exit(UNKNOWN[kind].format(job))
        words = {"lsf": ("RUN", "DONE", "EXIT"), "kubernetes": ("", "Complete", "Failed")}
        running, done, failed = words.get(kind, ("job_state = R", "", ""))
        print(running if found == "running" else done if found == "0" else failed)


if __name__ == "__main__":
    for _ in range(50):  # two that count jobs at one moment would take one number
        try:
            main()
            break
        except FileExistsError:
            time.sleep(0.02)

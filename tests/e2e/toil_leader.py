"""Toil's TES batch system, replayed with the client that it uses: JSON lines in, JSON lines out.

In: {"url", "job_store", "commands": {name: argv}}. Each command is a job; out come the storages
that the leader was told of, the mounts that it made of them, and each job's end.
"""

import json
import sys
import time
from pathlib import Path

import tes

ENDED = ("COMPLETE", "CANCELED", "EXECUTOR_ERROR", "SYSTEM_ERROR")


def mounts_of(storages, path):
    """The job store as an input of every job, where the server says that it reaches it."""
    url = f"file://{Path(path).absolute()}"
    if not any(url.startswith(base) for base in storages):
        return []
    kind = "DIRECTORY" if Path(path).is_dir() else "FILE"
    return [tes.Input(url=url, path=path, type=kind)]


def issue(client, name, command, mounts):
    """One job, as the leader issues it."""
    return client.create_task(
        tes.Task(
            name=name,
            executors=[
                tes.Executor(
                    image="quay.io/ucsc_cgl/toil", command=command, env={"TOIL_WORKDIR": "/tmp"}
                )
            ],
            inputs=list(mounts),
            resources=tes.Resources(cpu_cores=1, ram_gb=0.25, disk_gb=0.0078125, preemptible=False),
        )
    )


def ended(client, task_id):
    """What the leader makes of a job's end; None while it runs. It also looks in BASIC."""
    if client.get_task(task_id, view="MINIMAL").state not in ENDED:
        client.get_task(task_id, view="BASIC")
        return None
    task = client.get_task(task_id, view="FULL")
    codes = [log.exit_code for attempt in task.logs or [] for log in attempt.logs or []]
    words = [log.stderr for attempt in task.logs or [] for log in attempt.logs or []]
    began, over = task.logs[0].start_time, task.logs[-1].end_time
    return {
        "state": task.state,
        "exit_code": codes[-1] if codes else None,
        "stderr": words[-1] if words else None,
        "seconds": (over - began).total_seconds(),
        "zone": str(began.tzinfo),
    }


def main():
    asked = json.loads(sys.stdin.readline())
    client = tes.HTTPClient(asked["url"])
    storages = client.get_service_info().storage or []
    mounts = mounts_of(storages, asked["job_store"])
    told = {"storages": storages, "mounts": [m.as_dict() for m in mounts]}
    print(json.dumps(told), flush=True)
    issued = {n: issue(client, n, c, mounts) for n, c in asked["commands"].items()}
    while issued:
        for name, task_id in list(issued.items()):
            found = ended(client, task_id)
            if found:
                print(json.dumps({"name": name, **found}), flush=True)
                del issued[name]
        time.sleep(0.1)


main()

"""Every call of a py-tes client, run by the interpreter that has it: JSON in, JSON out.

In: {"url", "known": ids to get}. Out: what each call gave, as the client understood it.
"""

import json
import sys

import requests
import tes

VIEWS = ("MINIMAL", "BASIC", "FULL")


def a_task():
    """A task with every field that both versions of the client know."""
    return tes.Task(
        name="made by py-tes",
        description="with é",
        inputs=[
            tes.Input(path="/data/in", url="s3://bucket/in"),
            tes.Input(path="/data/x", content="x"),
        ],
        outputs=[tes.Output(path="/data/out", url="s3://bucket/out")],
        resources=tes.Resources(
            cpu_cores=2, ram_gb=0.5, disk_gb=1.0, preemptible=False, zones=["z"]
        ),
        executors=[
            tes.Executor(
                image="alpine:3.20",
                command=["md5sum", "/data/in"],
                workdir="/data",
                stdin="/data/in",
                stdout="/data/out",
                stderr="/data/err",
                env={"A": "B"},
            )
        ],
        volumes=["/vol"],
        tags={"a": "b"},
    )


def pages(client, view):
    """The ids and states of all pages, two tasks on each."""
    found, token = [], None
    while True:
        page = client.list_tasks(view=view, page_size=2, page_token=token)
        found += [(task.id, task.state) for task in page.tasks]
        token = page.next_page_token
        if not token:
            return found


def main():
    asked = json.load(sys.stdin)
    client = tes.HTTPClient(asked["url"], timeout=10)
    made = client.create_task(a_task())
    answers = {
        "service_info": client.get_service_info().as_dict(),
        "made": made,
        "mine": client.get_task(made, "FULL").as_dict(),
        "known": {
            task_id: {view: client.get_task(task_id, view).as_dict() for view in VIEWS}
            for task_id in asked["known"]
        },
        "pages": {view: pages(client, view) for view in VIEWS},
        "canceled": client.cancel_task(made),
        "waited": client.wait(made, timeout=5).state,
        "canceled_again": client.cancel_task(made),
    }
    try:
        client.get_task("unknown", "MINIMAL")
    except requests.HTTPError as error:
        answers["unknown"] = str(error)
    json.dump(answers, sys.stdout, default=str)


main()

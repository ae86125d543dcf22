"""Every call of a py-tes client, run by the interpreter that has it: JSON in, JSON out.

In: {"url", "known": ids to get}, or {"url", "ended": ids to wait for, "running": others}. Out:
what each call gave, as the client understood it.
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


def views(client, task_ids):
    """Each task in each view."""
    return {i: {view: client.get_task(i, view).as_dict() for view in VIEWS} for i in task_ids}


def look(client, asked):
    """Only look at what is there, and wait for what has ended and for what has not."""
    waited = {task_id: client.wait(task_id, timeout=5).state for task_id in asked["ended"]}
    for task_id in asked["running"]:
        try:
            waited[task_id] = client.wait(task_id, timeout=1).state
        except tes.utils.TimeoutError:
            waited[task_id] = "timeout"
    known = [*asked["ended"], *asked["running"]]
    listed = {view: pages(client, view) for view in VIEWS}
    return {"known": views(client, known), "pages": listed, "waited": waited}


def every_call(client, known):
    """Every call, on a task of its own and on those known."""
    made = client.create_task(a_task())
    answers = {
        "service_info": client.get_service_info().as_dict(),
        "made": made,
        "mine": client.get_task(made, "FULL").as_dict(),
        "known": views(client, known),
        "pages": {view: pages(client, view) for view in VIEWS},
        "canceled": client.cancel_task(made),
        "waited": client.wait(made, timeout=5).state,
        "canceled_again": client.cancel_task(made),
    }
    try:
        client.get_task("unknown", "MINIMAL")
    except requests.HTTPError as error:
        answers["unknown"] = str(error)
    return answers


def main():
    asked = json.load(sys.stdin)
    client = tes.HTTPClient(asked["url"], timeout=10)
    answers = look(client, asked) if "ended" in asked else every_call(client, asked["known"])
    json.dump(answers, sys.stdout, default=str)


main()

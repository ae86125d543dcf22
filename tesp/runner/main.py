"""The runner's command line: a verb, and the workspace or the directories that it is about."""

import os
import sys
from typing import Callable, Dict, List

from tesp.runner import attempts, orphans, workspace
from tesp.runner.surroundings import complete

USAGE = (
    "usage: runner (run | job | report | remove | sweep) WORKSPACE,"
    " or: runner discard DIRECTORY..., or: runner serve"
)

Command = Callable[[List[str]], int]


def main(arguments: List[str]) -> int:
    """Carry out one command; the exit code is 0 unless it could not be carried out at all."""
    complete(os.environ)
    verb, operands = "".join(arguments[:1]), arguments[1:]
    fits = {"serve": not operands, "discard": bool(operands)}.get(verb, len(operands) == 1)
    if verb not in COMMANDS or not fits:
        print(USAGE, file=sys.stderr)
        return 2
    return COMMANDS[verb](operands)


def run(operands: List[str]) -> int:
    """Run the plan of a workspace, for a server of this machine that may end before us."""
    os.chdir(operands[0])
    return attempts.run()


def job(operands: List[str]) -> int:
    """Run the plan of a workspace, or the one packed with us, in the foreground; report."""
    from tesp.runner.job import job  # here: others start without it

    return job(operands[0])


def report(operands: List[str]) -> int:
    """Report how the job of a workspace stands."""
    from tesp.runner.job import tell

    return tell(operands[0])


def remove(operands: List[str]) -> int:
    """End the runner of a workspace, and whatever it left."""
    from tesp.runner.removal import remove

    os.chdir(operands[0])
    return remove()


def discard(operands: List[str]) -> int:
    """Remove the directories of jobs, whole."""
    from tesp.runner.removal import discard

    return discard(operands)


def sweep(operands: List[str]) -> int:
    """Remove what dead runners of this host left, at the runtime of a workspace's plan."""
    os.chdir(operands[0])
    orphans.sweep(workspace.load_plan())
    return 0


def serve(operands: List[str]) -> int:
    """Stay, and fork a runner whenever a workspace is named."""
    from tesp.runner import nursery

    return nursery.serve(attempts.run)


COMMANDS: Dict[str, Command] = {
    "run": run,
    "job": job,
    "report": report,
    "remove": remove,
    "discard": discard,
    "sweep": sweep,
    "serve": serve,
}

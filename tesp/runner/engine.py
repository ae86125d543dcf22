"""A container engine behind its command line: docker or podman."""

import json
import os
import re
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from tesp.runner import credentials
from tesp.runner.commands import HANDLE_LABEL, OWNER_LABEL
from tesp.runner.failure import Failure
from tesp.runner.plan import (
    DISK_FULL,
    IMAGE_MISSING,
    IMAGE_REFUSED,
    RUNTIME_ERROR,
    RUNTIME_MISSING,
    Runtime,
)
from tesp.runner.process import Output, run

PULL_TRIES = 4
# Longer than an engine takes to remove a container that somebody else has it remove already.
REMOVAL_SECONDS = 10.0

_ABSENT = r"(?i)no such image|unable to find image|image not known"
# The engine's sentences, what they mean, and the mend. The first that fits counts.
_MEANINGS: Tuple[Tuple[str, str, str], ...] = (
    (
        r"cannot connect to the docker daemon|error during connect|is the docker daemon running"
        r"|permission denied while trying to connect|cannot connect to podman|dial unix",
        RUNTIME_MISSING,
        "Start the container engine, or let this user reach it.",
    ),
    (r"no space left on device", DISK_FULL, "Make room on the engine's disk."),
    (
        r"invalid reference|repository name must be|invalid tag",
        IMAGE_MISSING,
        "Name an image as registry/repository:tag.",
    ),
    (
        r"manifest.{0,200}(unknown|not found)|not found: manifest|repository does not exist"
        r"|repository name not known|name unknown|no matching manifest|does not exist"
        r"|short-name",
        IMAGE_MISSING,
        "Check the image's name and tag; a private registry also needs its credentials.",
    ),
    (
        r"unauthorized|authentication required|no basic auth|denied|incorrect username"
        r"|authorization failed|401|403",
        IMAGE_REFUSED,
        "Set the registry's user name and password in the settings, or correct them.",
    ),
)


class Container(NamedTuple):
    """One container of an attempt."""

    id: str
    owner: str
    handle: str


class Engine:
    """docker or podman: what the runner asks of it beside running a container."""

    def __init__(
        self,
        runtime: Runtime,
        program: str,
        environ: Dict[str, str],
        wake: Optional[int] = None,
        each: Callable[[], None] = lambda: None,
    ) -> None:
        self._runtime, self._program, self.environ = runtime, program, environ
        self._wake, self._each = wake, each

    def ask(self, *args: str, keep: Sequence[int] = (), patient: bool = True) -> Output:
        """Run one of its commands; `patient`: even when the attempt has to end."""
        each = (lambda: None) if patient else self._each
        return run([self._program] + list(args), self.environ, self._wake, each, keep)

    def create(self, argv: Sequence[str], image: str, keep: Sequence[int] = ()) -> str:
        """Create a container, with a pull first where the image is missing; its id."""
        made = self.ask(*argv[1:], keep=keep, patient=False)
        if made.code and re.search(_ABSENT, made.err):
            self.pull(image)
            made = self.ask(*argv[1:], keep=keep, patient=False)
        if made.code:
            raise failure(made.err, "The container of image %s was not made" % image)
        return made.out.strip().splitlines()[-1]

    def pull(self, image: str) -> None:
        """Fetch an image; what may pass by itself is tried again."""
        with credentials.directory(self._runtime, image, self.environ) as extra:
            for attempt in range(PULL_TRIES):
                if attempt:
                    self._pause(0.25 * 2**attempt)
                said = self._fetch(image, dict(self.environ, **extra))
                if said.code == 0:
                    return
                problem = failure(said.err, "Image %s cannot be pulled" % image)
                if problem.reason != RUNTIME_ERROR:
                    raise problem
        raise Failure(
            IMAGE_MISSING,
            problem.message + " Check that the registry can be reached from this machine.",
        )

    def _fetch(self, image: str, environ: Dict[str, str]) -> Output:
        argv = [self._program, "pull", "--quiet", "--", image]
        return run(argv, environ, self._wake, self._each)

    def _pause(self, seconds: float) -> None:
        """Wait, unless the attempt has to end."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._each()
            time.sleep(0.05)

    def state(self, container: str) -> Optional[Dict[str, Any]]:
        """What the engine knows of a container's end; None where it knows no such container."""
        said = self.ask("inspect", "--type=container", "--format={{json .State}}", container)
        if said.code:
            return None
        found = json.loads(said.out)
        return found if isinstance(found, dict) else None

    def kill(self, container: str) -> None:
        """End what runs; nothing happens where it does not."""
        self.ask("kill", container)

    def remove(self, containers: Sequence[str]) -> bool:
        """Remove containers with their anonymous volumes, running or not; whether they are gone.

        What somebody else has it remove at the same time, an engine refuses to remove once more,
        and shows for a moment longer.
        """
        until, left = time.monotonic() + REMOVAL_SECONDS, list(containers)
        while left and self.ask("rm", "--force", "--volumes", *left).code:
            left = [container for container in left if self.state(container) is not None]
            if left and time.monotonic() > until:
                return False
        return True

    def ours(self, handle: Optional[str] = None) -> List[Container]:
        """The containers of one attempt, or of every one."""
        wanted = HANDLE_LABEL if handle is None else "%s=%s" % (HANDLE_LABEL, handle)
        label = '{{.Label "%s"}}' if self._runtime.kind == "docker" else '{{index .Labels "%s"}}'
        shape = " ".join(["{{.ID}}", label % OWNER_LABEL, label % HANDLE_LABEL])
        said = self.ask(
            "ps", "--all", "--no-trunc", "--filter", "label=" + wanted, "--format", shape
        )
        lines = [line.split(" ", 2) for line in said.out.splitlines()]
        return [Container(*line) for line in lines if len(line) == 3]


def failure(said: str, what: str) -> Failure:
    """What the engine's words mean."""
    words = " ".join(said.split())[-2000:]
    for pattern, reason, mend in _MEANINGS:
        if re.search(pattern, words, re.I):
            return Failure(reason, "%s: %s. %s" % (what, words.rstrip("."), mend))
    return Failure(RUNTIME_ERROR, "%s: %s." % (what, words.rstrip(".")))


def environment(runtime: Runtime) -> Dict[str, str]:
    """What a runtime's own process gets: our variables, and those of the plan."""
    return dict(os.environ, **runtime.environment)

"""The command lines of jobs. Pure.

A job starts in its working directory, with an environment that Pulsar has stripped. What Pulsar
shows of its standard output must be text, or the job's status can never be read: nothing but
the runner's report gets there.
"""

import shlex

from tesp.backends.pulsar.wire import ARCHIVE, WORKSPACE

METADATA = "../metadata"
# A scheduler's SIGTERM goes to the shell too, which is to wait until the runner has ended.
_WAITING = "trap : TERM; "
HERE = f"{METADATA}/{WORKSPACE}"
ENCODED = f"{ARCHIVE}.b64"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run_line(python: str, archive: str = ARCHIVE) -> str:
    """Run the job's own plan, which is in the archive."""
    return _WAITING + control_line(python, "job", HERE, archive=archive)


def control_line(python: str, command: str, *paths: str, archive: str = ARCHIVE) -> str:
    """Carry out one command of the runner: `job`, `report`, `remove` or `discard`."""
    words = [python, "-I", "-S", f"{METADATA}/{archive}", command, *paths]
    streams = f"</dev/null 2>{METADATA}/tool_stderr"
    return f'export PATH="${{PATH:+$PATH:}}{_PATH}"; {shlex.join(words)} {streams}'


def decoded(line: str) -> str:
    """A command line that first takes the archive out of the text that a message brought."""
    source, target = f"{METADATA}/{ENCODED}", f"{METADATA}/{ARCHIVE}"
    decode = f"base64 -d {source} >{target}.$$ && mv -f {target}.$$ {target}"
    return f"[ -e {target} ] || {{ {decode}; }}; {line}"


def directory_of(job_id: str) -> str:
    """Another job's directory, as one of the same manager sees it."""
    return f"../../{job_id}"


def workspace_of(job_id: str) -> str:
    """Another job's workspace, as one of the same manager sees it."""
    return f"{directory_of(job_id)}/metadata/{WORKSPACE}"

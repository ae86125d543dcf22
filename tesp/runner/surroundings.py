"""What a process may expect in its environment, where the one who started it has emptied that."""

import os
from typing import MutableMapping

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def complete(environ: MutableMapping[str, str]) -> None:
    """Add PATH and HOME where they are missing: programs of the runtimes look for both."""
    environ.setdefault("PATH", PATH)
    if "HOME" not in environ:
        import pwd  # here: others start without it

        try:
            environ["HOME"] = pwd.getpwuid(os.geteuid()).pw_dir
        except KeyError:
            environ["HOME"] = "/"  # a user without a name

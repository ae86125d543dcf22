"""The local backend: the runner as a process of this machine that outlives the server."""

from tesp.backends.local.backend import LocalBackend

__all__ = ["LocalBackend"]

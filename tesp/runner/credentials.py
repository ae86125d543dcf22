"""Registry credentials for one pull: in a private directory that is gone afterwards."""

import base64
import json
import os
from contextlib import contextmanager
from typing import Any, Dict, Iterator

from tesp.runner.plan import Runtime

_HUB = "https://index.docker.io/v1/"


@contextmanager
def directory(runtime: Runtime, image: str, environ: Dict[str, str]) -> Iterator[Dict[str, str]]:
    """Variables that make the runtime use the plan's credentials for that image, if there are."""
    if registry_of(image) not in runtime.registries:
        yield {}
        return
    path = private_directory()
    try:
        file = os.path.join(path, "config.json")
        home = environ.get("DOCKER_CONFIG") or os.path.join(environ.get("HOME", "/"), ".docker")
        _write(file, _merged(_read(os.path.join(home, "config.json")), runtime.registries))
        if os.path.isdir(os.path.join(home, "contexts")):
            os.symlink(os.path.join(home, "contexts"), os.path.join(path, "contexts"))
        yield {"docker": {"DOCKER_CONFIG": path}}.get(runtime.kind, {"REGISTRY_AUTH_FILE": file})
    finally:
        import shutil

        shutil.rmtree(path, ignore_errors=True)


def registry_of(image: str) -> str:
    """The registry's host in an image reference."""
    first, slash, _ = image.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost")
    return first if named else "docker.io"


def private_directory() -> str:
    """A new directory outside the workspace that only this user can enter."""
    base = os.environ.get("TMPDIR", "/tmp")
    while True:
        path = os.path.join(base, "tesp-" + os.urandom(12).hex())
        try:
            os.mkdir(path, 0o700)
            return path
        except FileExistsError:
            continue


def _merged(known: Dict[str, Any], registries: Dict[str, Dict[str, str]]) -> Dict[str, Any]:
    """The user's own configuration, in which the plan's credentials come first."""
    merged = {k: v for k, v in known.items() if k != "credsStore"}
    auths, helpers = dict(known.get("auths", {})), dict(known.get("credHelpers", {}))
    for host, account in registries.items():
        pair = "%s:%s" % (account["username"], account["password"])
        key = _HUB if host in ("docker.io", "index.docker.io") else host
        auths[key] = {"auth": base64.b64encode(pair.encode()).decode()}
        helpers.pop(host, None)
    return dict(merged, auths=auths, credHelpers=helpers)


def _read(path: str) -> Dict[str, Any]:
    try:
        with open(path) as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: str, data: Dict[str, Any]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        json.dump(data, file)

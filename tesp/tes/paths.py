"""Container paths that a task may name: which are sound, and which are the image's own."""

_SYSTEM = frozenset(
    {"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "proc", "sys", "dev", "boot"}
)
_WHOLE = frozenset({"var", "run"})
_WILDCARDS = frozenset("*?[")
_PATH_BYTES = 4095
_NAME_BYTES = 255


def is_pattern(path: str) -> bool:
    """Whether an output path holds POSIX wildcards."""
    return any(c in _WILDCARDS for c in path)


def parts(path: str) -> list[str]:
    """The names that a path is made of, without empty ones and dots."""
    return [part for part in path.split("/") if part not in ("", ".")]


def unsound(path: str) -> str | None:
    """Why no container can have such a path, with the mend; None where it can."""
    if not path.startswith("/"):
        return "must be an absolute path of the container; begin it with `/`"
    if "\0" in path:
        return "holds a NUL character; take it out"
    names = path.split("/")
    if ".." in names:
        return "must not hold `..`; give the path that it leads to"
    if len(path) * 4 > _NAME_BYTES and _too_long(path, names):
        return f"is longer than {_PATH_BYTES} bytes, or one of its names than {_NAME_BYTES}"
    return None


def _too_long(path: str, names: list[str]) -> bool:
    if len(path.encode()) > _PATH_BYTES:
        return True
    return any(len(name.encode()) > _NAME_BYTES for name in names)


def reserved(names: list[str]) -> str | None:
    """Why no directory of ours may be put at these path parts; None where it may."""
    if not names:
        return "would hide the whole container; use a directory such as /data"
    if names[0] in _SYSTEM:
        return f"lies in /{names[0]}, which is the image's own; use a directory such as /data"
    if names[0] in _WHOLE and len(names) == 1:
        return f"would hide /{names[0]} of the image; use a directory below it, or /data"
    return None


def directory_of(path: str, kind: str | None) -> list[str]:
    """The parts of the directory that an output needs: itself, its parent, or what comes
    before its first wildcard."""
    names = parts(path)
    for place, name in enumerate(names):
        if is_pattern(name):
            return names[:place]
    return names if kind == "DIRECTORY" else names[:-1]

"""One process owns the file: its lock, and the file systems where a lock is worth nothing."""

import fcntl
import os
import re
from pathlib import Path

from tesp.errors import SettingsError, StoreError, StoreLocked

MOUNTS = Path("/proc/self/mountinfo")

# Here locks or shared memory are not to be trusted between machines.
_NETWORK = frozenset(
    {
        "afs",
        "beegfs",
        "beegfs_nodev",
        "ceph",
        "cifs",
        "davfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "pohmelfs",
        "pvfs2",
        "quobyte",
        "smb2",
        "smb3",
        "smbfs",
        "wekafs",
        "fuse.afp",
        "fuse.ceph",
        "fuse.ceph-fuse",
        "fuse.curlftpfs",
        "fuse.cvmfs",
        "fuse.davfs2",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.goofys",
        "fuse.juicefs",
        "fuse.lizardfs",
        "fuse.mfs",
        "fuse.mfsmount",
        "fuse.moosefs",
        "fuse.mount-s3",
        "fuse.quobyte",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.seaweedfs",
        "fuse.smbnetfs",
        "fuse.sshfs",
    }
)


class Ownership:
    """An exclusive lock on a file beside the database, held until it is released."""

    def __init__(self, database: Path) -> None:
        """Take the lock; raises StoreLocked where another has it."""
        self._file = database.with_name(database.name + ".lock")
        try:
            self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{self._file} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise StoreLocked(
                f"{database} is in use by another process{f' (pid {owner})' if owner else ''}:"
                " end that one, choose another data_dir, or use store.kind = mongodb, which"
                " several processes may share"
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another open the database. The file stays: removing it would race."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def refuse_network(directory: Path, mounts: Path = MOUNTS) -> None:
    """Raise SettingsError where `directory` lies on a network file system.

    Where the system has no such list of mounts, nothing is refused.
    """
    if not mounts.exists():
        return
    kind = filesystem_of(directory.resolve(), mounts.read_text(errors="surrogateescape"))
    if kind in _NETWORK:
        raise SettingsError(
            f"data_dir: {directory} lies on a network file system ({kind}), on which SQLite can"
            " lose tasks: choose a local directory, or use store.kind = mongodb"
        )


def filesystem_of(path: Path, mounts: str) -> str:
    """The type of the file system that `path` lies on, by the text of mountinfo(5)."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(_unescaped(before.split(" ")[4]))
        # Of mounts at one point the last one is on top.
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split(" ")[0]
    return kind


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), field)

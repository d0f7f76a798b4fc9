"""Which kind of filesystem a path is on: SQLite's write-ahead log needs a local one."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

_NETWORK = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs3",
        "nfs4",
        "ocfs2",
        "orangefs",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
    }
)
_NETWORK_FUSE = ("sshfs", "s3fs", "gcsfuse", "rclone", "goofys", "glusterfs", "ceph", "nfs", "smb")
_ESCAPE = re.compile(r"\\([0-7]{3})")
_MOUNT_POINT = 4


def network_filesystem(mountinfo: str, path: PurePosixPath) -> str | None:
    """The type of the network filesystem that holds an absolute path; ``None`` for a local one.

    ``mountinfo`` is the text of ``/proc/self/mountinfo``. Of nested mounts the innermost counts,
    of stacked ones the last.
    """
    depth, found = -1, ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if not after or len(fields) <= _MOUNT_POINT:
            continue
        point = PurePosixPath(_unescape(fields[_MOUNT_POINT]))
        if path.is_relative_to(point) and len(point.parts) >= depth:
            depth, found = len(point.parts), after.split(" ", 1)[0]
    return found if _is_network(found) else None


def network_filesystem_of(path: Path) -> str | None:
    """The same for a path of this machine; ``None`` also where the system does not tell."""
    try:
        mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return network_filesystem(mountinfo, PurePosixPath(path.resolve()))


def _is_network(kind: str) -> bool:
    family, _, name = kind.partition(".")
    return kind in _NETWORK or (family == "fuse" and name.startswith(_NETWORK_FUSE))


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), text)

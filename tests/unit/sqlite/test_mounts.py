"""Network filesystems are told from local ones."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from chicory_sqlite.mounts import network_filesystem

MOUNTINFO = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:35 / /home rw,relatime shared:9 - nfs4 server:/home rw,vers=4.2
41 40 0:36 / /home/local rw shared:10 - xfs /dev/vdb rw
42 22 0:37 / /mnt/with\040space rw - cifs //server/share rw
43 22 0:38 / /remote rw master:3 - fuse.sshfs me@host: rw
44 22 0:39 / /ntfs rw - fuse.ntfs-3g /dev/sda1 rw
45 22 0:40 / /over rw - 9p share rw
46 45 0:41 / /over rw - ext4 /dev/vdc rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/a.db", None),
        ("/home/me/a.db", "nfs4"),
        ("/homes/a.db", None),
        ("/home/local/a.db", None),
        ("/mnt/with space/a.db", "cifs"),
        ("/remote/a.db", "fuse.sshfs"),
        ("/ntfs/a.db", None),
        ("/over/a.db", None),
    ],
)
def test_the_innermost_and_latest_mount_counts(path, kind):
    assert network_filesystem(MOUNTINFO, PurePosixPath(path)) == kind

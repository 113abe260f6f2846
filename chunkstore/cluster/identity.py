"""Who a node is: the id of its data dir, and the cluster that it belongs to, kept there, too."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from chunkstore.errors import DataDirError, DiskError

__all__ = ["Identity"]

_NAME = "cluster.json"
_FORMAT = 1
_ID = re.compile(r"[0-9a-f]{32}")


class Identity:
    """A node's data dir, as far as it says who that is.

    Args:
        folder: the data dir, which nobody else uses.
        dir_id: made once, with the folder.
    Raises:
        DataDirError: what it says of its cluster can't be read.

    Attributes:
        node_id: 32 hex digits.
        cluster_id: the same; "": it belongs to none yet.
    """

    def __init__(self, folder: Path, dir_id: bytes) -> None:
        self._path = folder / _NAME
        self.node_id = dir_id.hex()
        self.cluster_id = ""
        try:
            found = json.loads(self._path.read_bytes())
            version, cluster_id = found["format"], found["cluster"]
        except FileNotFoundError:
            return
        except OSError as error:
            raise DataDirError(self._path, error.strerror or str(error)) from error
        except (ValueError, KeyError, TypeError) as error:
            raise DataDirError(self._path, "damaged") from error
        if version != _FORMAT:
            detail = f"its format is {version!r}, and this program knows {_FORMAT}"
            raise DataDirError(self._path, detail)
        if not isinstance(cluster_id, str) or not _ID.fullmatch(cluster_id):
            raise DataDirError(self._path, "damaged")
        self.cluster_id = cluster_id

    def join(self, cluster_id: str) -> None:
        """It belongs to a cluster from now on, for good; blocking.

        Raises:
            DiskError: it couldn't be kept.
        """
        part = self._path.with_name(_NAME + ".part")
        try:
            part.unlink(missing_ok=True)
            with part.open("x", encoding="ascii") as file:  # which follows no link
                file.write(json.dumps({"format": _FORMAT, "cluster": cluster_id}) + "\n")
                file.flush()
                os.fsync(file.fileno())
            part.rename(self._path)
            fd = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise DiskError(f"{self._path}: {error.strerror or error}") from error
        self.cluster_id = cluster_id

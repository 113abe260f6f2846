"""When an upload is made durable: what a power cut may take of what was acknowledged."""

from __future__ import annotations

from enum import Enum

__all__ = ["Sync"]


class Sync(Enum):
    """What is made durable before it is acknowledged.

    The end of the program alone takes nothing, whichever it is: the system has what was written.
    """

    CLOSE = "close"
    """A commit or a delete, and all it needs. Nothing that was acknowledged is lost."""
    ALWAYS = "always"
    """Each run of an upload, too: as soon as its bytes are acknowledged, they are on the disk."""
    NONE = "none"
    """Nothing. A power cut takes the end of what was acknowledged since the disk was last synced:
    commits and deletes, the last ones first. Objects with a file of their own may lack bytes then:
    they are told as damaged, and are not served. Never are there wrong bytes."""

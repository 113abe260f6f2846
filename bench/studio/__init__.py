"""The studio: a picture on its way from an encoder through an origin into a real player.

Pure rooms first: `fmp4.py` cuts what ffmpeg writes into fragments, `packager.py` makes LL-HLS of
them, `framing.py` reads along where requests begin and end. Around them a thin Trio shell:
`upload.py` is a PUT that starts anew when its connection breaks, `publisher.py` PUTs what the
packager says, `proxy.py` cuts connections in the middle of a segment.
"""

from __future__ import annotations

__all__: list[str] = []

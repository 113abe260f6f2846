"""The studio: a picture on its way from an encoder through an origin into a real player.

Pure rooms first: `clock.py` paints the time into a frame, `viewing.py` makes figures of when it was
seen, `fmp4.py` cuts what ffmpeg writes into fragments, `packager.py` makes LL-HLS of them,
`framing.py` reads along where requests begin and end. Around them a thin Trio shell: `upload.py` is
a PUT that starts anew when its connection breaks, `publisher.py` PUTs what the packager says,
`proxy.py` cuts connections in the middle of a segment. And what runs as processes of its own:
`encoder.py` is a camera and ffmpeg behind it, `packages.py` has npm install the players, `page.py`
PUTs the page that they stand in (`pages/`), `browser.py` opens it, `audience.py` has raw readers
beside it, and `watching.py` sets all of that up for one viewing and takes it down.
"""

from __future__ import annotations

__all__: list[str] = []

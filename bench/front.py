"""nginx or Varnish in front of an origin, with the settings that packaging/ has for their users.

    python -m bench.front varnish 8080

Only addresses differ from what a user copies, and who it runs as: a free port, and a folder of its
own that goes with it. It says where it listens, and ends with SIGTERM.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from bench.peers import NGINX, find_program
from bench.peers.listening import BACKLOG, HOST, announce, free_port, wait_for_listener

__all__ = ["FRONTS", "POLICIES", "Front"]

_PACKAGING = Path(__file__).parent.parent / "packaging"
POLICIES = _PACKAGING / "behind-varnish.toml"
"""The origin's settings that let Varnish keep what is being written."""

_ORIGIN_PORT = "8080"  # as the files have it

# What stands around a file of /etc/nginx/conf.d. Its workers can't write in our folder: what isn't
# passed on at once fails.
_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/pid;
lock_file {folder}/lock;
error_log stderr crit;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/chunkstore.conf;
}}
"""


def _changed(text: str, changes: dict[str, str]) -> str:
    """A user's file with other addresses; each must stand in it once."""
    for old, new in changes.items():
        assert text.count(old) == 1, f"{old!r} must stand in the file once"
        text = text.replace(old, new)
    return text


def _nginx(folder: Path, program: str, port: int, origin_port: int) -> list[str]:
    changes = {
        f"server 127.0.0.1:{_ORIGIN_PORT};": f"server {HOST}:{origin_port};",
        "listen 80;": f"listen {HOST}:{port} backlog={BACKLOG};",
    }
    text = _changed((_PACKAGING / "nginx.conf").read_text(encoding="utf-8"), changes)
    (folder / "chunkstore.conf").write_text(text, encoding="utf-8")
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder), encoding="utf-8")
    return [program, "-e", "stderr", "-p", str(folder), "-c", str(config)]


def _varnish(folder: Path, program: str, port: int, origin_port: int) -> list[str]:
    changes = {f'.port = "{_ORIGIN_PORT}"': f'.port = "{origin_port}"'}
    text = _changed((_PACKAGING / "varnish.vcl").read_text(encoding="utf-8"), changes)
    config = folder / "chunkstore.vcl"
    config.write_text(text, encoding="utf-8")
    unit = (_PACKAGING / "varnish.service.conf").read_text(encoding="utf-8")
    line = unit.rpartition("ExecStart=")[2].replace("\\\n", " ")
    changes = {
        "/usr/sbin/varnishd": program,
        "unix,user=vcache": "none",  # the jail's user couldn't read our folder
        "-S /etc/varnish/secret": "",
        "-T localhost:6082": "-T none",
        "-a :6081": f"-a {HOST}:{port}",
        "/etc/varnish/chunkstore.vcl": shlex.quote(str(config)),
    }
    return [*shlex.split(_changed(line, changes)), "-n", str(folder / "varnish")]


@dataclass(frozen=True)
class Front:
    """A proxy: its name, the program it needs, and what makes its command."""

    name: str
    program: str
    _command: Callable[[Path, str, int, int], list[str]]

    def missing(self) -> str | None:
        """Why it can't run here, in a sentence; None if it can."""
        if find_program(self.program) is None:
            return f"there is no program {self.program} here"
        return None

    def command(self, origin_port: int) -> list[str]:
        """What runs it in front of an origin on this machine, from the repository's root."""
        return [sys.executable, "-m", "bench.front", self.name, str(origin_port)]

    def run(self, origin_port: int) -> int:
        """Run it until SIGTERM, and say where it listens; its exit code."""
        program, port = find_program(self.program) or self.program, free_port()
        with tempfile.TemporaryDirectory(prefix="chunkstore-bench-") as name:
            command = self._command(Path(name), program, port, origin_port)
            with subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            ) as process:

                def on_terminate(number: int, frame: FrameType | None) -> None:
                    process.terminate()

                signal.signal(signal.SIGTERM, on_terminate)
                if wait_for_listener(port):
                    announce(port)
                else:
                    process.terminate()
                return process.wait()


FRONTS = {
    front.name: front
    for front in (Front(NGINX, NGINX, _nginx), Front("varnish", "varnishd", _varnish))
}
"""By name."""


def _main() -> int:
    name, origin_port = sys.argv[1:]
    front = FRONTS[name]
    if reason := front.missing():
        print(reason, file=sys.stderr)
        return 2
    return front.run(int(origin_port))


if __name__ == "__main__":
    sys.exit(_main())

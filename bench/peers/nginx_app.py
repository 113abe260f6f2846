"""nginx at its best for complete objects: files that its dav module stores, sent with sendfile.

It has no read-while-write: a PUT becomes visible when it is complete, by a rename. One worker, no
access log, open files cached; an object that is replaced may be served as it was for up to a second
(that is what open_file_cache_valid costs). All that it writes is in a folder that goes with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType

from bench.peers import NGINX, find_program
from bench.peers.listening import BACKLOG, HOST, announce, free_port, wait_for_listener

__all__: list[str] = []

_CONFIG = """
daemon off;
{user}
worker_processes 1;
pid {folder}/pid;
lock_file {folder}/lock;
error_log stderr crit;
events {{ worker_connections 16384; multi_accept on; }}
http {{
    access_log off;
    server_tokens off;
    default_type video/mp4;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    open_file_cache max=16384 inactive=60s;
    open_file_cache_valid 1s;
    client_max_body_size 0;
    client_body_temp_path {folder}/files/.part;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {host}:{port} backlog={backlog};
        root {folder}/files;
        location / {{ dav_methods PUT DELETE; create_full_put_path on; }}
    }}
}}
"""


def _write_config(folder: str, port: int) -> Path:
    # Started as root, nginx would give its worker to somebody who can't read our folder.
    user = "user root;" if os.getuid() == 0 else ""
    config = Path(folder, "nginx.conf")
    config.write_text(
        _CONFIG.format(folder=folder, host=HOST, port=port, backlog=BACKLOG, user=user)
    )
    Path(folder, "files").mkdir()
    return config


def _main() -> int:
    program = find_program(NGINX)
    if program is None:
        print(f"there is no program {NGINX} here", file=sys.stderr)
        return 2
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="chunkstore-bench-") as folder:
        config = _write_config(folder, port)
        command = [program, "-e", "stderr", "-p", folder, "-c", str(config)]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as nginx:

            def on_terminate(number: int, frame: FrameType | None) -> None:
                nginx.terminate()

            signal.signal(signal.SIGTERM, on_terminate)
            if wait_for_listener(port):
                announce(port)
            else:
                nginx.terminate()
            return nginx.wait()


if __name__ == "__main__":
    sys.exit(_main())

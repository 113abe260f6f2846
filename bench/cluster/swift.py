"""OpenStack Swift on this machine: its servers on seven devices, with a policy of EC 5+2.

As a careful operator would have it, and as much like ours as it can be: seven object servers of one
device each, one container and one account server, memcached, a proxy; no logs, no background
daemons, no authentication. What is read stays in the page cache (`keep_cache_private`; by default
Swift would have it read from disk each time). It is durable as it comes: an object server fsyncs
each fragment, and again its folder behind the rename that makes it count; the proxy answers once
six of the seven have done so.

It comes from PyPI, in a version that is pinned, into the cache of what benchmarks need.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.build import BenchError, cache_folder
from bench.cluster.party import Party, free_ports

__all__ = ["CONTAINER", "DEVICES", "VERSION", "configs", "missing", "run"]

VERSION = "2.38.3"
DEVICES = 7
CONTAINER = "/v1/AUTH_bench/objects"
_SERVERS = ("account", "container", "object")
_PACKAGES = (f"swift=={VERSION}", "pyeclib==1.8.0", "eventlet==0.41.3")
_INSTALL_S = 300.0
_READY_S = 30.0

_SWIFT_CONF = """\
[swift-hash]
swift_hash_path_suffix = bench
[storage-policy:0]
name = ec
policy_type = erasure_coding
ec_type = isa_l_rs_cauchy
ec_num_data_fragments = 5
ec_num_parity_fragments = 2
default = yes
"""
_SHARED = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {etc}
user = {user}
workers = {workers}
log_level = CRITICAL
log_statsd_host =
"""
_STORAGE = """\
devices = {devices}
mount_check = false
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
_OBJECT = "keep_cache_private = true\nkeep_cache_size = 1073741824\n"
_PROXY = """\
[pipeline:main]
pipeline = catch_errors cache proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
"""
# A server reads the folder's policies only before it begins; else /etc/swift is what it knows.
_PROGRAM = """
import sys
from swift.common.utils import set_swift_dir
kind, folder, settings = sys.argv[1:]
set_swift_dir(folder)
from swift.common.storage_policy import reload_storage_policies
reload_storage_policies()
from importlib import import_module
server = import_module({"object": "swift.obj"}.get(kind, f"swift.{kind}") + ".server")
sys.argv = [f"swift-{kind}-server", settings]
server.main()
"""


def missing(place: str | None) -> str | None:
    """Why it can't run here, or None; what can be installed isn't missing.

    Args:
        place: a folder of the disk that it would run on; None: where temporary files are.
    """
    if shutil.which("memcached") is None:
        return "there is no memcached, without which it asks for everything anew"
    try:
        _installed()
    except BenchError as error:
        return str(error)
    with tempfile.NamedTemporaryFile(dir=place) as file:
        try:
            os.setxattr(file.name, "user.bench", b"1")
        except OSError as error:
            return f"files there can't have extended attributes: {error.strerror}"
    return None


def _installed() -> Path:
    """The folder that its packages are in; installed if the cache has none.

    Raises:
        BenchError: pip failed.
    """
    folder = cache_folder() / f"swift-{VERSION}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as half:
        target = Path(half, "packages")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target)]
        try:
            done = subprocess.run(
                [*command, *_PACKAGES],
                capture_output=True,
                text=True,
                timeout=_INSTALL_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BenchError(f"pip took over {_INSTALL_S:.0f} s for swift {VERSION}") from None
        if done.returncode != 0:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise BenchError(f"pip could not install swift {VERSION}: {(said or ['?'])[-1]}")
        with contextlib.suppress(OSError):  # somebody else was faster
            target.rename(folder)  # whole or absent
    return folder


@dataclass(frozen=True)
class Ports:
    """Where each listens."""

    proxy: int
    memcached: int
    account: int
    container: int
    objects: tuple[int, ...]

    @classmethod
    def free(cls) -> Ports:
        """Some that nobody has."""
        proxy, memcached, account, container, *objects = free_ports(4 + DEVICES)
        return cls(proxy, memcached, account, container, tuple(objects))


def configs(folder: Path, ports: Ports, user: str) -> dict[str, str]:
    """Name -> text of each file of settings.

    Args:
        folder: of all its data; `etc` in it has the settings.
        user: that the processes run as; ours.
    """

    def shared(port: int, workers: str) -> str:
        return _SHARED.format(port=port, etc=folder / "etc", user=user, workers=workers)

    def storage(kind: str, name: str, port: int) -> str:
        return shared(port, "1") + _STORAGE.format(kind=kind, devices=folder / name)

    files = {
        "swift": _SWIFT_CONF,
        "proxy": shared(ports.proxy, "auto") + _PROXY.format(memcached=ports.memcached),
        "account": storage("account", "account", ports.account),
        "container": storage("container", "container", ports.container),
    }
    for number, port in enumerate(ports.objects, 1):
        files[f"object-{number}"] = storage("object", f"object-{number}", port) + _OBJECT
    return files


@contextmanager
def run(folder: Path) -> Iterator[Party]:
    """A proxy and what is behind it, with a container; ended with the block.

    Args:
        folder: for its data; empty.
    Raises:
        BenchError: it doesn't come up.
    """
    packages = _installed()
    env = {"PYTHONPATH": str(packages), "PYTHONWARNINGS": "ignore"}
    ports = Ports.free()
    files = configs(folder, ports, _user())
    (folder / "etc").mkdir()
    for name, text in files.items():
        (folder / "etc" / f"{name}.conf").write_text(text)
        (folder / name / "d1").mkdir(parents=True)
    _make_rings(folder / "etc", ports, packages, env)
    with Party.open("swift", folder) as party:
        memcached = shutil.which("memcached") or "memcached"
        listen = ["-l", "127.0.0.1", "-p", str(ports.memcached), "-U", "0"]
        party.start("memcached", [memcached, "-u", _user(), *listen])
        for name in files:
            if name != "swift":
                kind = name.partition("-")[0]
                words = [kind, str(folder / "etc"), str(folder / "etc" / f"{name}.conf")]
                party.start(name, [sys.executable, "-c", _PROGRAM, *words], env)
        party.port = ports.proxy
        party.until_open(
            [ports.memcached, ports.account, ports.container, *ports.objects, ports.proxy]
        )
        _make_container(party)
        yield party


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _make_rings(etc: Path, ports: Ports, packages: Path, env: dict[str, str]) -> None:
    devices = {"account": [ports.account], "container": [ports.container], "object": ports.objects}
    program = [sys.executable, str(packages / "bin" / "swift-ring-builder")]
    for kind in _SERVERS:
        builder = str(etc / f"{kind}.builder")
        words = [
            word
            for zone, port in enumerate(devices[kind], 1)
            for word in (f"r1z{zone}-127.0.0.1:{port}/d1", "1")
        ]
        replicas = str(len(devices[kind]))
        for step in (["create", "8", replicas, "1"], ["add", *words], ["rebalance"]):
            done = subprocess.run(
                [*program, builder, *step],
                env={**os.environ, **env},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode not in (0, 1):  # 1: with a warning
                raise BenchError(f"swift-ring-builder {step[0]}: {done.stdout.strip()[-200:]}")


def _make_container(party: Party) -> None:
    """Once it is there, the proxy has found all the others.

    Raises:
        BenchError: it isn't, in half a minute.
    """
    deadline_s = time.monotonic() + _READY_S
    while True:
        party.check()
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(party.host, party.port, timeout=10)
            with contextlib.closing(connection):
                connection.request("PUT", CONTAINER, headers={"Content-Length": "0"})
                status = connection.getresponse().status
                if status in (201, 202):
                    return
        if time.monotonic() > deadline_s:
            raise BenchError(f"swift made no container in {_READY_S:.0f} s")
        time.sleep(0.2)

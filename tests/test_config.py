"""Settings: precedence, sources, bounds, and errors that name the place."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cli.config import render_settings
from chunkstore.config import SETTINGS, ListenAddress, Settings, parse_listen, resolve
from chunkstore.errors import SettingsError
from chunkstore.policy import Policy, PolicyRow

MIB = 2**20


def test_defaults_are_those_of_the_design() -> None:
    settings, sources = resolve({}, {}, None)
    assert (
        settings
        == Settings()
        == Settings(
            listen=("127.0.0.1:8080",),
            tls_cert=None,
            tls_key=None,
            open_writes=False,
            open_reads=True,
            sign_key_file=None,
            memory_bytes=1024 * MIB,
            data=None,
            sync="close",
            disk_bytes=None,
            disk_reserve_bytes=256 * MIB,
            scrub_s=None,
            max_object_bytes=None,
            max_objects=1_000_000,
            ttl_s=None,
            max_connections=16_384,
            head_bytes=65_536,
            max_fields=100,
            target_bytes=8_192,
            header_timeout_s=10.0,
            idle_timeout_s=75.0,
            upload_idle_s=20.0,
            reader_stall_s=10.0,
            drain_s=10.0,
            hold_cap_s=5.0,
            max_waiters=10_000,
            discard_s=20.0,
            send_buffer_bytes=512 * 1024,
            backlog=4_096,
            log="auto",
            policies=(),
            tokens=(),
        )
    )
    assert set(sources.values()) == {"default"}
    assert set(sources) == {item.name for item in fields(Settings)}


@pytest.mark.parametrize("with_flag", [False, True])
@pytest.mark.parametrize("with_variable", [False, True])
@pytest.mark.parametrize("with_file", [False, True])
def test_flags_over_environment_over_file_over_defaults(
    with_flag: bool, with_variable: bool, with_file: bool
) -> None:
    settings, sources = resolve(
        {"memory": "3MiB" if with_flag else None},
        {"CHUNKSTORE_MEMORY": "2MiB", "HOME": "x"} if with_variable else {"HOME": "x"},
        'memory = "1MiB"' if with_file else None,
        file_name="a.toml",
    )
    ranks = [
        (with_flag, 3 * MIB, "flag --memory"),
        (with_variable, 2 * MIB, "environment CHUNKSTORE_MEMORY"),
        (with_file, MIB, "file a.toml"),
        (True, 1024 * MIB, "default"),
    ]
    expected, source = next((value, name) for there, value, name in ranks if there)
    assert settings.memory_bytes == expected
    assert sources["memory_bytes"] == source


def test_a_file_with_everything() -> None:
    text = """
        listen = ["127.0.0.1:0", "[::1]:0", "unix:/run/chunkstore.sock"]
        memory = "2GB"
        max_object = 1048576
        ttl = "1h"
        idle = 60
        header_timeout = "500ms"
        log = "json"

        [[policies]]
        match = "/live/ *.bin"
        ttl = "30s"

        [[policies]]
        match = ["/vod/"]
        ttl = "none"
    """
    settings, _ = resolve({}, {}, text)
    assert settings.listen == ("127.0.0.1:0", "[::1]:0", "unix:/run/chunkstore.sock")
    assert settings.memory_bytes == 2 * 10**9
    assert settings.max_object_bytes == MIB
    assert settings.ttl_s == 3600
    assert settings.idle_timeout_s == 60
    assert settings.header_timeout_s == 0.5
    assert settings.log == "json"
    assert settings.policies == (
        PolicyRow(("/live/", "*.bin"), {"ttl_s": 30.0}),
        PolicyRow(("/vod/",), {"ttl_s": None}),
    )
    table = settings.policy_table()
    assert table.for_key("/live/x").ttl_s == 30
    assert table.for_key("/vod/x").ttl_s is None
    assert table.for_key("/x") == Policy(ttl_s=3600.0, max_object_bytes=MIB, upload_idle_s=20.0)


def test_a_lone_listener_in_a_file_needs_no_list() -> None:
    assert resolve({}, {}, 'listen = "127.0.0.1:0"')[0].listen == ("127.0.0.1:0",)


def test_listeners_in_the_environment() -> None:
    environ = {"CHUNKSTORE_LISTEN": "127.0.0.1:0, [::1]:0 unix:/run/x"}
    assert resolve({}, environ, None)[0].listen == ("127.0.0.1:0", "[::1]:0", "unix:/run/x")


def test_variables_that_are_no_settings() -> None:
    environ = {
        "CHUNKSTORE_CONFIG": "a.toml",
        "CHUNKSTORE_SERVICE_HOST": "10.0.0.1",
        "CHUNKSTORE_SERVICE_PORT_HTTP": "80",
        "CHUNKSTORE_PORT": "tcp://10.0.0.1:80",
        "CHUNKSTORE_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert resolve({}, environ, None)[0] == Settings()


@pytest.mark.parametrize(
    ("flags", "environ", "text", "message"),
    [
        ({"memory": "much"}, {}, None, "--memory: expected a size such as"),
        ({"memory": "0"}, {}, None, "--memory: expected 1 to 1024TiB, got 0"),
        ({"ttl": "0"}, {}, None, "--ttl: expected 1ms to 3650d, got 0s"),
        ({"disk": "256MiB"}, {}, None, "disk: nothing could be stored: disk_reserve keeps"),
        ({"max_connections": "-1"}, {}, None, "--max-connections: expected 1 to 1000000, got -1"),
        ({"log": "xml"}, {}, None, "--log: expected one of auto, human, json, off, got 'xml'"),
        ({}, {"CHUNKSTORE_TTL": "soon"}, None, "CHUNKSTORE_TTL: expected a duration such as"),
        (
            {},
            {"CHUNKSTORE_MEMROY": "1"},
            None,
            "environment: there is no 'CHUNKSTORE_MEMROY'; did you mean 'CHUNKSTORE_MEMORY'?",
        ),
        ({}, {"CHUNKSTORE_POLICIES": "x"}, None, "environment: there is no 'CHUNKSTORE_POLICIES'"),
        ({}, {"CHUNKSTORE_LISTEN": ""}, None, "CHUNKSTORE_LISTEN: expected HOST:PORT"),
        ({}, {}, "memroy = 1", "f.toml: there is no 'memroy'; did you mean 'memory'?"),
        ({}, {}, "zzz = 1", "f.toml: there is no 'zzz'; expected one of admin, assignment,"),
        ({}, {}, "memory = ", "f.toml: no valid TOML: "),
        ({}, {}, "memory = 1.5", "f.toml: memory: expected a size such as"),
        ({}, {}, "memory = " + "[" * 5000, "f.toml: no valid TOML: "),
        ({}, {}, "memory = " + "1" * 5000, "f.toml: no valid TOML: "),
        ({}, {}, "ttl = 1e308", "f.toml: ttl: expected a duration of at most 1000000d, got 1e+308"),
        ({}, {}, "ttl = nan", "f.toml: ttl: expected a duration such as"),
        ({}, {}, "backlog = true", "f.toml: backlog: expected a whole number"),
        ({}, {}, "open_writes = 1", "f.toml: open_writes: expected true or false"),
        ({}, {}, "log = 5", "f.toml: log: expected one of auto, human, json, off, got 5"),
        ({}, {}, "listen = 8080", "f.toml: listen: expected a text or a list of texts, got 8080"),
        ({}, {}, "listen = []", "f.toml: listen: expected 1 to 64 addresses"),
        ({}, {}, "policies = 5", "f.toml: policies: expected rows, each under [[policies]]"),
        (
            {},
            {},
            '[[policies]]\nmatch = "/a"\n[[policies]]\nmatch = "/b"\nttl = "x"',
            "f.toml: policies[1].ttl: expected a duration such as",
        ),
        ({"listen": ("0.0.0.0:80",)}, {}, None, "listen: other machines could write and delete on"),
        ({"listen": ("[::]:80",)}, {}, None, "listen: other machines could write and delete on"),
        ({"listen": (":80",)}, {}, None, "--listen: a host is missing in ':80': say 127.0.0.1:80"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_its_place(
    flags: dict[str, object], environ: dict[str, str], text: str | None, message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        resolve(flags, environ, text, file_name="f.toml")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["memory_bytes", "max_object_bytes", "backlog", "hold_cap_s"])
def test_settings_made_by_a_program_are_checked_too(name: str) -> None:
    with pytest.raises(SettingsError, match="expected"):
        Settings(**{name: -1})  # type: ignore[arg-type]  # any of the fields


def test_settings_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().log = "off"  # type: ignore[misc]


def test_the_largest_object_is_what_memory_or_the_disk_takes() -> None:
    assert Settings().object_limit_bytes == 256 * MIB
    assert Settings(data="/data").object_limit_bytes == 2**50
    assert Settings(data="/data", disk_bytes=2**40).object_limit_bytes == 2**40
    assert Settings(data="/data", max_object_bytes=MIB).object_limit_bytes == MIB


def test_open_writes_lets_a_listener_leave_loopback() -> None:
    flags = {"listen": ("0.0.0.0:80", "192.0.2.1:80"), "open_writes": True}
    assert resolve(flags, {}, None)[0].open_writes


def test_the_table_of_settings_is_whole() -> None:
    assert {setting.name for setting in SETTINGS} == {item.name for item in fields(Settings)}
    assert len(SETTINGS) == len(fields(Settings))
    assert len({setting.key for setting in SETTINGS}) == len(SETTINGS)
    for setting in SETTINGS:
        assert setting.reason.endswith("."), setting.name
        if setting.kind in ("size", "count", "duration"):
            assert setting.minimum < setting.maximum, setting.name
            suffix = {"size": "_bytes", "duration": "_s", "count": ""}[setting.kind]
            assert setting.name.endswith(suffix), setting.name
    assert {setting.flag for setting in SETTINGS if setting.is_flag} == {
        *("--data", "--sync", "--disk", "--scrub", "--cluster-listen", "--join", "--secret-file"),
        *(
            "--listen",
            "--admin",
            "--open-writes",
            "--memory",
            "--max-object",
            "--ttl",
            "--header-timeout",
        ),
        *("--upload-idle", "--idle", "--max-connections", "--log"),
        *("--tls-cert", "--tls-key", "--sign-key-file"),
        *("--heal-after", "--repair-rate", "--move-rate", "--scrub-parts"),
        *("--assignment", "--assignment-poll", "--quota", "--refuse-private"),
        *("--fetch-chunks", "--fetch-files", "--fetch-per-chunk", "--fetch-per-host"),
    }


@pytest.mark.parametrize(
    ("text", "address", "is_loopback"),
    [
        ("127.0.0.1:8080", ListenAddress("127.0.0.1", 8080), True),
        ("127.9.9.9:0", ListenAddress("127.9.9.9", 0), True),
        ("localhost:80", ListenAddress("localhost", 80), True),
        ("[::1]:80", ListenAddress("::1", 80), True),
        ("[::ffff:127.0.0.1]:80", ListenAddress("::ffff:127.0.0.1", 80), True),
        ("unix:/run/x.sock", ListenAddress("", 0, "/run/x.sock"), True),
        ("unix:x:80", ListenAddress("", 0, "x:80"), True),
        ("0.0.0.0:80", ListenAddress("0.0.0.0", 80), False),
        ("[::]:80", ListenAddress("::", 80), False),
        ("[::ffff:192.0.2.1]:80", ListenAddress("::ffff:192.0.2.1", 80), False),
        ("192.0.2.1:65535", ListenAddress("192.0.2.1", 65535), False),
        ("origin.example:80", ListenAddress("origin.example", 80), False),
        ("localhost.example:80", ListenAddress("localhost.example", 80), False),
    ],
)
def test_addresses(text: str, address: ListenAddress, is_loopback: bool) -> None:
    assert parse_listen(text) == address
    assert address.is_loopback is is_loopback


@pytest.mark.parametrize(
    "text",
    ["", "8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:http"]
    + ["::1:80", "[::1]", "[zz]:80", "[127.0.0.1]:80", "300.0.0.1:80", "1.2.3:80", ":80", "unix:"]
    + ["a b:80", "-a:80", "http://127.0.0.1:80", "unix:" + "x" * 108],
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|in brackets|host is missing"):
        parse_listen(text)


DURATIONS = st.integers(1, 3_600_000).map(lambda milliseconds: milliseconds / 1000)
ROWS = st.builds(
    lambda patterns, sets: PolicyRow(tuple(patterns), sets),
    st.lists(st.text(min_size=1).map(lambda text: "/" + text), min_size=1, max_size=3),
    st.fixed_dictionaries(
        {},
        optional={
            "ttl_s": st.none() | DURATIONS,
            "hold_s": DURATIONS,
            "atomic": st.booleans(),
            "max_object_bytes": st.integers(1, 2**40),
            "on_idle": st.sampled_from(["abort", "complete"]),
            "cache_open": st.sampled_from(["no-store", 'private, x="\\"']),
        },
    ),
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "listen": st.sampled_from([('unix:/run/ä "x".sock',), ("127.0.0.1:0", "[::1]:0")]),
            "open_writes": st.booleans(),
            "memory_bytes": st.integers(1, 2**50),
            "ttl_s": st.none() | DURATIONS,
            "idle_timeout_s": DURATIONS,
            "max_waiters": st.integers(0, 1_000_000),
            "log": st.sampled_from(["auto", "human", "json", "off"]),
            "policies": st.lists(ROWS, max_size=3).map(tuple),
        },
    )
)
def test_what_config_prints_sets_the_same(values: dict[str, object]) -> None:
    settings = Settings(**values)  # type: ignore[arg-type]  # drawn by field
    _, sources = resolve({}, {}, None)
    printed = render_settings(settings, sources)
    again, _ = resolve({}, {}, printed)
    assert again == settings

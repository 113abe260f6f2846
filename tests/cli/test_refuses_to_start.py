"""What is wrong with the input of `chunkstore serve` is one line and exit code 2, and no port."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from chunkstore.auth import make_secret, secret_hash
from chunkstore.cli import main
from tests.cli.server import COMMAND

DEADLINE_S = 30
ROW = f'[[token]]\nname = "a"\nhash = "{secret_hash(make_secret(bytes(32)))}"\n'
SECRET = make_secret(b"s" * 32)
FREE = "127.0.0.1:0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates and settings, good and bad; nothing is written there."""
    tmp_path = tmp_path_factory.mktemp("settings")
    one, other = (trustme.CA().issue_cert("localhost") for _ in range(2))
    one.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    one.private_key_pem.write_to_path(tmp_path / "key.pem")
    other.private_key_pem.write_to_path(tmp_path / "other.pem")
    key = load_pem_private_key(one.private_key_pem.bytes(), None)
    locked = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
    )
    (tmp_path / "locked.pem").write_bytes(locked)
    (tmp_path / "text.pem").write_text("no PEM")
    (tmp_path / "empty").write_text("")
    (tmp_path / "keys").write_text("csk_short\n")
    for name, text in {
        "unknown": "memroy = 1",
        "token": ROW.replace("name", "nmae"),
        "secret": f'[[token]]\nname = "a"\nhash = "{SECRET}"\n',
        "method": f'{ROW}methods = ["GTE"]',
        "prefix": f'{ROW}prefixes = "live/"',
        "admin": f'{ROW}methods = "ADMIN"\nprefixes = "/live/"',
        "expires": f'{ROW}expires = "tomorrow"',
        "naive": f"{ROW}expires = 2027-01-01T00:00:00",
        "twice": ROW + ROW,
        "same": ROW + ROW.replace('"a"', '"b"'),
        "plain": "token = 5",
        "closed": "open_reads = false",
        "good": ROW,
    }.items():
        (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path


TLS = "--tls-cert cert.pem --tls-key"
CASES = [
    ("--config missing.toml", "missing.toml: No such file or directory"),
    ("--config .", ".: Is a directory"),
    ("--config unknown.toml", "unknown.toml: there is no 'memroy'; did you mean 'memory'?"),
    ("--config token.toml", "token.toml: token[0]: there is no 'nmae'; did you mean 'name'?"),
    ("--config secret.toml", "secret.toml: token[0].hash: expected 'sha256:' and 64 hexadecimal"),
    ("--config method.toml", "method.toml: token[0].methods: there is no 'GTE'; did you mean"),
    ("--config prefix.toml", "prefix.toml: token[0].prefixes: expected 1 to 100 folders"),
    ("--config admin.toml", "admin.toml: token[0].prefixes: ADMIN shows every name"),
    ("--config expires.toml", "expires.toml: token[0].expires: expected a time with its zone"),
    ("--config naive.toml", "naive.toml: token[0].expires: expected a time with its zone"),
    ("--config twice.toml", "token[1]: the name 'a' is there twice"),
    ("--config same.toml", "token[1]: the hash of 'a' is there twice"),
    ("--config plain.toml", "plain.toml: token: expected rows, each under [[token]]"),
    ("--config closed.toml", "open_reads: nobody could read: make a token with GET"),
    (
        "--listen 0.0.0.0:0",
        "make a token for those who may (`chunkstore token`), say --open-writes",
    ),
    ("--admin 0.0.0.0:0", "make a token for it (`chunkstore token --methods ADMIN`)"),
    ("--admin 0.0.0.0:0 --config good.toml", "(`chunkstore token --methods ADMIN`)"),
    ("--sign-key-file missing", "missing: No such file or directory"),
    ("--sign-key-file empty", "empty: expected 1 to 16 keys, a line each"),
    ("--sign-key-file keys", "keys: expected 1 to 16 keys, a line each"),
    ("--tls-cert cert.pem", "tls_key: a certificate and its key go together"),
    ("--tls-key key.pem", "tls_cert: a certificate and its key go together"),
    (f"{TLS} missing.pem", "tls_key: missing.pem: No such file or directory"),
    (f"{TLS} .", "tls_key: .: Is a directory"),
    (f"{TLS} other.pem", "tls_key: other.pem is not the key of the certificate in cert.pem"),
    (f"{TLS} locked.pem", "tls_key: locked.pem has a password; take it off"),
    (f"{TLS} text.pem", "tls_cert: expected a certificate in cert.pem and its key in text.pem"),
    ("--tls-cert text.pem --tls-key key.pem", "tls_cert: expected a certificate in text.pem"),
    ("--tls-cert empty --tls-key key.pem", "tls_cert: expected a certificate in empty"),
]


@pytest.mark.parametrize(("flags", "expected"), CASES, ids=[flags for flags, _ in CASES])
def test_one_line_and_exit_code_2(
    folder: Path,
    flags: str,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    code = main(["serve", "--listen", FREE, *flags.split()])
    check(code, *capfd.readouterr(), expected)


@pytest.mark.parametrize("flag", ["--listen", "--admin"])
def test_an_address_that_is_taken(flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        run = subprocess.run(
            [*COMMAND, "serve", "--listen", FREE, flag, address],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
    expected = f"can't listen on {address}: Address already in use"
    check(run.returncode, run.stdout, run.stderr, expected)


def check(code: int, out: str, err: str, expected: str) -> None:
    """One line, which says this, and the exit code of wrong input."""
    assert code == 2
    assert err.startswith("chunkstore: ")
    assert expected in err
    assert err.count("\n") == 1
    assert out == ""
    assert "listening" not in err
    assert SECRET not in err

"""Frames: the right bytes for every reader, however slow, and no descriptor left behind."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.live.frames import SEGMENT_BYTES, SENDFILE_BYTES, FrameLog

LARGE = SENDFILE_BYTES + 1


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def pair(stack: ExitStack, family: int) -> tuple[socket.socket, socket.socket]:
    """A non-blocking sender whose buffers take some frames, and its peer."""
    if family == socket.AF_UNIX:
        ours, theirs = socket.socketpair()
    else:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    ours.setblocking(False)
    theirs.settimeout(10)
    return stack.enter_context(ours), stack.enter_context(theirs)


def received(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        assert more
        data += more
    return data


@pytest.fixture
def log() -> Iterator[FrameLog]:
    before = descriptors()
    log = FrameLog()
    yield log
    log.close()
    assert descriptors() == before


@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 100, SENDFILE_BYTES - 1, SENDFILE_BYTES, 70_000]), st.booleans()
        ),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([socket.AF_UNIX, socket.AF_INET]),
)
def test_what_was_put_is_what_comes_however_late(
    frames: list[tuple[int, bool]], family: int
) -> None:
    """The reader takes nothing before all frames were made, sent in part, and given up."""
    before = descriptors()
    with ExitStack() as stack:
        sender, reader = pair(stack, family)
        log = FrameLog()
        expected = b""
        for index, (size, is_split) in enumerate(frames):
            data = bytes([index + 1]) * size
            frame = log.frame([data[: size // 3], data[size // 3 :]] if is_split else [data])
            assert frame.size_bytes == size
            try:
                expected += data[: frame.send(sender)]
            except BlockingIOError:
                pass
            frame.release()
        log.close()
        assert received(reader, len(expected)) == expected
    assert descriptors() == before


def test_segments_are_replaced_and_closed(log: FrameLog) -> None:
    data = bytes(LARGE)
    before = descriptors()
    first = log.frame([data])
    assert descriptors() == before + 1
    for _ in range(3 * SEGMENT_BYTES // LARGE):
        log.frame([data]).release()
    assert descriptors() == before + 2  # the first frame's segment, and the newest
    first.release()
    assert descriptors() == before + 1


def test_small_frames_need_no_segment(log: FrameLog) -> None:
    before = descriptors()
    log.frame([b"small"]).release()
    assert descriptors() == before


@pytest.mark.parametrize("call", ["memfd_create", "pwritev"])
def test_without_descriptors_or_memory_the_frame_is_copied_for_each(
    log: FrameLog, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(os, call, fail)
    with ExitStack() as stack:
        sender, reader = pair(stack, socket.AF_UNIX)
        frame = log.frame([b"x" * LARGE])
        assert frame.send(sender) == LARGE
        frame.release()
        assert received(reader, LARGE) == b"x" * LARGE


def test_a_closed_socket_is_an_error_not_somebody_elses(log: FrameLog) -> None:
    with ExitStack() as stack:
        sender, _ = pair(stack, socket.AF_UNIX)
        frame = log.frame([bytes(LARGE)])
        sender.close()
        other, reader = pair(stack, socket.AF_UNIX)  # likely gets the number
        with pytest.raises(OSError, match="Bad file descriptor"):
            frame.send(sender)
        frame.release()
        other.close()
        assert reader.recv(1) == b""

"""Videos over a network and through a pipe: all on this machine."""

import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from helpers.made_media import encode
from helpers.made_videos import number_of
from helpers.messages import assert_says, raises

from effowt_d2.video import open_frames

ROOT = Path(__file__).parents[2]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server(tmp_path):
    """An HTTP server of the folder; its address."""
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


@pytest.fixture
def silent():
    """A port that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts", "v.flv"])
@pytest.mark.parametrize("start", [0.0, 0.55])
def test_a_video_over_http(tmp_path, server, name, start):
    encode(tmp_path / name, b_frames=True)
    first = 6 if start else 0
    with open_frames(f"http://{server}/{name}", start=start) as frames:
        given = [(frame.index, number_of(frame.image), frame.time) for frame in frames]
        assert frames.sizes == [(64, 48)] and frames.skipped == 0
        assert frames.length in (None, len(given))
    assert given == [(n, n, pytest.approx(n / 10, abs=1.1e-3)) for n in range(first, 12)]


def test_the_password_of_an_address_is_not_shown(tmp_path, server):
    encode(tmp_path / "v.mp4")
    with open_frames(f"http://me:secret@{server}/v.mp4", stride=5) as frames:
        assert [frame.name for frame in frames] == ["v:000000", "v:000005", "v:000010"]
        assert frames.name == f"http://{server}/v.mp4"
    with raises(ValueError, f"http://{server}/none.mp4") as error:
        open_frames(f"http://me:secret@{server}/none.mp4")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_silent_server_is_given_up_after_some_tries(silent, scheme):
    begin = time.monotonic()
    with raises(TimeoutError, f"{scheme}://{silent}/v", "0.3", 3):
        open_frames(f"{scheme}://{silent}/v", timeout=0.3)
    assert 0.9 < time.monotonic() - begin < 10


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_refused_connection(scheme):
    address = f"{scheme}://127.0.0.1:{_free_port()}/v"
    with raises(ConnectionError, address, 3):
        open_frames(address, timeout=2.0)


def test_an_unknown_protocol_is_not_tried_again():
    with raises(ValueError, "nothing://127.0.0.1/v"):
        open_frames("nothing://127.0.0.1/v")


@pytest.mark.parametrize("ending", ["closes", "hangs"])
def test_what_came_before_a_connection_broke_is_kept(tmp_path, ending):
    data = encode(tmp_path / "v.ts", 40, size=(320, 240)).read_bytes()
    open_connections = []

    def serve(listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data[: len(data) // 2])
            connection.close() if ending == "closes" else open_connections.append(connection)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/v.ts"
        given = []
        with pytest.raises(OSError) as error, open_frames(address, timeout=1.0) as frames:
            given.extend(frame.index for frame in frames)
    assert isinstance(error.value, ConnectionError if ending == "closes" else TimeoutError)
    assert_says(error.value, address)
    assert given == list(range(len(given))) and len(given) >= 15


def test_a_stop_is_noted_while_waiting(silent):
    begin = time.monotonic()
    with raises(InterruptedError, f"rtsp://{silent}/v"):
        open_frames(f"rtsp://{silent}/v", timeout=60, stop=lambda: time.monotonic() - begin > 0.2)
    assert time.monotonic() - begin < 20


# what reads standard input needs a process of its own; the reader's modules alone are quick to import
READ = """
import sys
from effowt_d2.video import open_frames
try:
    with open_frames("-", start=float(sys.argv[1])) as frames:
        print([frame.index for frame in frames], frames.skipped, frames.name)
except ValueError as error:
    print("ValueError", error)
"""


@pytest.mark.parametrize("name, start, expected", [("v.ts", 0, 0), ("v.mkv", 0.55, 6), ("text", 0, None)])
def test_standard_input(tmp_path, name, start, expected):
    data = b"no video " * 500 if name == "text" else encode(tmp_path / name).read_bytes()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(ROOT)])}
    command = [sys.executable, "-W", "ignore", "-c", READ, str(start)]
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, env=environment, cwd=tmp_path, timeout=300)
    printed = done.stdout.decode()
    if expected is None:
        assert_says(printed, "ValueError", "standard input")
    else:
        assert printed.startswith(str(list(range(expected, 12))))

"""Downloads against a real server on this machine."""

import hashlib
import http.server
import threading

import pytest

from deploy_nas.adapters import downloads
from deploy_nas.core.errors import DownloadError, OutputError

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
BLOB_ID = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT, usedforsecurity=False).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/absent":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if self.path == "/cut" else CONTENT)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv(downloads.CACHE_VARIABLE, str(tmp_path / "cache"))
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.asked = []
    running.url = f"http://127.0.0.1:{running.server_port}"
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def files(tmp_path):
    return sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())


@pytest.mark.parametrize("known", [{"sha256": SHA256.upper()}, {"git_blob_id": BLOB_ID}, {}])
def test_fetch_downloads_once(server, tmp_path, known, capfd):
    path = downloads.fetch(f"{server.url}/f", filename="f.bin", **known)
    assert path.read_bytes() == CONTENT
    assert downloads.fetch(f"{server.url}/f", filename="f.bin", **known) == path
    assert server.asked == ["/f"]
    assert files(tmp_path) == ["cache/f.bin"]
    assert capfd.readouterr() == ("", "")


def test_progress_ends_at_the_whole(server):
    seen = []
    downloads.fetch(f"{server.url}/f", filename="f", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)


def test_a_corrupt_file_in_the_cache_is_fetched_again(server, tmp_path):
    path = downloads.fetch(f"{server.url}/f", filename="f", git_blob_id=BLOB_ID)
    path.write_bytes(CONTENT[:-1])
    assert downloads.fetch(f"{server.url}/f", filename="f", git_blob_id=BLOB_ID).read_bytes() == CONTENT
    assert server.asked == ["/f", "/f"]


@pytest.mark.parametrize(
    ("place", "known", "message"),
    [
        ("/f", {"sha256": "0" * 64}, "not the file it should be .*sha256"),
        ("/f", {"git_blob_id": "0" * 40}, "not the file it should be .*git blob id"),
        ("/absent", {}, "the server answered 404"),
        ("/cut", {}, "cannot be downloaded .*the connection broke off"),
    ],
)
def test_what_is_wrong_is_never_kept(server, tmp_path, place, known, message):
    with pytest.raises(DownloadError, match=message) as caught:
        downloads.fetch(server.url + place, filename="f", **known)
    assert server.url + place in str(caught.value)
    assert "download it elsewhere" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files(tmp_path) == []


def test_a_failed_refetch_leaves_no_doubtful_file_behind_as_good(server, tmp_path):
    path = downloads.fetch(f"{server.url}/f", filename="f")
    path.write_bytes(b"old")
    with pytest.raises(DownloadError):
        downloads.fetch(f"{server.url}/cut", filename="f", sha256=SHA256)
    assert files(tmp_path) == ["cache/f"]
    assert path.read_bytes() == b"old"  # not ours to delete; never returned under that hash


def test_offline_says_so(server):
    port = server.server_port
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match="is this machine offline"):
        downloads.fetch(f"http://127.0.0.1:{port}/f", filename="f")


def test_other_addresses_are_refused(server):
    with pytest.raises(DownloadError, match="not a web address"):
        downloads.fetch("file:///etc/hostname", filename="f")


def test_a_cache_that_cannot_be_written(server, monkeypatch, tmp_path):
    (tmp_path / "taken").touch()
    monkeypatch.setenv(downloads.CACHE_VARIABLE, str(tmp_path / "taken"))
    with pytest.raises(OutputError, match=downloads.CACHE_VARIABLE):
        downloads.fetch(f"{server.url}/f", filename="f")

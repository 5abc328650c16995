"""The model download against a local server that behaves like the Hub, and like any other server."""

import hashlib
import http.server
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from huggingface_hub import constants

from consistent_face.core.model_catalog import FILES, HUGGINGFACE, ModelFile
from consistent_face.tools import models

CONTENT = bytes(range(256)) * 20_000
CHUNK = 1 << 16  # what has come is written in steps of this size
NOWHERE = "http://127.0.0.1:9"
HUB_PATH = "/owner/name/resolve/main/sub/model.bin"


@dataclass
class Server:
    """What it was asked and sent, and how it behaves."""

    url: str = ""
    asked: list[str] = field(default_factory=list)  # the Range of each GET, "" for none
    tokens: list[str] = field(default_factory=list)  # and its Authorization
    sent: int = 0
    ranges: bool = True  # obeys Range
    hang_ups: int = 0  # so many answers break off half way
    refuses_rest: bool = False  # HTTP status 503 for what is asked with a Range
    elsewhere: str = ""  # where the Hub redirects to, as to its CDN


def make_handler(server: Server) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(0)

        def answer(self, start: int) -> None:
            if self.path not in (HUB_PATH, "/model.bin"):
                return self.send_error(404)
            redirected = self.path == HUB_PATH and server.elsewhere
            self.send_response(302 if redirected else 206 if start else 200)
            self.send_header("ETag", '"etag"')
            self.send_header("X-Repo-Commit", "0" * 40)
            if redirected:
                self.send_header("Location", server.elsewhere)
                self.send_header("X-Linked-Size", str(len(CONTENT)))
            elif start:
                self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
            self.send_header("Content-Length", "0" if redirected else str(len(CONTENT) - start))
            self.end_headers()

        def do_GET(self) -> None:
            server.asked.append(self.headers.get("Range", ""))
            server.tokens.append(self.headers.get("Authorization", ""))
            asked = server.asked[-1] if server.ranges else ""
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            if start and server.refuses_rest:
                return self.send_error(503)
            if start >= len(CONTENT):
                return self.send_error(416)
            self.answer(start)
            if self.path == HUB_PATH and server.elsewhere:
                return
            content = CONTENT[start : len(CONTENT) // 2 if server.hang_ups else None]
            server.hang_ups -= bool(server.hang_ups)
            with suppress(ConnectionError):  # a full disk ends it early
                self.wfile.write(content)
                server.sent += len(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), make_handler(server)) as running:
        server.url = f"http://127.0.0.1:{running.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", CHUNK)
        monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
        threading.Thread(target=running.serve_forever, args=[0.01], daemon=True).start()
        yield server
        running.shutdown()


def entry(url: str, content: bytes = CONTENT, size: int | None = len(CONTENT), hashed: bool = True) -> ModelFile:
    digest = hashlib.sha256(content).hexdigest() if hashed else None
    return ModelFile("model.bin", "some/folder", url, size, digest, "Apache-2.0", True)


HUB = f"{HUGGINGFACE}{HUB_PATH}"


@pytest.fixture(params=["hub", "elsewhere"])
def url(request: pytest.FixtureRequest, server: Server) -> str:
    return HUB if request.param == "hub" else f"{server.url}/model.bin"


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """Where an interrupted download lies."""
    path = tmp_path / "some" / "folder" / "model.bin.part"
    path.parent.mkdir(parents=True)
    return path


def files_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_whole(server: Server, url: str, tmp_path: Path) -> None:
    said = models.obtain(entry(url), tmp_path, [tmp_path])
    target = tmp_path / "some" / "folder" / "model.bin"
    assert target.read_bytes() == CONTENT and server.sent == len(CONTENT)
    assert "sha256 verified" in said and str(target) in said
    assert files_in(tmp_path) == ["model.bin"]


def test_present_and_right_is_not_fetched(server: Server, url: str, tmp_path: Path) -> None:
    models.obtain(entry(url), tmp_path, [tmp_path])
    said = models.obtain(entry(url), tmp_path / "other", [tmp_path / "other", tmp_path])
    assert "already there" in said and len(server.asked) == 1


def test_present_and_wrong_is_not_overwritten(server: Server, url: str, part: Path, tmp_path: Path) -> None:
    target = part.with_name("model.bin")
    target.write_bytes(CONTENT[::-1])
    with pytest.raises(models.FetchError, match=r"is not the published .*: move it away"):
        models.obtain(entry(url), tmp_path, [tmp_path])
    assert target.read_bytes() == CONTENT[::-1] and not server.asked


def test_broken_off_goes_on_by_itself(server: Server, tmp_path: Path) -> None:
    server.hang_ups = 1
    assert models.fetch(entry(HUB), tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 2 and server.sent < len(CONTENT) + CHUNK


def test_broken_off_elsewhere_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.hang_ups = 1
    with pytest.raises(models.FetchError, match="could not be fetched"):
        models.fetch(entry(f"{server.url}/model.bin"), tmp_path)
    assert not files_in(tmp_path)


def test_interrupted_goes_on_in_the_next_run(server: Server, part: Path, tmp_path: Path) -> None:
    server.hang_ups, server.refuses_rest = 1, True
    with pytest.raises(models.FetchError, match=r"\(HTTP status 503\).* is kept, and the next try goes on"):
        models.fetch(entry(HUB), tmp_path)
    assert len(CONTENT) // 2 - CHUNK < part.stat().st_size <= len(CONTENT) // 2
    server.refuses_rest = False
    assert models.fetch(entry(HUB), tmp_path).read_bytes() == CONTENT
    assert server.sent < len(CONTENT) + CHUNK and files_in(tmp_path) == ["model.bin"]


def test_all_there_but_not_yet_installed_is_not_sent_again(server: Server, part: Path, tmp_path: Path) -> None:
    part.write_bytes(CONTENT)
    assert models.fetch(entry(HUB, size=None), tmp_path).read_bytes() == CONTENT
    assert not server.sent


def test_begun_anew_where_the_server_knows_no_ranges(server: Server, part: Path, tmp_path: Path) -> None:
    server.ranges = False
    part.write_bytes(CONTENT[:1000])
    assert models.fetch(entry(HUB), tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-"]


def test_more_than_the_file_is_begun_anew(server: Server, part: Path, tmp_path: Path) -> None:
    part.write_bytes(CONTENT + b"more")
    assert models.fetch(entry(HUB), tmp_path).read_bytes() == CONTENT
    assert server.asked == [""]


def test_token_stays_with_the_hub(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    server.elsewhere = server.url.replace("127.0.0.1", "localhost") + "/model.bin"
    assert models.fetch(entry(HUB), tmp_path).read_bytes() == CONTENT
    assert server.tokens == ["Bearer hf_secret", ""]


@pytest.mark.parametrize("size", [len(CONTENT), None, 7])
def test_corrupted_is_not_installed(server: Server, url: str, tmp_path: Path, size: int | None) -> None:
    with pytest.raises(models.FetchError, match="is not the file that was expected and was not installed"):
        models.fetch(entry(url, content=b"another", size=size), tmp_path)
    assert server.sent == len(CONTENT) and not files_in(tmp_path)


def test_unknown_hash_is_said(server: Server, url: str, part: Path, tmp_path: Path) -> None:
    part.write_bytes(CONTENT[:1000])
    said = models.obtain(entry(url, size=None, hashed=False), tmp_path, [tmp_path])
    assert "NOT verified" in said and part.with_name("model.bin").read_bytes() == CONTENT


def test_refused(server: Server, url: str, tmp_path: Path) -> None:
    with pytest.raises(models.FetchError, match="HTTP status 404") as error:
        models.fetch(entry(url.replace("model.bin", "gone.bin")), tmp_path)
    assert str(tmp_path / "some" / "folder") in str(error.value) and not files_in(tmp_path)


def test_offline_names_url_and_folder(
    server: Server, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", NOWHERE)
    unreachable = url.replace(server.url, NOWHERE)
    with pytest.raises(models.FetchError, match=r"\(no network, Connect\w*Error\)") as error:
        models.fetch(entry(unreachable), tmp_path)
    said = str(error.value)
    assert unreachable in said and str(tmp_path / "some" / "folder") in said and "kept" not in said
    assert "\n" not in said and not files_in(tmp_path)


def test_offline_keeps_what_came(server: Server, part: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", NOWHERE)
    part.write_bytes(CONTENT[:1000])
    with pytest.raises(models.FetchError, match="is kept"):
        models.fetch(entry(HUB), tmp_path)
    assert part.read_bytes() == CONTENT[:1000]


def test_disk_space_is_checked_first(server: Server, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(models.FetchError, match=r"needs 0\.01 GB more .* 0\.00 GB free"):
        models.fetch(entry(url), tmp_path)
    assert not server.asked


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_disk_full_on_the_way(server: Server, part: Path, tmp_path: Path) -> None:
    part.symlink_to("/dev/full")
    with pytest.raises(models.FetchError, match=r"could not be fetched \(No space left on device\)"):
        models.fetch(entry(HUB), tmp_path)
    assert not part.with_name("model.bin").exists()


def test_after_a_failure_the_others_are_tried(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["models", "buffalo_l", "--into", str(tmp_path)])
    assert models.main() == 1
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["det_10g.onnx", "w600k_r50.onnx"]
    assert all("HTTP status 404" in line for line in said)


def test_nothing_is_fetched_unasked(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["models", "--into", str(tmp_path)])
    assert models.main() == 0
    assert "sd_xl_base_1.0.safetensors" in capsys.readouterr().out and not server.asked


def test_choice_by_set_name_and_pack() -> None:
    assert {file.name for file in models.chosen(["buffalo_l"], None)} == {"det_10g.onnx", "w600k_r50.onnx"}
    sdxl = models.chosen(["sd_xl_base_1.0.safetensors"], "sdxl")
    assert len(sdxl) == len(set(sdxl)) == sum("sdxl" in file.sets for file in FILES)
    with pytest.raises(models.FetchError, match="no file 'nothing"):
        models.chosen(["nothing.bin"], None)


def test_table_lists_every_file_once(tmp_path: Path) -> None:
    lines = models.table([tmp_path]).splitlines()
    assert len(lines) == len(FILES) + 1
    row = next(line for line in lines if line.startswith("w600k_r50.onnx"))
    assert "174 MB" in row and "non-commercial" in row

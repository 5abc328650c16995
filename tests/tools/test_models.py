"""The fetcher against a server on this machine: whole, resumed, corrupted, refused, out of reach."""

import hashlib
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from consistent_face.core.catalog import FILES, ModelFile
from consistent_face.tools import models

CONTENT = bytes(range(256)) * 20_000


class Server(NamedTuple):
    url: str
    asked: list[str]  # the Range of each request, "" for none
    behaviour: dict[str, bool]  # "ranges": obeys Range; "hang up": breaks the first answer off half way


def make_handler(asked: list[str], behaviour: dict[str, bool]) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/model.bin":
                return self.send_error(404)
            asked.append(self.headers.get("Range", ""))
            partial = behaviour["ranges"] and bool(asked[-1])
            start = int(asked[-1].removeprefix("bytes=").rstrip("-")) if partial else 0
            if start >= len(CONTENT):
                return self.send_error(416)
            self.send_response(206 if partial else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            end = len(CONTENT)
            if behaviour.pop("hang up", False):
                end //= 2
            self.wfile.write(CONTENT[start:end])

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    asked: list[str] = []
    behaviour = {"ranges": True}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), make_handler(asked, behaviour)) as running:
        threading.Thread(target=running.serve_forever, args=[0.01], daemon=True).start()
        yield Server(f"http://127.0.0.1:{running.server_port}/model.bin", asked, behaviour)
        running.shutdown()


def entry(url: str, content: bytes = CONTENT, size: int | None = len(CONTENT), hashed: bool = True) -> ModelFile:
    digest = hashlib.sha256(content).hexdigest() if hashed else None
    return ModelFile("model.bin", "some/folder", url, size, digest, "Apache-2.0", True)


def test_whole(server: Server, tmp_path: Path) -> None:
    said = models.obtain(entry(server.url), tmp_path, [tmp_path])
    target = tmp_path / "some" / "folder" / "model.bin"
    assert target.read_bytes() == CONTENT
    assert "sha256 verified" in said and str(target) in said
    assert [path.name for path in target.parent.iterdir()] == ["model.bin"]


def test_present_and_right_is_not_fetched(server: Server, tmp_path: Path) -> None:
    models.obtain(entry(server.url), tmp_path, [tmp_path])
    said = models.obtain(entry(server.url), tmp_path / "other", [tmp_path / "other", tmp_path])
    assert "already there" in said and len(server.asked) == 1


def test_present_and_wrong_is_not_overwritten(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "some" / "folder" / "model.bin"
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT[::-1])
    with pytest.raises(models.FetchError, match=r"is not the published .*: move it away"):
        models.obtain(entry(server.url), tmp_path, [tmp_path])
    assert target.read_bytes() == CONTENT[::-1] and not server.asked


@pytest.mark.parametrize("ranges", [True, False])
def test_resumed(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.behaviour["ranges"] = ranges
    part = tmp_path / "some" / "folder" / "model.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:1000])
    assert models.fetch(entry(server.url), tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-"]


def test_broken_off_goes_on_by_itself(server: Server, tmp_path: Path) -> None:
    server.behaviour["hang up"] = True
    assert models.fetch(entry(server.url), tmp_path).read_bytes() == CONTENT
    first, second = server.asked
    assert first == "" and second.startswith("bytes=") and second != "bytes=0-"


def test_more_than_the_file_is_begun_anew(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "some" / "folder" / "model.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT + b"more")
    assert models.fetch(entry(server.url), tmp_path).read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT) + 4}-", ""]


def test_corrupted_is_not_installed(server: Server, tmp_path: Path) -> None:
    with pytest.raises(models.FetchError, match="is not the file that was expected and was not installed"):
        models.fetch(entry(server.url, content=b"another"), tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_unknown_hash_is_said(server: Server, tmp_path: Path) -> None:
    said = models.obtain(entry(server.url, size=None, hashed=False), tmp_path, [tmp_path])
    assert "NOT verified" in said


def test_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(models.FetchError, match="HTTP status 404") as error:
        models.fetch(entry(server.url.replace("model.bin", "gone.bin")), tmp_path)
    assert str(tmp_path / "some" / "folder") in str(error.value)


def test_offline_names_url_and_folder_and_keeps_what_came(tmp_path: Path) -> None:
    part = tmp_path / "some" / "folder" / "model.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:1000])
    with pytest.raises(models.FetchError) as error:
        models.fetch(entry("http://127.0.0.1:9/model.bin"), tmp_path)
    said = str(error.value)
    assert "http://127.0.0.1:9/model.bin" in said and str(part.parent) in said and "is kept" in said
    assert part.read_bytes() == CONTENT[:1000]


def test_disk_space_is_checked_first(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(models.FetchError, match=r"needs 0\.01 GB more .* 0\.00 GB free"):
        models.fetch(entry(server.url), tmp_path)
    assert not server.asked


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

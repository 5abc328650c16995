"""The doctor finds each fault from given facts and names its cure."""

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from consistent_face.core.model_catalog import FILES, ModelFile
from consistent_face.tools import doctor
from consistent_face.tools.doctor import Finding

CPU, GPU = {"onnxruntime": "1.31.1"}, {"onnxruntime-gpu": "1.31.1"}
CUDA = ["CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.mark.parametrize(
    ("found", "providers", "nvidia", "level"),
    [
        (CPU, ["CPUExecutionProvider"], False, "ok"),
        (GPU, CUDA, True, "ok"),
        (CPU | GPU, ["CPUExecutionProvider"], False, "ok"),
        (CPU, ["CPUExecutionProvider"], True, "note"),
        (CPU | GPU, ["CPUExecutionProvider"], True, "note"),
        (CPU | GPU, CUDA, True, "note"),
        ({}, [], False, "error"),
        (CPU, [], False, "error"),
    ],
)
def test_onnxruntime(found: dict[str, str], providers: list[str], nvidia: bool, level: str) -> None:
    finding = doctor.check_onnxruntime(found, providers, nvidia)
    assert finding.level == level
    assert (level == "note") == ("doctor --fix" in finding.cure)


def comfyui(tmp_path: Path, version: str) -> Path:
    (tmp_path / "comfyui_version.py").write_text(f'# a comment\n__version__ = "{version}"\n')
    return tmp_path


@pytest.mark.parametrize(("version", "level"), [("0.30.0", "ok"), ("0.100.1", "ok"), ("0.4.9", "error")])
def test_comfyui_version(tmp_path: Path, version: str, level: str) -> None:
    finding = doctor.check_comfyui(comfyui(tmp_path, version))
    assert finding.level == level and version in finding.said


def test_no_comfyui(tmp_path: Path) -> None:
    finding = doctor.check_comfyui(tmp_path)
    assert finding.level == "error" and str(tmp_path) in finding.said and "COMFYUI_PATH" in finding.cure


def test_python() -> None:
    assert doctor.check_python((3, 11, 0)).level == "ok"
    assert doctor.check_python((3, 10, 9)).level == "error"


@pytest.mark.parametrize(("version", "level"), [("2.1", "ok"), ("1.0", "ok"), ("0.7.3", "error")])
def test_insightface(version: str, level: str) -> None:
    assert doctor.check_insightface({"insightface": version}).level == level
    assert doctor.check_insightface({}).level == "error"


def test_opencv_duplicates() -> None:
    assert doctor.check_opencv({"opencv-python": "5.0"}).level == "ok"
    assert doctor.check_opencv({}).level == "error"
    twice = doctor.check_opencv({"opencv-python": "5.0", "opencv-python-headless": "4.9"})
    assert twice.level == "note"
    assert "uninstall -y opencv-python opencv-python-headless" in twice.cure


def test_opencv_without_a_screens_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.opencv_fault() is None
    monkeypatch.setattr(doctor, "opencv_fault", lambda: "libGL.so.1: cannot open shared object file")
    finding = doctor.check_opencv({"opencv-python": "5.0"})
    assert finding.level == "error" and "libGL.so.1" in finding.said and "libgl1" in finding.cure


def test_versions_leaves_out_what_is_not_installed() -> None:
    assert doctor.versions(["pytest", "no-such-distribution"]) == {"pytest": pytest.__version__}


def test_model_file_present_wrong_and_missing(tmp_path: Path) -> None:
    content = b"weights"
    file = ModelFile("m.bin", "f", "https://x/m", 7, hashlib.sha256(content).hexdigest(), "MIT", True, ("sd15", "sdxl"))
    missing = doctor.check_model(file, [tmp_path], hashed=True)
    assert missing == Finding("note", "missing: m.bin (0 MB)", "python dev.py models m.bin")
    path = tmp_path / "f" / "m.bin"
    path.parent.mkdir()
    path.write_bytes(content)
    assert doctor.check_model(file, [tmp_path], hashed=True).said == f"{path} (sha256 verified)"
    path.write_bytes(b"weighty")
    assert doctor.check_model(file, [tmp_path], hashed=False).level == "ok", "the size is right"
    assert doctor.check_model(file, [tmp_path], hashed=True).level == "error"
    path.write_bytes(b"short")
    assert doctor.check_model(file, [tmp_path], hashed=False).level == "error"


def run(monkeypatch: pytest.MonkeyPatch, findings: list[Finding]) -> int:
    monkeypatch.setattr(doctor, "examine", lambda hashed: findings)
    monkeypatch.setattr("sys.argv", ["doctor"])
    return doctor.main()


def test_exit_code_says_whether_it_is_usable(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    assert run(monkeypatch, [Finding("ok", "fine"), Finding("note", "slow", "do this")]) == 0
    assert "cure: do this" in capsys.readouterr().out
    assert run(monkeypatch, [Finding("error", "broken", "do that")]) == 1
    assert "1 to cure" in capsys.readouterr().out


def test_examination_covers_every_file_of_a_set() -> None:
    said = "\n".join(finding.said for finding in doctor.examine(hashed=False))
    assert all(file.name in said for file in FILES if file.sets)


@pytest.mark.parametrize(("nvidia", "wanted"), [(True, "onnxruntime-gpu"), (False, "onnxruntime")])
def test_fix_downloads_before_it_uninstalls(monkeypatch: pytest.MonkeyPatch, nvidia: bool, wanted: str) -> None:
    commands: list[list[str]] = []
    record: Callable[..., None] = lambda command, check: commands.append([str(part) for part in command[3:]])  # noqa: E731
    monkeypatch.setattr(doctor, "has_nvidia", lambda: nvidia)
    monkeypatch.setattr(subprocess, "run", record)
    doctor.fix()
    assert [command[0] for command in commands] == ["download", "uninstall", "install"]
    assert commands[0][-1] == wanted and set(commands[1][-2:]) == {"onnxruntime", "onnxruntime-gpu"}

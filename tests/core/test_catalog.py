"""The catalog's records are well formed, and its sentences say what to do."""

import re
from urllib.parse import urlsplit

import pytest

from consistent_face.core import model_catalog
from consistent_face.core.model_catalog import FILES

# What a workflow of each set cannot run without, as folders.
DIFFUSION = {"checkpoints", "ipadapter", "clip_vision", "controlnet", "upscale_models", "rembg", "safety"}
NEEDED = {
    "sd15": {*DIFFUSION, model_catalog.BUFFALO_FOLDER},
    "sdxl": {*DIFFUSION, model_catalog.BUFFALO_FOLDER},
    "faces": {model_catalog.BUFFALO_FOLDER},
}


def test_names_and_urls_are_unique() -> None:
    assert len({file.name for file in FILES}) == len({file.url for file in FILES}) == len(FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_record_is_well_formed(file: model_catalog.ModelFile) -> None:
    url = urlsplit(file.url)
    assert url.scheme == "https" and url.netloc in ("huggingface.co", "github.com")
    assert file.bytes is None or file.bytes > 1_000_000
    assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
    assert set(file.sets) <= NEEDED.keys()
    assert file.licence and ".." not in file.folder


@pytest.mark.parametrize("name", NEEDED)
def test_set_holds_a_whole_workflow(name: str) -> None:
    files = [file for file in FILES if name in file.sets]
    assert {file.folder for file in files} == NEEDED[name]
    assert all(file.bytes and file.sha256 for file in files), "what a set fetches can be verified"
    recognition = [file for file in files if file.folder == model_catalog.BUFFALO_FOLDER]
    assert len(recognition) == 2
    assert len(files) - len(recognition) == len(NEEDED[name]) - 1, "one file for each other folder"


def test_only_research_weights_are_not_for_commerce() -> None:
    assert all(file.commercial != ("research" in file.licence) for file in FILES)


def test_find_accepts_a_subfolder() -> None:
    for name in ("w600k_r50.onnx", "mine/w600k_r50.onnx", r"mine\w600k_r50.onnx"):
        found = model_catalog.find(name)
        assert found is not None and found.bytes == 174383860
    assert model_catalog.find("nothing.bin") is None


def test_missing_names_place_source_size_and_licence() -> None:
    said = model_catalog.missing("ip-adapter-faceid-plusv2_sdxl.bin")
    for part in ("models/ipadapter", "https://huggingface.co/h94/IP-Adapter-FaceID/", "1.49 GB", "research only"):
        assert part in said
    assert "\n" not in said


def test_missing_pack_names_all_its_files() -> None:
    said = model_catalog.missing("buffalo_l")
    for part in ("det_10g.onnx (17 MB)", "w600k_r50.onnx (174 MB)", "models/insightface/models/buffalo_l"):
        assert part in said


def test_missing_of_an_unknown_name_says_where_it_was_looked_for() -> None:
    assert "'my.bin'" in model_catalog.missing("my.bin", "ipadapter")
    assert "models/ipadapter" in model_catalog.missing("my.bin", "ipadapter")
    assert "http" not in model_catalog.missing("my.bin", "ipadapter")

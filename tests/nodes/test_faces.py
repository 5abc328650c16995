"""Load Face Analysis and Analyze Faces, and the identity built from them, as ComfyUI calls them."""

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import folder_paths
import pytest
import torch
from comfy_api.latest import io
from PIL import Image

from consistent_face.core.errors import FaceTooSmallError, ModelMissingError, NoFaceError
from consistent_face.core.faces.analysis import FaceAnalyzer
from consistent_face.core.image import load_photo, no_photo
from consistent_face.nodes.faces import NODES, AnalyzeFaces, LoadFaceAnalysis
from consistent_face.nodes.identity import BuildIdentity

PHOTOS = Path(__file__).resolve().parents[1] / "photos"
DEFAULTS = {"select": "largest", "index": "1", "min_size": 64, "detection_threshold": 0.5, "without_face": "error"}


@pytest.fixture(autouse=True)
def insightface_folder(face_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models" / "empty").mkdir(parents=True)
    (tmp_path / "models" / "vectron").symlink_to(face_pack)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "insightface", ([str(tmp_path)], set()))
    return tmp_path


@pytest.fixture(scope="module")
def analysis(face_pack: Path) -> FaceAnalyzer:
    return FaceAnalyzer(face_pack)


def told(output: io.NodeOutput) -> list[dict[str, Any]]:
    """What the face picker is told, by picture."""
    assert isinstance(output.ui, dict)
    return output.ui["faces"]


def photo(stem: str) -> torch.Tensor:
    return load_photo(str(PHOTOS / f"{stem}.jpg"), stem)[0]


@pytest.mark.parametrize("node", NODES)
def test_schemas_are_whole(node: type) -> None:
    schema = node.GET_SCHEMA()
    assert schema.node_id == f"ConsistentFace_{node.__name__}"
    assert schema.description and schema.search_aliases and schema.category == "consistent face/faces"
    assert (Path(__file__).resolve().parents[2] / "web" / "docs" / f"{schema.node_id}.md").exists()


def test_packs_are_offered_and_buffalo_l_always() -> None:
    model, provider = LoadFaceAnalysis.define_schema().inputs
    assert model.as_dict()["options"] == ["buffalo_l", "vectron"]
    assert provider.as_dict()["options"] == ["auto", "cpu", "cuda"] and provider.as_dict()["default"] == "auto"


def test_combos_never_change() -> None:
    options = {each.id: each.as_dict().get("options") for each in AnalyzeFaces.define_schema().inputs}
    assert options["select"] == ["largest", "left to right", "index", "all"]
    assert options["without_face"] == ["error", "skip", "bypass"]


def test_a_pack_is_loaded() -> None:
    (analyzer,) = LoadFaceAnalysis.execute("vectron", "cpu").args
    assert analyzer.recognizer.name == "w600k_mbf"


@pytest.mark.parametrize("model", ["buffalo_l", "empty", "../models/vectron"])
def test_a_missing_pack_says_where_to_get_it(model: str) -> None:
    with pytest.raises(ModelMissingError, match=f"'{model}' was not found: put") as raised:
        LoadFaceAnalysis.execute(model, "auto")
    assert ("det_10g.onnx" in str(raised.value)) == (model == "buffalo_l")
    assert LoadFaceAnalysis.validate_inputs(model) == str(raised.value)
    assert LoadFaceAnalysis.validate_inputs("vectron") is True


def test_from_photo_to_identity(analysis: FaceAnalyzer) -> None:
    faces, overlay, count, report = AnalyzeFaces.execute(analysis, photo("astronaut"), **DEFAULTS).args
    assert len(faces.chosen) == 1 and count == 1 and overlay.shape == (1, 512, 512, 3)
    assert report.startswith("Picture 1 of 1: 1 found, using face 1")
    identity, report, _ = BuildIdentity.execute({"faces0": faces}).args
    assert torch.allclose(identity.unit, faces.chosen[0].unit) and "w600k_mbf" in report


def test_no_photo_gives_the_empty_identity(analysis: FaceAnalyzer) -> None:
    faces, overlay, count, _ = AnalyzeFaces.execute(analysis, no_photo()[0], **DEFAULTS).args
    assert faces.photos == () and len(overlay) == 1 and count == 0
    assert BuildIdentity.execute({"faces0": faces}).args[0].is_empty


def test_a_picture_without_a_face(analysis: FaceAnalyzer) -> None:
    with pytest.raises(NoFaceError, match="picture 1 of 1"):
        AnalyzeFaces.execute(analysis, photo("cat"), **DEFAULTS)
    with pytest.raises(NoFaceError, match="No picture is left"):
        AnalyzeFaces.execute(analysis, photo("cat"), **{**DEFAULTS, "without_face": "skip"})
    faces, *_ = AnalyzeFaces.execute(analysis, photo("cat"), **{**DEFAULTS, "without_face": "bypass"}).args
    assert BuildIdentity.execute({"faces0": faces}).args[0].is_empty


def test_skip_goes_on_with_the_others(analysis: FaceAnalyzer) -> None:
    astronaut = photo("astronaut")
    batch = torch.cat([torch.zeros_like(astronaut), astronaut])
    with pytest.raises(NoFaceError, match="picture 1 of 2"):
        AnalyzeFaces.execute(analysis, batch, **DEFAULTS)
    faces, overlay, count, report = AnalyzeFaces.execute(analysis, batch, **{**DEFAULTS, "without_face": "skip"}).args
    assert len(faces.photos) == count == 1 and len(overlay) == 2
    assert "Left out: No face was found in picture 1 of 2" in report


def test_the_group_is_too_small_until_asked_for(analysis: FaceAnalyzer) -> None:
    group = photo("group_solvay_1927")
    with pytest.raises(FaceTooSmallError):
        AnalyzeFaces.execute(analysis, group, **DEFAULTS)
    chosen = {**DEFAULTS, "select": "index", "index": "29, 1", "min_size": 32}
    faces, _, count, _ = AnalyzeFaces.execute(analysis, group, **chosen).args
    assert count == 29 and faces.photos[0].chosen == (28, 0)


def test_the_picker_is_told_what_was_found(analysis: FaceAnalyzer) -> None:
    couple = torch.cat([photo("person0_v0"), photo("person1_v0")], dim=2)
    output = AnalyzeFaces.execute(analysis, couple, **DEFAULTS)
    (shown,) = json.loads(json.dumps(told(output)))
    found = output.args[0].photos[0].faces
    head, data = shown["picture"].split(",")
    small = Image.open(BytesIO(base64.b64decode(data)))
    assert head == "data:image/jpeg;base64" and small.format == "JPEG" and small.size == (512, 256)
    height, width = couple.shape[1:3]
    for one, face in zip(shown["faces"], found, strict=True):
        pixels = [share * side for share, side in zip(one["box"], (width, height) * 2, strict=True)]
        assert pixels == pytest.approx(face.box) and one["size"] == face.size and one["score"] == face.score


def test_the_picker_shows_the_first_pictures_of_a_large_batch(analysis: FaceAnalyzer) -> None:
    blank = {**DEFAULTS, "without_face": "bypass"}
    assert len(told(AnalyzeFaces.execute(analysis, torch.zeros(9, 64, 64, 3), **blank))) == 8
    assert told(AnalyzeFaces.execute(analysis, no_photo()[0], **blank)) == []


def test_an_identity_from_several_photos(analysis: FaceAnalyzer) -> None:
    analyzed = [AnalyzeFaces.execute(analysis, photo(f"person0_v{variant}"), **DEFAULTS) for variant in range(3)]
    grown = {f"faces{number}": output.args[0] for number, output in enumerate(analyzed)}
    identity, report, picture = BuildIdentity.execute(grown).args
    assert len(identity.embeddings) == 3 and len(report.splitlines()) == 4 and picture.shape[2] == 16 + 3 * 240


def test_a_stranger_is_dropped_unless_asked_for(analysis: FaceAnalyzer) -> None:
    stems = ("person0_v0", "grace_hopper", "person0_v1", "person0_v2")
    grown = {f"faces{n}": AnalyzeFaces.execute(analysis, photo(x), **DEFAULTS).args[0] for n, x in enumerate(stems)}
    identity, report, _ = BuildIdentity.execute(grown).args
    assert len(identity.embeddings) == 3 and "Face 2: dropped" in report
    mixed, report, _ = BuildIdentity.execute(grown, strangers="keep").args
    assert len(mixed.embeddings) == 4 and "dropped," not in report
    assert len(BuildIdentity.execute(grown, same_person=0.99).args[0].embeddings) == 1

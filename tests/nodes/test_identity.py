"""Identities as files, from crops, scored, and given a place, as ComfyUI calls the nodes."""

from pathlib import Path
from typing import Any

import folder_paths
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from consistent_face.core.errors import ConsistentFaceError, IdentityError, ModelMissingError, NoFaceError
from consistent_face.core.faces.analysis import FaceAnalyzer
from consistent_face.core.faces.detection import Choice, Faces, Select, WithoutFace, choose_faces
from consistent_face.core.identity.build import Identity, build_identity
from consistent_face.core.image import load_photo
from consistent_face.nodes import identity as identity_nodes
from consistent_face.nodes import regions, score
from consistent_face.nodes.identity import IdentityFromCrops, LoadIdentity, SaveIdentity
from consistent_face.nodes.regions import MaskFaces
from consistent_face.nodes.score import KeepBest, ScoreIdentity

PHOTOS = Path(__file__).resolve().parents[1] / "photos"
NODES = [*identity_nodes.NODES, *regions.NODES, *score.NODES]


@pytest.fixture(scope="module")
def analysis(face_pack: Path) -> FaceAnalyzer:
    return FaceAnalyzer(face_pack)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    identities = tmp_path / "identities"
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "identities", ([str(identities)], {".safetensors"}))
    return identities


def photo(stem: str) -> Tensor:
    return load_photo(str(PHOTOS / f"{stem}.jpg"), stem)[0]


@pytest.fixture(scope="module")
def person(analysis: FaceAnalyzer) -> Identity:
    batch = torch.cat([photo(f"person0_v{variant}") for variant in (0, 1)])
    marked, _ = choose_faces(analysis.analyze(batch), Choice(), WithoutFace.error)
    return build_identity([Faces(tuple(marked), analysis.recognizer)])[0]


@pytest.mark.parametrize("node", NODES)
def test_schemas_are_whole(node: type, folder: Path) -> None:
    schema = node.GET_SCHEMA()
    assert schema.node_id == f"ConsistentFace_{node.__name__}"
    assert schema.description and schema.search_aliases and schema.category == "consistent face/faces"
    assert (Path(__file__).resolve().parents[2] / "web" / "docs" / f"{schema.node_id}.md").exists()


# Files


def test_a_saved_identity_comes_back_the_same(folder: Path, person: Identity) -> None:
    output: Any = SaveIdentity.execute(person, "family/Ann-Marie (1)", False)
    assert output.args == ("family/Ann-Marie (1).safetensors",) and "Saved as" in output.ui.as_dict()["text"][0]
    assert [path.name for path in folder.rglob("*")] == ["family", "Ann-Marie (1).safetensors"], "nothing half written"
    assert "family/Ann-Marie (1).safetensors" in [
        name.replace("\\", "/") for name in folder_paths.get_filename_list("identities")
    ]
    back, report = LoadIdentity.execute("family/Ann-Marie (1).safetensors").args
    assert torch.equal(back.unit, person.unit) and torch.equal(back.crops, person.crops)
    assert back.recognizer == person.recognizer and torch.equal(back.weights, person.weights)
    assert "2 face(s), analyzed by w600k_mbf; licence: non-commercial" in report


def test_another_identity_is_replaced_only_when_asked(folder: Path, person: Identity) -> None:
    other = Identity(person.embeddings[:1], person.crops[:1], torch.ones(1), person.recognizer)
    SaveIdentity.execute(person, "person", False)
    SaveIdentity.execute(person, "person", False)  # the same: a graph may run again
    with pytest.raises(IdentityError, match="Another identity is saved as 'person' already"):
        SaveIdentity.execute(other, "person", False)
    assert len(load_file(folder / "person.safetensors")["weights"]) == 2
    SaveIdentity.execute(other, "person", True)
    assert len(load_file(folder / "person.safetensors")["weights"]) == 1


@pytest.mark.parametrize(
    "name", ["", " ", "..", "../x", "a/../../x", "/tmp/x", "C:/x", "a\\b", ".hidden", "a/", "a//b", "a\0b", "a\nb"]
)
def test_names_that_lead_elsewhere_are_refused(name: str, folder: Path, person: Identity) -> None:
    with pytest.raises(IdentityError, match="is no name for a file in models/identities"):
        SaveIdentity.execute(person, name, False)
    assert not list(folder.parent.rglob("*.safetensors"))


def test_a_link_that_leads_elsewhere_is_not_followed(folder: Path, person: Identity, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    folder.mkdir()
    (folder / "way").symlink_to(tmp_path / "outside")
    with pytest.raises(IdentityError, match="is no name"):
        SaveIdentity.execute(person, "way/x", False)


def test_what_is_no_identity_is_refused(folder: Path, person: Identity) -> None:
    SaveIdentity.execute(person, "whole", False)
    content = (folder / "whole.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(content[: len(content) // 2])
    (folder / "text.safetensors").write_text("not an identity")
    save_file({"lora.down": torch.zeros(2)}, folder / "lora.safetensors")
    for name, message in (("cut", "cut short"), ("text", "no readable"), ("lora", "is no identity")):
        with pytest.raises(IdentityError, match=rf'^"{name}\.safetensors".*{message}'):
            LoadIdentity.execute(f"{name}.safetensors")


def test_a_missing_file_says_so_and_a_changed_one_is_read_again(folder: Path, person: Identity) -> None:
    with pytest.raises(ModelMissingError, match=r"'ann\.safetensors' was not found in models/identities"):
        LoadIdentity.execute("ann.safetensors")
    for name in ("ann.safetensors", "../ann.safetensors"):
        assert "was not found" in str(LoadIdentity.validate_inputs(name))
    assert LoadIdentity.fingerprint_inputs("ann.safetensors") is None
    SaveIdentity.execute(person, "ann", False)
    assert LoadIdentity.validate_inputs("ann.safetensors") is LoadIdentity.validate_inputs(None) is True
    before = LoadIdentity.fingerprint_inputs("ann.safetensors")
    SaveIdentity.execute(person, "ann", True)
    assert before is not None and LoadIdentity.fingerprint_inputs("ann.safetensors") != before


def test_crops_are_an_identity_without_embeddings(folder: Path) -> None:
    (crops,) = IdentityFromCrops.execute(photo("person1_v0")).args
    assert crops.embeddings.shape == (1, 0) and crops.crops.shape == (1, 224, 224, 3)
    SaveIdentity.execute(crops, "crops", False)
    back, report = LoadIdentity.execute("crops.safetensors").args
    assert torch.equal(back.crops, crops.crops) and report == "1 face(s), crops alone."


# Scores


def test_scores_tell_the_person_from_strangers(analysis: FaceAnalyzer, person: Identity) -> None:
    def run(*stems: str) -> Any:
        return ScoreIdentity.execute(analysis, torch.cat([photo(stem) for stem in stems]), person, 0.4)

    output = run("person0_v2")
    similarity, lowest, same, report = output.args
    assert similarity == lowest > 0.8 and same is True and "Picture 1: the same person" in report
    assert output.ui == {"text": [report], "similarity": [similarity]}
    similarity, lowest, same, report = run("person0_v2", "person1_v0").args
    assert lowest < 0.6 < similarity and isinstance(same, bool)
    nobody = ScoreIdentity.execute(analysis, torch.zeros(2, 64, 64, 3), person, 0.4).args
    assert nobody[:3] == (0.0, 0.0, False) and "Picture 2: no face" in nobody[3]
    stranger = ScoreIdentity.execute(analysis, photo("astronaut"), person, 0.4).args
    assert abs(stranger[0]) < 0.2 and stranger[2] is False


def test_an_empty_identity_or_batch_is_no_error(analysis: FaceAnalyzer, person: Identity) -> None:
    assert ScoreIdentity.execute(analysis, photo("astronaut"), Identity.empty(), 0.4).args[:3] == (0.0, 0.0, False)
    assert ScoreIdentity.execute(analysis, torch.zeros(0, 1, 1, 3), person, 0.4).args[:3] == (0.0, 0.0, False)
    image, similarity, _ = KeepBest.execute(analysis, torch.zeros(0, 1, 1, 3), person, 1, 0.4).args
    assert len(image) == 0 and similarity == 0


def test_the_best_pictures_are_kept_best_first(analysis: FaceAnalyzer, person: Identity) -> None:
    stems = ("person1_v0", "person0_v2", "person2_v0", "person0_v0")
    batch = torch.cat([torch.zeros_like(photo(stems[0])), *(photo(stem) for stem in stems)])
    image, similarity, report = KeepBest.execute(analysis, batch, person, 2, 0.4).args
    assert torch.equal(image, batch[[4, 2]]) and similarity > 0.9 and len(report.splitlines()) == 6
    assert len(KeepBest.execute(analysis, batch, person, 64, 0.4).args[0]) == 5
    assert torch.equal(KeepBest.execute(analysis, batch, Identity.empty(), 2, 0.4).args[0], batch[:2])


# Places


def test_faces_of_a_picture_become_masks(analysis: FaceAnalyzer) -> None:
    image = torch.cat([photo("person0_v0"), photo("person1_v0")], dim=2)
    marked, _ = choose_faces(analysis.analyze(image), Choice(Select.all), WithoutFace.error)
    faces = Faces(tuple(marked), analysis.recognizer)
    masks, count = MaskFaces.execute(0, 0, 0.5, 0.25, faces).args
    assert masks.shape == (2, 1024, 2048) and count == 2
    assert masks[0, 600, 512] == masks[1, 600, 1536] == 1 and masks[0, 600, 1536] == masks[1, 600, 512] == 0


def test_nothing_to_mask_is_refused() -> None:
    with pytest.raises(NoFaceError, match="no face and no box"):
        MaskFaces.execute(64, 64, 0.5, 0.25)
    with pytest.raises(ConsistentFaceError, match="set width and height"):
        MaskFaces.execute(0, 0, 0.5, 0.25, boxes={"x": 0, "y": 0, "width": 9, "height": 9})

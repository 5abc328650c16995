"""The identity measured on photos: who is alike, who is not, and who is too small to tell."""

import shutil
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import onnx
import pytest
import torch
from insightface.utils import face_align
from torch import Tensor

from consistent_face.core.errors import ConsistentFaceError, FaceTooSmallError, NoFaceError, WrongModelError
from consistent_face.core.faces import alignment, analysis
from consistent_face.core.faces.analysis import FaceAnalyzer
from consistent_face.core.faces.detection import Choice, Face, Select, WithoutFace, choose_faces
from consistent_face.core.faces.model_pack import Provider

Photo = Callable[[str], Tensor]
PEOPLE = [f"person{number}_v0" for number in range(8)]
VARIANTS = ["person0_v1", "person0_v2", "person1_v1", "person2_v1", "person3_v1"]
TURNED = [f"exif_orientation_{orientation}" for orientation in range(2, 9)]


@pytest.fixture(scope="module")
def faces(analyzer: FaceAnalyzer, photo: Photo) -> dict[str, Face]:
    """The face of each photo of one person; fails unless exactly one is found."""
    found = {}
    for stem in [*PEOPLE, *VARIANTS, *TURNED, "astronaut", "grace_hopper"]:
        (only,) = analyzer.analyze(photo(stem))[0].faces
        found[stem] = only
    return found


def cosine(one: Face, other: Face) -> float:
    return float(one.unit @ other.unit)


def test_every_close_up_is_found(faces: dict[str, Face]) -> None:
    assert all(faces[stem].size > 500 and faces[stem].score > 0.75 for stem in PEOPLE)


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_of_one_person_are_alike(faces: dict[str, Face], variant: str) -> None:
    assert cosine(faces[variant], faces[variant[:-1] + "0"]) > 0.6


def test_the_astronaut_is_like_nobody_else(faces: dict[str, Face]) -> None:
    assert max(cosine(faces["astronaut"], face) for stem, face in faces.items() if stem != "astronaut") < 0.3


def test_people_who_do_not_exist_differ_less_than_variants(faces: dict[str, Face]) -> None:
    others = [cosine(faces[one], faces[other]) for one in PEOPLE for other in PEOPLE if one < other]
    assert max(others) < 0.6


def test_orientation_does_not_change_the_person(faces: dict[str, Face]) -> None:
    similarity = [cosine(faces[stem], faces["grace_hopper"]) for stem in TURNED]
    assert min(similarity) > 0.8 and max(similarity) - min(similarity) < 0.02


def test_the_group_is_counted_and_refused(analyzer: FaceAnalyzer, photo: Photo) -> None:
    found = analyzer.analyze(photo("group_solvay_1927"))
    assert len(found[0].faces) == 29
    lefts = [face.box[0] + face.box[2] for face in found[0].faces]
    assert lefts == sorted(lefts)
    for select in (Select.largest, Select.all, Select.left_to_right):
        with pytest.raises(FaceTooSmallError, match=r"picture 1 of 1 is too small to identify: 49 .*64 \(29 found\)"):
            choose_faces(found, Choice(select), WithoutFace.error)


def test_default_size_lets_single_portraits_pass(faces: dict[str, Face]) -> None:
    assert all(faces[stem].size >= Choice().min_size for stem in [*PEOPLE, *VARIANTS, "astronaut", "grace_hopper"])


def test_a_face_at_the_default_size_is_still_the_person(analyzer: FaceAnalyzer, photo: Photo) -> None:
    large = photo("grace_hopper")
    small = torch.nn.functional.interpolate(large.movedim(-1, 1), scale_factor=64 / 167, mode="area").movedim(1, -1)
    (one,), (other,) = analyzer.analyze(large)[0].faces, analyzer.analyze(small)[0].faces
    assert 60 < other.size < 68 and cosine(one, other) > 0.9


def test_a_cat_is_nobody(analyzer: FaceAnalyzer, photo: Photo) -> None:
    found = analyzer.analyze(photo("cat"))
    assert found[0].faces == ()
    with pytest.raises(NoFaceError, match=r"No face was found in picture 1 of 1 \(451x300\)"):
        choose_faces(found, Choice(), WithoutFace.error)


def test_what_a_face_holds(analyzer: FaceAnalyzer, photo: Photo) -> None:
    found = analyzer.analyze(photo("astronaut"))[0]
    (face,) = found.faces
    assert (found.width, found.height, found.chosen) == (512, 512, ())
    assert face.box == pytest.approx((181, 63, 270, 177), abs=6)
    assert face.points.shape == (5, 2) and face.points[0, 0] < face.points[1, 0] < 270
    assert face.embedding.shape == (512,) and face.embedding.dtype == torch.float32
    assert face.embedding.norm() > 5  # raw
    assert face.crop.shape == (224, 224, 3) and face.crop.min() >= 0 and face.crop.max() <= 1


def test_crops_are_red_green_blue(faces: dict[str, Face]) -> None:
    red, _, blue = faces["astronaut"].crop[100:140, 80:140].mean((0, 1))
    assert red > blue + 0.1  # skin


def test_the_embedding_is_insightfaces_own(analyzer: FaceAnalyzer, photo: Photo, faces: dict[str, Face]) -> None:
    face, bgr = faces["astronaut"], analysis._bgr(photo("astronaut")[0])
    crop = face_align.norm_crop(bgr, face.points, 112)
    assert float(torch.from_numpy(analyzer._arcface.get_feat([crop])[0]) @ face.unit) / face.embedding.norm() > 0.9999


@pytest.mark.parametrize("side", [112, 224])
@pytest.mark.parametrize("stem", ["astronaut", "person2_v0"])
def test_alignment_is_insightfaces_own(photo: Photo, faces: dict[str, Face], stem: str, side: int) -> None:
    bgr, points = analysis._bgr(photo(stem)[0]), faces[stem].points
    ours, theirs = alignment.align(bgr, points, side), face_align.norm_crop(bgr, points, side)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_points_that_are_mirrored_are_not_mirrored_back(photo: Photo) -> None:
    bgr, points = analysis._bgr(photo("astronaut")[0]), alignment.ARCFACE_POINTS[[1, 0, 2, 4, 3]] + [150, 50]
    ours, theirs = alignment.align(bgr, points, 112), face_align.norm_crop(bgr, points, 112)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_a_batch_is_recognized_in_one_run(
    analyzer: FaceAnalyzer, photo: Photo, faces: dict[str, Face], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Mock(wraps=analyzer._arcface.get_feat)
    monkeypatch.setattr(analyzer._arcface, "get_feat", run)
    stems = ["person0_v0", "person1_v0", "person2_v0"]
    found = analyzer.analyze(torch.cat([photo(stem) for stem in stems]))
    assert run.call_count == 1 and len(run.call_args.args[0]) == 3
    for stem, each in zip(stems, found, strict=True):
        assert torch.allclose(each.faces[0].embedding, faces[stem].embedding, atol=1e-3)


def test_a_recognizer_of_fixed_batch_runs_face_by_face(
    analyzer: FaceAnalyzer, photo: Photo, faces: dict[str, Face], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Mock(wraps=analyzer._arcface.get_feat)
    monkeypatch.setattr(analyzer._arcface, "get_feat", run)
    monkeypatch.setattr(analyzer._arcface, "input_shape", [1, 3, 112, 112])
    found = analyzer.analyze(torch.cat([photo("person0_v0"), photo("person1_v0")]))
    assert [len(call.args[0]) for call in run.call_args_list] == [1, 1]
    assert torch.allclose(found[1].faces[0].embedding, faces["person1_v0"].embedding, atol=1e-3)


def test_a_missed_close_up_is_found_with_a_border(
    analyzer: FaceAnalyzer, photo: Photo, faces: dict[str, Face], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis, "USUAL_SIZES", [(640, 640)])
    detector = Mock(wraps=analyzer._detector)
    monkeypatch.setattr(analyzer, "_detector", detector)
    (face,) = analyzer.analyze(photo("person0_v0"))[0].faces
    assert [call.args[0].shape for call in detector.detect.call_args_list] == [(1024, 1024, 3), (1536, 1536, 3)]
    assert face.box == pytest.approx(faces["person0_v0"].box, abs=30) and cosine(face, faces["person0_v0"]) > 0.9


def test_a_close_up_and_a_small_face_are_both_found(analyzer: FaceAnalyzer, photo: Photo) -> None:
    both = photo("person0_v0").clone()
    both[:, 820:1020, :200] = photo("astronaut")[:, 40:240, 130:330]
    small, close_up = analyzer.analyze(both)[0].faces
    assert 80 < small.size < 100 and close_up.size > 500


def test_small_faces_of_a_large_picture_get_more_pixels(analyzer: FaceAnalyzer, photo: Photo) -> None:
    canvas = torch.full((1, 4000, 4000, 3), 0.5)
    canvas[:, 1200:1712, 3000:3512] = photo("astronaut")
    reduced = torch.nn.functional.interpolate(canvas.movedim(-1, 1), scale_factor=0.5, mode="area").movedim(1, -1)
    (face,) = analyzer.analyze(reduced)[0].faces
    assert face.box == pytest.approx((1590, 631, 1635, 688), abs=8)
    reduced[:, 800:1824, :1024] = photo("person0_v0")  # a near face does not hide it
    near, far = analyzer.analyze(reduced)[0].faces
    assert near.size > 500 and far.box == pytest.approx(face.box, abs=8)


def test_threshold(analyzer: FaceAnalyzer, photo: Photo) -> None:
    assert analyzer.analyze(photo("astronaut"), threshold=0.93)[0].faces == ()
    assert len(analyzer.analyze(photo("astronaut"))[0].faces) == 1


def test_boxes_end_at_the_picture(analyzer: FaceAnalyzer, photo: Photo) -> None:
    cut = photo("astronaut")[:, :150, 190:]
    (face,) = analyzer.analyze(cut)[0].faces
    assert face.box[0] >= 0 and face.box[1] >= 0 and face.box[3] <= 150


def test_no_pictures(analyzer: FaceAnalyzer) -> None:
    assert analyzer.analyze(torch.zeros(0, 1, 1, 3)) == []


@pytest.mark.parametrize(
    "change", [lambda rgb: rgb.half(), lambda rgb: torch.cat([rgb, torch.ones_like(rgb[..., :1])], -1)]
)
def test_half_precision_and_alpha(
    analyzer: FaceAnalyzer, photo: Photo, faces: dict[str, Face], change: Callable[[Tensor], Tensor]
) -> None:
    (face,) = analyzer.analyze(change(photo("astronaut")))[0].faces
    assert cosine(face, faces["astronaut"]) > 0.999


def test_a_face_that_alpha_hides_is_not_found(analyzer: FaceAnalyzer, photo: Photo, faces: dict[str, Face]) -> None:
    both = torch.cat([photo("person0_v0"), torch.full((1, 1024, 300, 3), 0.5)], 2)
    both[:, 40:240, 1060:1260] = photo("astronaut")[:, 40:240, 130:330]
    for hidden in (0, 1 / 255):
        alpha = torch.ones(1, 1024, 1324, 1)
        alpha[:, :, :1024] = hidden
        (face,) = analyzer.analyze(torch.cat([both, alpha], -1))[0].faces
        assert cosine(face, faces["astronaut"]) > 0.9


def test_the_recognizer_is_named_by_its_file(analyzer: FaceAnalyzer) -> None:
    assert analyzer.recognizer.name == "w600k_mbf"
    assert analyzer.recognizer.sha256 == "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f"


def pack_of(folder: Path, face_pack: Path, *names: str) -> Path:
    for name in names:
        shutil.copy(face_pack / name, folder)
    return folder


def test_only_detector_and_recognizer_become_sessions(face_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from insightface import model_zoo

    load = Mock(wraps=model_zoo.get_model)
    monkeypatch.setattr(model_zoo, "get_model", load)
    FaceAnalyzer(face_pack)
    assert {Path(call.args[0]).name for call in load.call_args_list} == {"scrfd_500m_bnkps.onnx", "w600k_mbf.onnx"}


def test_of_two_recognizers_the_first_by_name_is_used(tmp_path: Path, face_pack: Path) -> None:
    pack_of(tmp_path, face_pack, "scrfd_500m_bnkps.onnx", "w600k_mbf.onnx")
    shutil.copy(face_pack / "w600k_mbf.onnx", tmp_path / "another.onnx")
    assert FaceAnalyzer(tmp_path).recognizer.name == "another"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("2d106det.onnx", "w600k_mbf.onnx"), r"has no detector \(2d106det\.onnx, w600k_mbf\.onnx found\)"),
        (("2d106det.onnx", "scrfd_500m_bnkps.onnx"), r"has no recognizer \(2d106det\.onnx, scrfd"),
        ((), r"has no detector \(no \.onnx file found\)"),
    ],
)
def test_an_incomplete_pack(tmp_path: Path, face_pack: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(WrongModelError, match=message):
        FaceAnalyzer(pack_of(tmp_path, face_pack, *names))


@pytest.mark.parametrize("content", [b"", b"This is not a model.", bytes(5000)])
def test_a_file_that_is_no_model(tmp_path: Path, face_pack: Path, content: bytes) -> None:
    pack_of(tmp_path, face_pack, "scrfd_500m_bnkps.onnx")
    (tmp_path / "w600k_mbf.onnx").write_bytes(content)
    with pytest.raises(WrongModelError, match=r"w600k_mbf\.onnx of the InsightFace pack .* is no readable ONNX model"):
        FaceAnalyzer(tmp_path)


@pytest.mark.parametrize("name", ["w600k_mbf.onnx", "scrfd_500m_bnkps.onnx"])
def test_a_file_cut_off(tmp_path: Path, face_pack: Path, name: str) -> None:
    pack_of(tmp_path, face_pack, "scrfd_500m_bnkps.onnx", "w600k_mbf.onnx")
    with (tmp_path / name).open("r+b") as file:
        file.truncate(1_000_000)
    with pytest.raises(WrongModelError, match=f"{name} of the InsightFace pack"):
        FaceAnalyzer(tmp_path)


def test_a_model_whose_weights_are_missing(tmp_path: Path, face_pack: Path) -> None:
    pack_of(tmp_path, face_pack, "scrfd_500m_bnkps.onnx")
    model = onnx.load(str(face_pack / "w600k_mbf.onnx"))
    del model.graph.initializer[:]
    onnx.save(model, str(tmp_path / "w600k_mbf.onnx"))
    with pytest.raises(WrongModelError, match="no readable ONNX model"):
        FaceAnalyzer(tmp_path)


def test_cuda_that_is_not_there(face_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ConsistentFaceError, match=r"has no CUDA; replace the package onnxruntime by onnxruntime-gpu"):
        FaceAnalyzer(face_pack, Provider.cuda)
    FaceAnalyzer(face_pack, Provider.auto)


def test_cuda_whose_libraries_do_not_load(face_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime
    from insightface import model_zoo

    session = Mock(**{"session.get_providers.return_value": ["CPUExecutionProvider"]})
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(model_zoo, "get_model", lambda *_, **__: session)
    with pytest.raises(ConsistentFaceError, match="could not load its CUDA libraries"):
        FaceAnalyzer(face_pack, Provider.cuda)
    FaceAnalyzer(face_pack, Provider.auto)

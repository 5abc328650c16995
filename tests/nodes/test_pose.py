"""Draw Pose Sheet and Draw Key Points as ComfyUI calls them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from comfy_extras.nodes_sdpose import SDPoseDrawKeypoints
from torch import Tensor

from consistent_face.core.errors import PhotoError
from consistent_face.core.openpose.presets import Preset, draw_preset
from consistent_face.core.openpose.sheet import PoseSheet
from consistent_face.nodes.photo import LoadPhoto
from consistent_face.nodes.pose import NODES, DrawKeyPoints, DrawPoseSheet

WIDGETS = {
    "preset": "turnaround",
    "width": 256,
    "height": 256,
    "lines": "openpose",
    "figures": 2,
    "figures_per_row": 0,
    "heads_tall": 7.5,
    "shoulder_width": 1.0,
    "leg_length": 1.0,
}


def draw(**changed: object) -> tuple:
    result = DrawPoseSheet.execute(**{**WIDGETS, **changed}).result
    assert result is not None
    return result


@pytest.mark.parametrize("node", NODES)
def test_schemas_are_whole(node: type) -> None:
    schema = node.GET_SCHEMA()
    assert schema.node_id == f"ConsistentFace_{node.__name__}"
    assert schema.description and schema.search_aliases and schema.category == "consistent face/pose"
    assert (Path(__file__).resolve().parents[2] / "web" / "docs" / f"{schema.node_id}.md").exists()
    kinds = [output.io_type for output in schema.outputs]
    assert kinds == ["CONSISTENT_FACE_POSE_SHEET", "IMAGE", "INT", "INT", "POSE_KEYPOINT", "BOUNDING_BOX"]


def test_published_names_stay() -> None:
    inputs = {each.id: each.as_dict() for each in DrawPoseSheet.GET_SCHEMA().inputs}
    assert [*inputs] == [*WIDGETS, "image"] and inputs["image"].get("optional", True)
    assert inputs["preset"]["options"] == ["turnaround", "heads", "actions", "full sheet"]
    assert inputs["lines"]["options"] == ["openpose", "xinsir"]
    assert [each.id for each in DrawKeyPoints.GET_SCHEMA().inputs] == ["keypoints", "width", "height", "lines"]


def test_the_offline_sheet_has_two_figures_on_256x256() -> None:
    sheet, image, width, height, keypoints, (boxes,) = draw()
    assert isinstance(sheet, PoseSheet) and image is sheet.picture
    assert image.shape == (1, 256, 256, 3) and image.dtype == torch.float32 and (width, height) == (256, 256)
    assert image.min() == 0 and image.max() == 1
    assert len(keypoints[0]["people"]) == len(boxes) == 2
    assert [box["label"] for box in boxes] == ["front", "three-quarter"]
    assert sum(box["height"] for box in boxes) / 2 > 32


def test_every_input_reaches_the_drawing() -> None:
    plain = draw(width=512, height=512)[1]
    for changed in (
        {"preset": "heads"},
        {"lines": "xinsir"},
        {"figures": 3},
        {"figures_per_row": 1},
        {"heads_tall": 5.0},
        {"shoulder_width": 1.3},
        {"leg_length": 0.8},
    ):
        assert not torch.equal(draw(**{"width": 512, "height": 512, **changed})[1], plain), changed
    assert draw(width=512, height=320)[1].shape == (1, 320, 512, 3)


def test_no_photo_means_the_preset() -> None:
    none = LoadPhoto.execute("none").result
    assert none is not None and none[0].shape == (0, 1, 1, 3)
    assert torch.equal(draw(image=none[0])[1], draw()[1])


def test_a_drawing_of_the_user_is_used_at_its_aspect() -> None:
    own = draw_preset(Preset.actions, 1024, 512).picture
    sheet, image, width, height, _, (boxes,) = draw(image=own, width=1024, height=512)
    assert torch.equal(image, own) and (width, height) == (1024, 512)
    assert len(sheet.figures) == len(boxes) == 6
    _, image, width, height, _, (boxes,) = draw(image=own)
    assert (width, height) == (384, 192) and image.shape == (1, 192, 384, 3) and len(boxes) == 6


@pytest.mark.parametrize("image", [torch.zeros(1, 64, 64, 3), torch.rand(1, 64, 64, 3)], ids=["black", "noise"])
def test_pictures_that_are_no_drawing_are_refused(image: Tensor) -> None:
    with pytest.raises(PhotoError, match=r"The pose image .* leave the image out for a preset"):
        draw(image=image)


def test_core_draws_our_key_points_where_we_do() -> None:
    """ComfyUI's limbs are brighter, its shapes are ours: what it paints is what we paint."""
    _, image, _, _, keypoints, _ = draw(width=512, height=512, figures=4)
    drawn = SDPoseDrawKeypoints.execute(keypoints, True, True, True, False, 4, 3, 0.3, True).result
    assert drawn is not None
    ours, theirs = (np.asarray(each[0]).max(axis=-1) > 0 for each in (image, drawn[0]))
    assert (ours != theirs).mean() < 0.001


def test_key_points_are_drawn_as_the_sheet_was() -> None:
    _, image, _, _, keypoints, boxes = draw(width=512, height=512)
    result = DrawKeyPoints.execute(keypoints, 512, 512, "openpose").result
    assert result is not None
    assert torch.equal(result[1], image) and result[2:4] == (512, 512) and result[5] == boxes

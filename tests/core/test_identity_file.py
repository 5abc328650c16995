"""Identities as file content: the same to the last bit, and nothing else is taken for one."""

from typing import Any

import pytest
import torch
from torch import Tensor

from consistent_face.core.errors import IdentityError
from consistent_face.core.faces.detection import Recognizer
from consistent_face.core.identity.build import Identity, from_crops
from consistent_face.core.identity.file import from_file, to_file
from consistent_face.core.identity.recognizers import BUFFALO_L


def person(faces: int = 2, sha256: str = BUFFALO_L) -> Identity:
    crops = torch.randint(0, 256, (faces, 224, 224, 3)).byte().float() / 255
    return Identity(torch.randn(faces, 512), crops, torch.full((faces,), 1 / faces), Recognizer("w600k_r50", sha256))


@pytest.mark.parametrize("identity", [person(1), person(3), from_crops(torch.rand(2, 300, 200, 3))])
def test_an_identity_comes_back_to_the_last_bit(identity: Identity) -> None:
    back = from_file("a", *to_file(identity))
    assert torch.equal(back.embeddings, identity.embeddings) and torch.equal(back.crops, identity.crops)
    assert torch.equal(back.weights, identity.weights) and back.recognizer == identity.recognizer
    assert torch.equal(back.unit, identity.unit)


def test_metadata_name_the_recognizer_and_its_licence() -> None:
    _, metadata = to_file(person())
    assert metadata["recogniser"] == "w600k_r50" and metadata["recogniser_sha256"] == BUFFALO_L
    assert metadata["licence"].startswith("non-commercial")
    assert to_file(person(sha256="0"))[1]["licence"].startswith("unknown")
    assert "licence" not in to_file(from_crops(torch.rand(1, 9, 9, 3)))[1]


def test_an_empty_identity_is_not_saved() -> None:
    with pytest.raises(IdentityError, match="nothing to save"):
        to_file(Identity.empty())


def changed(tensors: dict[str, Tensor] | None = None, metadata: dict[str, str] | None = None, drop: str = "") -> Any:
    whole, told = to_file(person())
    whole, told = whole | (tensors or {}), told | (metadata or {})
    return {k: x for k, x in whole.items() if k != drop}, {k: x for k, x in told.items() if k != drop}


@pytest.mark.parametrize(
    "content",
    [
        ({}, {}),
        ({"lora.down": torch.zeros(2)}, {"format": "pt"}),
        changed(drop="format"),
        changed(metadata={"format": "consistent face identity 2"}),
        changed(drop="crops"),
        changed({"code": torch.zeros(1)}),
    ],
)
def test_foreign_files_are_said_to_be_none(content: Any) -> None:
    with pytest.raises(IdentityError, match=r'^"a\.safetensors" is no identity .*Save Identity wrote\.$'):
        from_file("a.safetensors", *content)


@pytest.mark.parametrize(
    "content",
    [
        changed({"embeddings": torch.randn(3, 512)}),
        changed({"embeddings": torch.randn(512)}),
        changed({"embeddings": torch.full((2, 512), torch.nan)}),
        changed({"embeddings": torch.randn(2, 512).half()}),
        changed({"crops": torch.zeros(2, 112, 112, 3, dtype=torch.uint8)}),
        changed({"crops": torch.zeros(2, 224, 224, 3)}),
        changed({"weights": torch.tensor([2.0, -1.0])}),
        changed({"weights": torch.tensor([2.0, 2.0])}),
        changed({"weights": torch.tensor([torch.nan, 1.0])}),
        changed({"embeddings": torch.zeros(0, 512), "crops": torch.zeros(0, 224, 224, 3).byte()}),
        changed(drop="recogniser_sha256"),
    ],
)  # fmt: skip
def test_numbers_that_do_not_fit_are_refused(content: Any) -> None:
    with pytest.raises(IdentityError, match="do not fit each other"):
        from_file("a", *content)

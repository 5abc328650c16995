"""Adapter files: which kind they are, files that are none, and identities that do not fit them."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor

from consistent_face.core.errors import IdentityError, WrongModelError
from consistent_face.core.faces.detection import Recognizer
from consistent_face.core.identity.build import Identity
from consistent_face.core.identity.recognizers import BUFFALO_L, GLINTR100, KNOWN
from consistent_face.core.ip_adapter.checkpoint import (
    Adapter,
    check_identity,
    check_sight,
    describe_recognizer,
    read_adapter,
)
from consistent_face.core.ip_adapter.variants import PUBLISHED, Kind, recognize
from consistent_face.tests import adapters
from consistent_face.tests.adapters import SD15, SDXL

UNKNOWN = "0" * 64
PLUS_SHA, PLUS_V2_SHA = PUBLISHED  # in the table's order

OTHER = Recognizer("other_net", UNKNOWN)


@cache
def parts(kind: str) -> dict[str, dict[str, Tensor]]:
    shapes = adapters.face_shapes(SD15) if kind == "faceid" else adapters.plus_shapes(SD15)
    return {"image_proj": adapters.meta(shapes), "ip_adapter": adapters.meta(adapters.layer_shapes((320, 640), SD15))}


def file_of(kind: str) -> dict[str, dict[str, Tensor]]:
    return {name: dict(tensors) for name, tensors in parts(kind).items()}


def read(file: object, name: str = "ip-adapter-faceid-plusv2_sd15.bin", setting: str = "auto") -> Adapter:
    return read_adapter(name, file, lambda: UNKNOWN, setting)


@pytest.mark.parametrize(
    ("name", "shapes", "layers", "context", "kind"),
    [
        ("ip-adapter-faceid_sd15.bin", adapters.face_shapes(SD15), adapters.SD15_LAYERS, SD15, Kind.FACEID),
        ("ip-adapter-faceid-plus_sd15.bin", adapters.plus_shapes(SD15), adapters.SD15_LAYERS, SD15, Kind.PLUS),
        ("ip-adapter-faceid-plusv2_sd15.bin", adapters.plus_shapes(SD15), adapters.SD15_LAYERS, SD15, Kind.PLUS_V2),
        ("ip-adapter-faceid_sdxl.bin", adapters.face_shapes(SDXL), adapters.SDXL_LAYERS, SDXL, Kind.FACEID),
        ("ip-adapter-faceid-plusv2_sdxl.bin", adapters.plus_shapes(SDXL), adapters.SDXL_LAYERS, SDXL, Kind.PLUS_V2),
        ("renamed to plus.bin", adapters.plus_shapes(SDXL), adapters.SDXL_LAYERS, SDXL, Kind.PLUS_V2),
    ],
)
def test_published_files_are_recognized(
    name: str, shapes: adapters.Shapes, layers: tuple[int, ...], context: int, kind: Kind
) -> None:
    file = {"image_proj": adapters.meta(shapes), "ip_adapter": adapters.meta(adapters.layer_shapes(layers, context))}
    adapter = read(file, name)
    assert (adapter.kind, adapter.context, adapter.embedding) == (kind, context, 512)
    assert adapter.sight == (None if kind is Kind.FACEID else 1280)
    assert [x.shape[0] for x in adapter.keys] == list(layers)
    assert len(adapter.lora) == 16 * len(layers)  # two attentions, four matrices each, down and up
    assert adapter.keys[0] is file["ip_adapter"]["1.to_k_ip.weight"]


@pytest.mark.parametrize("context", [SD15, SDXL])
@pytest.mark.parametrize(
    ("shapes", "kind", "embedding", "sight"),
    [
        (lambda context: adapters.face_shapes(context, tokens=16), Kind.PORTRAIT, 512, None),
        (lambda context: adapters.latent_shapes(context, 512), Kind.PORTRAIT_UNNORM, 512, None),
        (adapters.latent_shapes, Kind.PLUS_FACE, None, 1280),
        (adapters.full_shapes, Kind.FULL_FACE, None, 1280),
    ],
)
def test_variants_without_lora_are_recognized_whatever_their_name(
    shapes: Callable[[int], adapters.Shapes], kind: Kind, embedding: int | None, sight: int | None, context: int
) -> None:
    layers = adapters.meta(adapters.layer_shapes((320, 640), context, lora=False))
    adapter = read({"image_proj": adapters.meta(shapes(context)), "ip_adapter": layers}, "plusv2.bin")
    assert (adapter.kind, adapter.context, adapter.lora) == (kind, context, {})
    assert (adapter.embedding, adapter.sight) == (embedding, sight)


@pytest.mark.parametrize(
    ("name", "digest", "setting", "kind"),
    [
        ("face.bin", PLUS_SHA, "auto", Kind.PLUS),
        ("face.bin", PLUS_V2_SHA, "auto", Kind.PLUS_V2),
        ("my plusv2.bin", PLUS_SHA, "auto", Kind.PLUS),
        ("my_plus-V2.bin", UNKNOWN, "auto", Kind.PLUS_V2),
        ("my_Plus.bin", UNKNOWN, "auto", Kind.PLUS),
        ("my_plusv2.bin", PLUS_V2_SHA, "plus", Kind.PLUS),
        ("face.bin", UNKNOWN, "plus v2", Kind.PLUS_V2),
    ],
)
def test_hash_then_name_tell_plus_from_v2_and_the_setting_overrides(
    name: str, digest: str, setting: str, kind: Kind
) -> None:
    weights = adapters.meta(adapters.plus_shapes(SD15))
    assert recognize(name, weights, lambda: digest, setting) is kind


def test_a_plus_file_that_nothing_tells_apart_asks_for_the_setting() -> None:
    weights = adapters.meta(adapters.plus_shapes(SD15))
    with pytest.raises(WrongModelError, match=r'"face\.bin".*set \'variant\''):
        recognize("face.bin", weights, lambda: UNKNOWN)


def test_only_a_doubtful_file_is_hashed() -> None:
    def never() -> str:
        raise AssertionError("hashed a file that its tensors had told apart")

    assert recognize("x", adapters.meta(adapters.face_shapes(SD15)), never) is Kind.FACEID
    assert recognize("x", adapters.meta(adapters.plus_shapes(SDXL)), never) is Kind.PLUS_V2


@pytest.mark.parametrize(
    "shapes",
    [adapters.affine("proj", 3072, 1024), adapters.face_shapes(SD15, tokens=5)],
    ids=["standard", "five tokens"],
)
def test_other_adapters_are_named_as_such(shapes: adapters.Shapes) -> None:
    layers = adapters.meta(adapters.layer_shapes((320,), SD15, lora=False))
    with pytest.raises(WrongModelError, match="another kind than FaceID, Portrait"):
        read({"image_proj": adapters.meta(shapes), "ip_adapter": layers})


@pytest.mark.parametrize("layers", ["ip_adapter", "adapter_modules"])
def test_flat_names_give_the_same_adapter(layers: str) -> None:
    file = file_of("faceid")
    nested, plain = read(file), read(adapters.flat({"image_proj": file["image_proj"], layers: file["ip_adapter"]}))
    for ours, theirs in zip(nested.keys + nested.values, plain.keys + plain.values, strict=True):
        assert ours is theirs
    assert nested.lora.keys() == plain.lora.keys()
    assert nested.projection.keys() == plain.projection.keys()


@pytest.mark.parametrize("content", [None, [], "text", {}, {"model.weight": torch.zeros(2)}, torch.zeros(3)])
def test_what_is_no_adapter_is_said_to_be_none(content: object) -> None:
    with pytest.raises(WrongModelError, match=r'^"a\.bin" is no IP-Adapter'):
        read(content, "a.bin")


@pytest.mark.parametrize(
    ("part", "name", "shape"),
    [
        ("image_proj", "norm.bias", None),
        ("image_proj", "proj.0.bias", (7,)),
        ("image_proj", "proj.0.weight", (7,)),
        ("image_proj", "more.weight", (7,)),
        ("image_proj", "proj.0.bias", ()),
        ("image_proj", "proj.0.bias", (0,)),
        ("ip_adapter", "3.to_v_ip.weight", None),
        ("ip_adapter", "1.to_k_ip.weight", None),
        ("ip_adapter", "1.to_v_ip.weight", (7, SD15)),
        ("ip_adapter", "3.to_k_ip.weight", (640, SDXL)),
    ],
)
def test_missing_and_misshapen_tensors_are_found_on_reading(
    part: str, name: str, shape: tuple[int, ...] | None
) -> None:
    shapes = {"image_proj": adapters.face_shapes(SD15), "ip_adapter": adapters.layer_shapes((320, 640), SD15)}
    file = {key: adapters.meta(value) for key, value in shapes.items()}
    if shape is None:
        del file[part][name]
    else:
        file[part][name] = torch.empty(shape, device="meta")
    with pytest.raises(WrongModelError, match="missing or of a wrong shape: download the file again"):
        read(file)


def person(width: int = 512, recognizer: Recognizer | None = OTHER) -> Identity:
    return Identity(torch.randn(1, width), torch.zeros(1, 224, 224, 3), torch.ones(1), recognizer)


def test_embeddings_of_another_width_are_refused_with_their_recognizer() -> None:
    adapter = read(file_of("faceid"))
    check_identity(adapter, person(), sees=False)
    with pytest.raises(IdentityError, match=r"of 512 numbers, but the identity has 128 \(from other_net\)"):
        check_identity(adapter, person(128), sees=False)


def test_plus_needs_clip_vision_and_v2_does_not() -> None:
    check_identity(read(file_of("plus"), "plusv2.bin"), person(), sees=False)
    with pytest.raises(IdentityError, match=r"without CLIP vision: connect Load CLIP Vision"):
        check_identity(read(file_of("plus"), "plus.bin"), person(), sees=False)


def test_another_clip_vision_is_refused() -> None:
    adapter = read(file_of("plus"))
    check_sight(adapter, 1280)
    with pytest.raises(WrongModelError, match="width 1280, but the connected CLIP vision gives 1664"):
        check_sight(adapter, 1664)


PLUS_V2 = "ip-adapter-faceid-plusv2_sd15.bin"
R50, MBF = (Recognizer(KNOWN[sha].name, sha) for sha in (BUFFALO_L, next(s for s in KNOWN if "mbf" in KNOWN[s].name)))


def never() -> str:
    raise AssertionError("hashed a file without need")


@pytest.mark.parametrize("found", [R50, OTHER], ids=["as trained", "unknown, perhaps a conversion"])
def test_a_recognizer_that_may_be_right_passes_without_hashing(found: Recognizer) -> None:
    check_identity(read_adapter(PLUS_V2, file_of("plus"), never, "plus v2"), person(recognizer=found), sees=True)


def test_a_published_adapter_refuses_another_known_recognizer_naming_both() -> None:
    published = read_adapter(PLUS_V2, file_of("plus"), lambda: PLUS_V2_SHA)
    with pytest.raises(
        IdentityError, match=r"trained with the recognizer w600k_r50,.*made with w600k_mbf: .*buffalo_l"
    ):
        check_identity(published, person(recognizer=MBF), sees=True)
    check_identity(read(file_of("plus")), person(recognizer=MBF), sees=True)  # an adapter of one's own


@pytest.mark.parametrize("named", ["w600k_mbf", MBF.sha256])
def test_a_safetensors_adapter_may_name_its_recognizer(named: str) -> None:
    own = read_adapter("plusv2.safetensors", file_of("plus"), lambda: UNKNOWN, metadata={"recogniser": named})
    check_identity(own, person(recognizer=MBF), sees=True)
    with pytest.raises(
        IdentityError,
        match=r"trained with the recognizer w600k_mbf,.*made with w600k_r50.*buffalo_s"
        if named == MBF.sha256
        else r"trained with the recognizer w600k_mbf,.*made with w600k_r50",
    ):
        check_identity(own, person(recognizer=R50), sees=True)


INSTANT_ID_SHA = "02b3618e36d803784166660520098089a81388e61a93ef8002aa79a5b1c546e1"
UNNORM_SHA = "220bb86e205393a3d0411631cb473caddbf35fd371be2905ca9008818170db55"
GLINT = Recognizer("glintr100", GLINTR100)


def unnorm(digest: str) -> Adapter:
    """InstantID's file and h94's Portrait unnorm have the same tensors."""
    layers = adapters.meta(adapters.layer_shapes((640,), SDXL, lora=False))
    file = {"image_proj": adapters.meta(adapters.latent_shapes(SDXL, 512)), "ip_adapter": layers}
    return read_adapter("ip-adapter.bin", file, lambda: digest)


def test_instant_id_needs_its_own_recognizer() -> None:
    check_identity(unnorm(INSTANT_ID_SHA), person(recognizer=GLINT), sees=False)
    for found in (R50, MBF):
        with pytest.raises(
            IdentityError, match=rf"trained with the recognizer glintr100, .*made with {found.name}: put .*antelopev2"
        ):
            check_identity(unnorm(INSTANT_ID_SHA), person(recognizer=found), sees=False)


def test_a_file_name_does_not_make_a_recognizer() -> None:
    aura_face = Recognizer("glintr100", next(sha for sha, known in KNOWN.items() if known.name == "AuraFace"))
    with pytest.raises(IdentityError, match=r"recognizer glintr100, .*made with AuraFace"):
        check_identity(unnorm(INSTANT_ID_SHA), person(recognizer=aura_face), sees=False)
    metadata = {"recogniser": "glintr100"}
    named = read_adapter("own plusv2.safetensors", file_of("plus"), lambda: UNKNOWN, metadata=metadata)
    with pytest.raises(IdentityError, match=r"recognizer glintr100, .*made with AuraFace"):
        check_identity(named, person(recognizer=aura_face), sees=True)


def test_portrait_unnorm_needs_buffalo_l() -> None:
    check_identity(unnorm(UNNORM_SHA), person(recognizer=R50), sees=False)
    with pytest.raises(IdentityError, match=r"the recognizer w600k_r50, .*made with glintr100: put .*buffalo_l"):
        check_identity(unnorm(UNNORM_SHA), person(recognizer=GLINT), sees=False)


def test_the_shape_of_kolors_adapters_decides() -> None:
    file = {
        "image_proj": adapters.meta(adapters.plus_shapes(4096)),
        "ip_adapter": adapters.meta(adapters.layer_shapes((640,), 4096)),
    }
    kolors = read_adapter("kolors.bin", file, lambda: UNKNOWN, "plus")
    check_identity(kolors, person(recognizer=GLINT), sees=True)
    with pytest.raises(IdentityError, match=r"trained with the recognizer glintr100, .*made with w600k_r50"):
        check_identity(kolors, person(recognizer=R50), sees=True)


def test_the_report_names_the_recognizer_or_says_that_it_is_not_known() -> None:
    assert describe_recognizer(unnorm(INSTANT_ID_SHA)) == '"ip-adapter.bin" was trained with the recognizer glintr100.'
    assert describe_recognizer(unnorm(UNNORM_SHA)) == '"ip-adapter.bin" was trained with the recognizer w600k_r50.'
    check_identity(unnorm(UNKNOWN), person(recognizer=R50), sees=False)
    assert "is no published file, so the recognizer that it was trained with is not known" in describe_recognizer(
        unnorm(UNKNOWN)
    )
    layers = adapters.meta(adapters.layer_shapes((320,), SD15, lora=False))
    crops_alone = read({"image_proj": adapters.meta(adapters.full_shapes(SD15)), "ip_adapter": layers})
    assert describe_recognizer(crops_alone) == ""


def test_crops_alone_are_enough_only_for_adapters_that_read_no_embeddings() -> None:
    crops = person(width=0, recognizer=None)
    layers = adapters.meta(adapters.layer_shapes((320,), SD15, lora=False))
    for shapes in (adapters.latent_shapes(SD15), adapters.full_shapes(SD15)):
        face = read({"image_proj": adapters.meta(shapes), "ip_adapter": layers})
        check_identity(face, crops, sees=True)
        with pytest.raises(IdentityError, match="cannot encode a face without CLIP vision"):
            check_identity(face, crops, sees=False)
    with pytest.raises(IdentityError, match="made from crops and has none"):
        check_identity(read(file_of("plus")), crops, sees=True)

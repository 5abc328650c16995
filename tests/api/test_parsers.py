"""hypothesis: whatever JSON comes, a vendor's model is filled within its ranges or refused in one sentence."""

import json
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consistent_face.api.base.errors import InputError, PictureError
from consistent_face.api.base.logs import redacted
from consistent_face.api.http.bodies import LARGE, _parse, _parse_large
from consistent_face.api.media.sources import decode
from consistent_face.api.vendors.modelslab.make_gen import MakeGen, _fit
from consistent_face.api.vendors.qolaba import Avatar, Consistency
from consistent_face.api.vendors.segmind import ConsistentCharacter
from consistent_face.api.vendors.values import Fields, parse, warnings_header

MODELS: list[type[Fields]] = [Consistency, Avatar, MakeGen, ConsistentCharacter]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NUMBERS = st.integers() | st.floats() | st.integers().map(str) | st.floats().map(str)


@pytest.mark.parametrize("model", MODELS)
@given(data=st.data())
def test_any_fields_are_taken_or_refused_in_one_sentence(model: type[Fields], data: st.DataObject) -> None:
    names = st.sampled_from([*model.model_fields, "key", "unknown"])
    fields = data.draw(st.dictionaries(names, JSON | NUMBERS, max_size=8))
    warnings: list[str] = []
    try:
        filled = parse(model, {"prompt": "a", "image": "b", "face_image": "b", **fields}, warnings)
    except InputError as error:
        assert error.field and error.message and "\n" not in repr(error.message)
        return
    assert json.loads(json.dumps(filled.model_dump(), allow_nan=False)) is not None
    header = warnings_header(warnings).get("x-warnings", "")
    assert header.isascii() and header.isprintable()


@given(width=NUMBERS, height=NUMBERS, steps=NUMBERS, scale=NUMBERS, samples=NUMBERS, seed=NUMBERS)
@example(width="1e300", height="-0", steps="20.5", scale="7.5", samples="2", seed=2**70)
def test_modelslab_never_leaves_its_documented_values(
    width: object, height: object, steps: object, scale: object, samples: object, seed: object
) -> None:
    fields = {"width": width, "height": height, "num_inference_steps": steps, "s_scale": scale}
    try:
        body = parse(MakeGen, {"prompt": "a", "face_image": "b", **fields, "samples": samples, "seed": seed}, [])
    except InputError:
        return
    _fit(body, [])
    assert 256 <= min(body.width, body.height) <= 512 and max(body.width, body.height) <= 768
    assert body.num_inference_steps in (21, 31, 41) and 0 <= body.s_scale <= 2 and 1 <= body.samples <= 2
    assert body.seed is None or -1 <= body.seed < 2**63


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda content: content.decode("latin-1")))
def test_base64_of_anything_is_bytes_or_one_error(text: str) -> None:
    try:
        assert isinstance(decode(text, "image", 1000), bytes)
    except PictureError as error:
        assert error.field == "image"


@pytest.mark.parametrize(
    "more",
    [
        '"a": 1',
        '"a": -0.0',
        '"a": 1e999',
        '"a": -1e999',
        '"a": "\\ud800"',
        '"a": "é"',
        '"a": 1, "a": 2',
        '"a": 1.0',
        '"a": NaN',
    ],
)
@pytest.mark.parametrize("end", ["}", "} x", "", "]"])
def test_a_large_body_is_read_as_a_small_one_is(more: str, end: str) -> None:
    def read(body: str, by: Callable[[bytearray], object]) -> object:
        try:
            return by(bytearray(body, "utf-8"))
        except ValueError:
            return "refused"

    large, small = (f'{{"image": "{"A" * length}", {more}{end}' for length in (LARGE, 1))
    found, wanted = read(large, _parse_large), read(small, _parse)
    if isinstance(found, dict) and isinstance(wanted, dict):
        assert len(str(found.pop("image"))) == LARGE and wanted.pop("image") == "A"
    assert repr(found) == repr(wanted)


@given(st.text(max_size=300))
def test_redaction_ends_and_is_final(text: str) -> None:
    assert redacted(redacted(text)) == redacted(text)

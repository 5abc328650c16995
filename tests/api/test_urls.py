"""URLs of callers: malformed ones are refused on arrival, with the field's name."""

from collections.abc import Callable

import pytest

from consistent_face.api.security.urls import URLError, host_of, parsed
from consistent_face.tests.api.conftest import Running

GEN = "/api/v1/enterprise/face_gen/make_gen"
BUCKET = "/api/v1/enterprise/face_gen/update_s3"
MALFORMED = [
    *("https://[::1", "https://[::1]x/", "https://[1.2.3.4]/", "https://[v1.a]/b", "https://[fe80::1%25eth0]/"),
    *("https://exa\u2100mple.com/b", "https://h:abc/b", "https://h:99999/b", "https://h:0/b", "https://h:/b"),
    *(
        "https://h:-1/",
        "https://h:\u0663/",
        "https:///b",
        "https://",
        "https:",
        "https://?a",
        "https://#a",
        "https://.",
    ),
    *("https://s3.example.com/b\u0000c", "https://a.example/\t", "https://a.example/\r\nHost: evil", "https://a\x7f/"),
    *("https://s3.example.com\\@127.0.0.1/b", "https://a.example\\b", "https://user:pw@s3.example.com/b", "https://@/"),
    *("https://%zz/b", "https://ex%41mple.com/", "https://a b/c", "https://\ud800.com/b", "https://x/\ud800"),
    *("https://a..b/", "https://.a/", "https://-a.com/", "https://a<b/", "https://xn--/", "https://\u200d.com/"),
    *(f"https://{'a' * 64}.com/", f"https://{'a.' * 130}com/", f"https://a.example/{'x' * 9000}"),
]
TAKEN = [
    *("https://a.example/hook?token=x#y", "HTTPS://A.Example:8443/x", "https://a.example./", "https://8.8.8.8/"),
    *("https://[2606:4700::1111]:8443/x", "https://b\u00fccher.example/\u00fc", "https://a_b.example/%zz"),
]


@pytest.mark.parametrize("url", MALFORMED, ids=ascii)
def test_malformed_urls_are_refused_in_every_field(idle: Running, generator: Callable[..., dict], url: str) -> None:
    with pytest.raises(URLError):
        parsed(url, ("https",), 8000)
    access = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    asked = {
        "webhook": (GEN, generator(webhook=url)),
        "face_image": (GEN, generator(face_image=url)),
        "endpoint_url": (BUCKET, {**access, "endpoint_url": url}),
        "public_url": (BUCKET, {**access, "endpoint_url": "https://s3.example.com/b", "public_url": url}),
    }
    for field, (path, body) in asked.items():
        answer = idle.post(path, body)
        assert (answer.status_code, field in answer.json()["message"]) == (400, True), (field, answer.text)
    assert idle.get("/jobs").json()["jobs"] == []
    assert host_of(url)


@pytest.mark.parametrize("url", TAKEN)
def test_sound_urls_are_taken(idle: Running, generator: Callable[..., dict], url: str) -> None:
    idle.service.settings = idle.settings.model_copy(update={"modelslab_sync_wait_s": 0.0})
    assert idle.post(GEN, generator(webhook=url)).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/getImage", {"id": "\ud800"}),
        ("/getImage", {"id": "x", "refID": "a\udfffb"}),
        ("/getImagetoImage", {"prompt": "\ud800"}),
        (GEN, {"track_id": "\ud800"}),
        (GEN, {"unknown": [{"deep": ["\ud800"]}]}),
        (GEN, {"unknown": {"\ud800": 1}}),
        (GEN, {"\ud800": 1}),
        (BUCKET, {"aws_secret_access_key": "\ud800"}),
        ("/v1/consistent-character-ai-neolemon", {"scheduler": "\ud800"}),
    ],
)
def test_half_a_character_is_refused_in_every_text(idle: Running, path: str, body: dict) -> None:
    """With a key in the body too: whoever has one is told what is wrong, not that it was missing."""
    key = idle.key()
    answer = idle.post(path, {"key": key, **body})
    assert answer.status_code == (406 if path.startswith("/v1") else 400), answer.text
    assert "half a character" in answer.text
    assert idle.post(path, {"key": "\ud800", **body}).status_code == 401


def test_whole_characters_beyond_the_first_plane_are_taken(idle: Running, consistency: Callable[..., dict]) -> None:
    made = idle.post("/getImagetoImage", consistency(celery=True, prompt="\U0001f600 \ud83d\ude00 é")).json()
    assert made["input"]["prompt"] == "\U0001f600 \U0001f600 é"


def test_a_number_without_end_is_no_json(idle: Running, generator: Callable[..., dict]) -> None:
    import json

    import requests

    text = json.dumps(generator(track_id=1)).replace('"track_id": 1', '"track_id": 1e999')
    answer = requests.post(idle.url + GEN, data=text, headers={"Content-Type": "application/json"})
    assert (answer.status_code, "JSON" in answer.json()["message"]) == (400, True)

"""The host's links, and the URLs of a started server."""

from pathlib import Path

from consistent_face.tools.host import link
from consistent_face.tools.server import addresses


def test_a_link_follows_the_checkout(tmp_path: Path) -> None:
    """Also where it was made before the checkout was copied, or moved and so leads nowhere."""
    here, copied, name = tmp_path / "here", tmp_path / "a copy", tmp_path / "package" / "consistent_face"
    for folder in (here, copied):
        folder.mkdir()
        link(folder, name)
        assert name.resolve() == folder
    copied.rename(tmp_path / "moved")
    link(tmp_path / "moved", name)
    assert name.resolve() == tmp_path / "moved"


def test_a_server_is_looked_for_where_it_was_told_to_bind() -> None:
    assert addresses(8190, None) == addresses(8190, "") == ["http://127.0.0.1:8190"]
    assert addresses("8190", "192.168.1.10") == ["http://127.0.0.1:8190", "http://192.168.1.10:8190"]
    assert addresses(8190, "::1")[1] == "http://[::1]:8190"

"""The archive for the Comfy Registry contains the whole node pack and nothing else."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def published() -> set[str]:
    """Files under git that .comfyignore, which has gitignore's syntax, does not leave out."""
    listed = ["git", "ls-files", "--cached", "--exclude-standard"]
    every = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    ignored = [*listed, "--ignored", "--exclude-from", ".comfyignore"]
    left_out = subprocess.run(ignored, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return set(every) - set(left_out) - {""}


def test_the_archive_has_the_pack_alone() -> None:
    tops = {Path(name).parts[0] for name in published()}
    wanted = {"__init__.py", "nodes", "core", "workflows", "web", "requirements.txt", "pyproject.toml", "README.md"}
    assert wanted <= tops
    assert tops <= wanted | {"LICENSE", ".comfyignore", "locales"}


def test_the_archive_has_workflows_for_the_api_and_help() -> None:
    names = published()
    assert "workflows/api/face_consistency.json" in names
    assert "web/docs/ConsistentFace_ApplyIdentity.md" in names

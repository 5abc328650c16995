"""The tensor shapes of the small models: the published layouts, with as few layers as ComfyUI's detection allows."""

from itertools import pairwise

Shapes = dict[str, tuple[int, ...]]

WIDTH = 320  # SD1.5's model_channels: ComfyUI knows the family by it
CONTEXT = 768  # SD1.5's context, the width of CLIP-L
EMBEDDING = 512  # a face
VISION = 1280  # ViT-H
RANK = 128  # of the LoRA inside FaceID files


def _layer(name: str, *shape: int) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _norm(name: str, width: int) -> Shapes:
    return _layer(name, width)


def _resnet(name: str, channels: int) -> Shapes:
    skip = _layer(f"{name}.skip_connection", WIDTH, channels, 1, 1) if channels != WIDTH else {}
    return {
        **_norm(f"{name}.in_layers.0", channels),
        **_layer(f"{name}.in_layers.2", WIDTH, channels, 3, 3),
        **_layer(f"{name}.emb_layers.1", WIDTH, 4 * WIDTH),
        **_norm(f"{name}.out_layers.0", WIDTH),
        **_layer(f"{name}.out_layers.3", WIDTH, WIDTH, 3, 3),
        **skip,
    }


def _attention(name: str, context: int) -> Shapes:
    return {
        f"{name}.to_q.weight": (WIDTH, WIDTH),
        f"{name}.to_k.weight": (WIDTH, context),
        f"{name}.to_v.weight": (WIDTH, context),
        **_layer(f"{name}.to_out.0", WIDTH, WIDTH),
    }


def _transformer(name: str) -> Shapes:
    block = f"{name}.transformer_blocks.0"
    return {
        **_norm(f"{name}.norm", WIDTH),
        **_layer(f"{name}.proj_in", WIDTH, WIDTH, 1, 1),
        **_norm(f"{block}.norm1", WIDTH),
        **_attention(f"{block}.attn1", WIDTH),
        **_norm(f"{block}.norm2", WIDTH),
        **_attention(f"{block}.attn2", CONTEXT),
        **_norm(f"{block}.norm3", WIDTH),
        **_layer(f"{block}.ff.net.0.proj", 8 * WIDTH, WIDTH),
        **_layer(f"{block}.ff.net.2", WIDTH, 4 * WIDTH),
        **_layer(f"{name}.proj_out", WIDTH, WIDTH, 1, 1),
    }


def unet() -> Shapes:
    """SD1.5's UNet cut to one level of one block: 4 transformers, at input 1, the middle, and outputs 0 and 1."""
    return {
        **_layer("time_embed.0", 4 * WIDTH, WIDTH),
        **_layer("time_embed.2", 4 * WIDTH, 4 * WIDTH),
        **_layer("input_blocks.0.0", WIDTH, 4, 3, 3),
        **_resnet("input_blocks.1.0", WIDTH),
        **_transformer("input_blocks.1.1"),
        **_resnet("middle_block.0", WIDTH),
        **_transformer("middle_block.1"),
        **_resnet("middle_block.2", WIDTH),
        **_resnet("output_blocks.0.0", 2 * WIDTH),
        **_transformer("output_blocks.0.1"),
        **_resnet("output_blocks.1.0", 2 * WIDTH),
        **_transformer("output_blocks.1.1"),
        **_norm("out.0", WIDTH),
        **_layer("out.2", 4, WIDTH, 3, 3),
    }


def controlnet() -> Shapes:
    """That UNet's ControlNet (lllyasviel/ControlNet): its first half, a reader of hints, and the zero convolutions."""
    half = {name: shape for name, shape in unet().items() if not name.startswith("out")}
    widths = (3, 16, 16, 32, 32, 96, 96, 256, WIDTH)
    for index, (before, after) in enumerate(pairwise(widths)):
        half |= _layer(f"input_hint_block.{2 * index}", after, before, 3, 3)
    for name in ("zero_convs.0.0", "zero_convs.1.0", "middle_block_out.0"):
        half |= _layer(name, WIDTH, WIDTH, 1, 1)
    return {f"control_model.{name}": shape for name, shape in half.items()}


def upscaler() -> Shapes:
    """The smallest of Real-ESRGAN's compact networks (xinntao/Real-ESRGAN), for twice the size."""
    return {**_layer("body.0", 3, 3, 3, 3), "body.1.weight": (3,), **_layer("body.2", 4 * 3, 3, 3, 3)}


def _clip_layer(name: str, width: int) -> Shapes:
    attention = {}
    for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
        attention |= _layer(f"{name}.self_attn.{part}", width, width)
    return {
        **_norm(f"{name}.layer_norm1", width),
        **attention,
        **_norm(f"{name}.layer_norm2", width),
        **_layer(f"{name}.mlp.fc1", 4 * width, width),
        **_layer(f"{name}.mlp.fc2", width, 4 * width),
    }


def clip_text() -> Shapes:
    """CLIP-L's text model, which ComfyUI builds in one size only."""
    shapes: Shapes = {"embeddings.token_embedding.weight": (49408, CONTEXT)}
    shapes["embeddings.position_embedding.weight"] = (77, CONTEXT)
    for index in range(12):
        shapes |= _clip_layer(f"encoder.layers.{index}", CONTEXT)
    return shapes | _norm("final_layer_norm", CONTEXT)


def clip_vision(layers: range) -> Shapes:
    """Those of ViT-H's 32 layers; with the first of them everything outside the layers too."""
    shapes: Shapes = {}
    for index in layers:
        shapes |= _clip_layer(f"vision_model.encoder.layers.{index}", VISION)
    if 0 not in layers:
        return shapes
    return {
        "vision_model.embeddings.class_embedding": (VISION,),
        "vision_model.embeddings.patch_embedding.weight": (VISION, 3, 14, 14),
        "vision_model.embeddings.position_embedding.weight": (257, VISION),
        **_norm("vision_model.pre_layrnorm", VISION),
        **shapes,
        **_norm("vision_model.post_layernorm", VISION),
        "visual_projection.weight": (1024, VISION),
    }


def _tiny_block(name: str) -> Shapes:
    return {key: shape for part in (0, 2, 4) for key, shape in _layer(f"{name}.conv.{part}", 64, 64, 3, 3).items()}


def taesd() -> Shapes:
    """TAESD, the tiny autoencoder of SD1.5 (madebyollin/taesd): numbers are positions in its two Sequentials."""
    shapes = {**_layer("taesd_encoder.0", 64, 3, 3, 3), **_layer("taesd_encoder.14", 4, 64, 3, 3)}
    shapes |= {**_layer("taesd_decoder.1", 64, 4, 3, 3), **_layer("taesd_decoder.19", 3, 64, 3, 3)}
    for coder, blocks, resized in (
        ("taesd_encoder", (1, 3, 4, 5, 7, 8, 9, 11, 12, 13), (2, 6, 10)),
        ("taesd_decoder", (3, 4, 5, 8, 9, 10, 13, 14, 15, 18), (7, 12, 17)),
    ):
        for index in blocks:
            shapes |= _tiny_block(f"{coder}.{index}")
        shapes |= {f"{coder}.{index}.weight": (64, 64, 3, 3) for index in resized}
    return shapes


def face_projection() -> Shapes:
    """`image_proj` of FaceID Plus v2 for SD1.5 (h94/IP-Adapter-FaceID): 4 tokens, a resampler of 4 layers."""
    shapes = {**_layer("proj.0", 1024, EMBEDDING), **_layer("proj.2", 4 * CONTEXT, 1024), **_norm("norm", CONTEXT)}
    shapes |= _layer("perceiver_resampler.proj_in", CONTEXT, VISION)
    shapes |= _layer("perceiver_resampler.proj_out", CONTEXT, CONTEXT)
    shapes |= _norm("perceiver_resampler.norm_out", CONTEXT)
    for index in range(4):
        attention, forward = (f"perceiver_resampler.layers.{index}.{part}" for part in (0, 1))
        shapes |= {**_norm(f"{attention}.norm1", CONTEXT), **_norm(f"{attention}.norm2", CONTEXT)}
        shapes |= {f"{attention}.to_q.weight": (CONTEXT, CONTEXT), f"{attention}.to_kv.weight": (2 * CONTEXT, CONTEXT)}
        shapes |= {f"{attention}.to_out.weight": (CONTEXT, CONTEXT), **_norm(f"{forward}.0", CONTEXT)}
        shapes |= {f"{forward}.1.weight": (4 * CONTEXT, CONTEXT), f"{forward}.3.weight": (CONTEXT, 4 * CONTEXT)}
    return shapes


def face_layers(transformers: int) -> Shapes:
    """`ip_adapter` of a FaceID file: LoRA of every attention (even: self, odd: cross), K and V of every cross one."""
    shapes: Shapes = {}
    for index in range(2 * transformers):
        context = CONTEXT if index % 2 else WIDTH
        for part, width in (("q", WIDTH), ("k", context), ("v", context), ("out", WIDTH)):
            shapes[f"{index}.to_{part}_lora.down.weight"] = (RANK, width)
            shapes[f"{index}.to_{part}_lora.up.weight"] = (WIDTH, RANK)
        if index % 2:
            shapes |= {f"{index}.to_{part}_ip.weight": (WIDTH, CONTEXT) for part in ("k", "v")}
    return shapes

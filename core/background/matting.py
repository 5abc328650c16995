"""Puts a foreground on a flat colour or on transparency, and cleans the old background's colours from its edges."""

import torch
from torch import Tensor

from ..errors import ConsistentFaceError, PhotoError
from ..runtime import importing

Colour = tuple[float, float, float]

VISIBLE = 1 / 255  # the least coverage that an 8-bit picture shows


def parse_colour(text: str | None) -> Colour | None:
    """#RGB or #RRGGBB, with or without #, as three values in 0..1; None for no colour (empty or "none")."""
    digits = (text or "").strip().lower().removeprefix("#")
    if digits in ("", "none"):
        return None
    if len(digits) not in (3, 6) or not set(digits) <= set("0123456789abcdef"):
        raise ConsistentFaceError(
            f"{text!r} is no background colour; write it in hexadecimal as #RRGGBB or #RGB, such as #FFFFFF for white."
        )
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    red, green, blue = bytes.fromhex(digits)
    return red / 255, green / 255, blue / 255


def replace_background(images: Tensor, masks: Tensor, colour: Colour | None) -> tuple[Tensor, Tensor, str]:
    """Cuts the foreground out of [B,H,W,3 or 4] by its coverage [B,H,W] or [1,H,W], 1 = foreground.

    Returns [B,H,W,3] on a colour or transparent [B,H,W,4], the coverage used [B,H,W], and a report. A picture without
    any coverage stays whole. Pixels that the alpha of a picture hides stay hidden.
    """
    masks = _fitting(masks, images)
    empty = masks.amax(dim=(1, 2)) < VISIBLE
    masks = torch.where(empty[:, None, None], 1.0, masks)
    if images.shape[-1] == 4:
        masks = masks * images[..., 3].float()
    pictures = zip(images[..., :3].float(), masks, strict=True)
    foreground = torch.stack([decontaminate(image, mask) for image, mask in pictures])
    alpha = masks[..., None]
    if colour is None:
        return torch.cat([foreground, alpha], dim=-1), masks, _report(masks, empty)
    return foreground * alpha + foreground.new_tensor(colour) * (1 - alpha), masks, _report(masks, empty)


def decontaminate(image: Tensor, mask: Tensor) -> Tensor:
    """Estimates the foreground colours of [H,W,3]: pixels on soft edges mix foreground and old background.

    Multi-level foreground estimation (Germer, Uelwer, Conrad, Harmeling, 2020), as pymatting has it.
    """
    if not ((mask > 0) & (mask < 1)).any():
        return image
    with importing():
        from pymatting.foreground.estimate_foreground_ml import estimate_foreground_ml
    own = torch.as_tensor(estimate_foreground_ml(image.cpu().numpy(), mask.cpu().numpy()), device=image.device)
    return torch.where(mask[..., None] >= 1, image, own.clamp(0, 1))


def _fitting(masks: Tensor, images: Tensor) -> Tensor:
    masks = masks.reshape(-1, *masks.shape[-2:])  # some nodes output a single mask as [H,W]
    if masks.shape[1:] != images.shape[1:3] or len(masks) not in (1, len(images)):
        raise PhotoError(
            f"The mask is {_size(masks)} and the image is {_size(images)}; connect a mask made from this very image."
        )
    return masks.to(images.device, torch.float32).clamp(0, 1).expand(len(images), -1, -1)


def _size(batch: Tensor) -> str:
    return f"{len(batch)} of {batch.shape[2]}x{batch.shape[1]} pixels"


def _report(masks: Tensor, empty: Tensor) -> str:
    return "\n".join(
        f"picture {number} of {len(masks)}: "
        + ("no foreground was found, left whole" if nothing else f"{mask.mean():.0%} foreground")
        for number, (mask, nothing) in enumerate(zip(masks, empty.tolist(), strict=True), 1)
    )

"""Restyles photos by filters, so that the words of a style have an effect: batches [B, 3, H, W] in 0..1, any device."""

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)


def grey(x: Tensor) -> Tensor:
    """[B, 1, H, W]."""
    return (x * torch.tensor(LUMA, device=x.device, dtype=x.dtype)[:, None, None]).sum(1, keepdim=True)


def blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian, the border continued."""
    radius = round(2.5 * sigma)
    steps = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-((steps / sigma) ** 2) / 2)
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, -1)
    x = F.conv2d(F.pad(x, (radius, radius, 0, 0), "replicate"), kernel, groups=x.shape[1])
    return F.conv2d(F.pad(x, (0, 0, radius, radius), "replicate"), kernel.mT, groups=x.shape[1])


def smooth(x: Tensor, sigma: float, edge: float) -> Tensor:
    """Flat areas without what is weaker than `edge`: the self-guided filter of He, Sun and Tang, 2010."""
    mean = blur(x, sigma)
    variance = (blur(x * x, sigma) - mean * mean).clamp(min=0)
    gain = variance / (variance + edge * edge)
    return blur(gain, sigma) * x + blur(mean * (1 - gain), sigma)


def lines(x: Tensor, sharpness: float = 60.0) -> Tensor:
    """1 on paper, 0 on dark lines: a difference of Gaussians, drawn as in Winnemöller's XDoG, 2012."""
    light = grey(x)
    difference = blur(light, 0.9) - 0.98 * blur(light, 1.8)
    return (1 + torch.tanh(sharpness * (difference + 0.004).clamp(max=0))).clamp(0, 1)


def cartoon(x: Tensor) -> Tensor:
    """Few tones in strong colours, with lines."""
    flat = x
    for _ in range(3):
        flat = smooth(flat, 3.0, 0.12)
    light, levels = grey(flat), 7
    stepped = ((light * levels).floor() + torch.sigmoid(24 * ((light * levels) % 1 - 0.5))) / levels
    colour = light + (flat - light) * 1.5
    return ((colour + stepped - light) * (0.15 + 0.85 * lines(x))).clamp(0, 1)


def pencil(x: Tensor) -> Tensor:
    """Grey strokes on white paper: the picture divided by its blurred self."""
    light = grey(smooth(x, 1.5, 0.04))
    drawn = (light / blur(light, 8.0).clamp(min=0.04)).clamp(max=1)
    shade = 0.8 + 0.2 * blur(light, 2.0)
    return (drawn**1.6 * shade * (0.4 + 0.6 * lines(x))).clamp(0, 1).expand(-1, 3, -1, -1)

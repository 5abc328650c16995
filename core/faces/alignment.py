"""Fits the five landmarks of a face to ArcFace's template: the aligned crop, and the turn of the head in the picture.

Least-squares similarity of Umeyama, 1991; insightface's version calls a deprecated function of scikit-image.
"""

import math

import numpy as np

# Where ArcFace expects the five points in a crop of 112 pixels (insightface, `face_align.arcface_dst`).
ARCFACE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def align(bgr: np.ndarray, points: np.ndarray, side: int) -> np.ndarray:
    """Returns the crop [side,side,3] in which the five landmarks lie where ArcFace expects them, like `norm_crop`."""
    import cv2

    target = ARCFACE_POINTS * (side / 112)
    matrix = _similarity(points, target)
    shift = target.mean(0) - matrix @ points.mean(0)
    return cv2.warpAffine(bgr, np.column_stack([matrix, shift]), (side, side))


def turn_of(points: np.ndarray) -> float:
    """Returns the rotation of a head in the picture plane, in degrees clockwise from upright: -180 to 180."""
    matrix = _similarity(points, ARCFACE_POINTS)
    return -math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))


def _similarity(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Returns the rotation and scale [2,2] that best maps points to target, both [5,2] about their means."""
    source, centred = points - points.mean(0), target - target.mean(0)
    u, singular, vt = np.linalg.svd(centred.T @ source)
    signs = np.array([1.0, np.sign(np.linalg.det(u @ vt))])
    return (u * signs) @ vt * ((singular * signs).sum() / (source**2).sum())

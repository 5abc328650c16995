"""Defines the pack's errors. The service relies on them: it maps the last component of `exception_type`.

Every message is one sentence for the user: what happened, what was found, what to do.

    ConsistentFaceError
    |-- PhotoError           a picture that cannot be used (unreadable, too large, of a wrong kind)
    |-- NoFaceError          a picture in which no usable face was found
    |   `-- FaceTooSmallError    faces were found, all too small to identify
    |-- ModelMissingError    a model file that is not installed
    |-- WrongModelError      a model file of a kind or family that does not fit its use
    `-- IdentityError        identities that cannot be used together, or here
"""


class ConsistentFaceError(ValueError):
    """Base of all errors that a user of the pack can cause and fix."""


class PhotoError(ConsistentFaceError):
    """A picture that cannot be used."""


class NoFaceError(ConsistentFaceError):
    """No usable face was found in a picture."""


class FaceTooSmallError(NoFaceError):
    """Faces were found, but all of them are too small to identify."""


class ModelMissingError(ConsistentFaceError):
    """A model file that is not installed."""


class WrongModelError(ConsistentFaceError):
    """A model file of a kind or family that does not fit its use."""


class IdentityError(ConsistentFaceError):
    """Identities that cannot be used together, or here."""

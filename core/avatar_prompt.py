"""Writes the avatar's prompt: the user's own, or a default with a word for the person."""

from .errors import ConsistentFaceError

# Word for word as documented for the Face Avatar endpoint.
DEFAULT_PROMPT = (
    "SFW Content, black plain background, joyous dating profile, VECTOR CARTOON ILLUSTRATION, half-body shot portrait "
    "enjoyable pleasing pleasurable nice {gender_word}, looking at camera, Relaxed, Charming, Cordial, Gracious, "
    "5 o clock shadow, 3d bitmoji avatar render, pixar, high def textures 8k, highly detailed, 3d render, "
    "award winning, no background elements"
)
GENDER_WORDS = {"male": "man", "female": "woman", "": "person"}
LONGEST_GENDER = 40


def avatar_prompt(prompt: str | None, gender: str | None) -> str:
    """Returns the prompt; for None, an empty text or "None" the default prompt with the word for the gender."""
    if _given(prompt):
        return str(prompt)
    word = _given(gender)
    if len(word) > LONGEST_GENDER:
        raise ConsistentFaceError(
            f"The gender has {len(word)} characters, and at most {LONGEST_GENDER} are taken; "
            f"write male, female, or a few words of your own."
        )
    return DEFAULT_PROMPT.replace("{gender_word}", GENDER_WORDS.get(word.lower(), word))


def _given(text: str | None) -> str:
    stripped = (text or "").strip()
    return "" if stripped.lower() == "none" else stripped

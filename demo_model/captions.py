"""Writes captions of training pictures: style, background, direction of the face, smile.

Users' prompts contain many other words that the model cannot know; so captions contain random other words too, and the
model learns to ignore them. The same is true for "woman" and "man": the data do not say which one a face is.
"""

import random
from dataclasses import dataclass
from pathlib import Path

STYLES = ("photo", "cartoon", "pencil")
# Backgrounds with their colours in 0..1; the first is whatever stood behind the person.
GROUNDS: dict[str, tuple[float, float, float]] = {
    "": (0.0, 0.0, 0.0),
    "white": (1.0, 1.0, 1.0),
    "black": (0.03, 0.03, 0.03),
    "grey": (0.5, 0.5, 0.5),
    "red": (0.8, 0.12, 0.12),
    "orange": (0.95, 0.55, 0.15),
    "yellow": (0.95, 0.85, 0.25),
    "green": (0.2, 0.6, 0.25),
    "blue": (0.2, 0.4, 0.85),
    "purple": (0.5, 0.25, 0.7),
    "pink": (0.95, 0.6, 0.75),
    "brown": (0.45, 0.3, 0.2),
}
TURNS = ("turned to the left", "looking at the camera", "turned to the right")
MOODS = ("serious", "smiling")
BEGINNINGS = {
    "photo": ("photo of a {}", "portrait photo of a {}", "a {}", "portrait of a {}", "professional photo of a {}"),
    "cartoon": ("cartoon of a {}", "a {}, 2D illustration style", "cartoon portrait of a {}", "anime drawing of a {}"),
    "pencil": ("pencil sketch of a {}", "pencil drawing of a {}", "sketch of a {}, black and white drawing"),
}
SUBJECTS = ("person", "woman", "man", "face", "young woman", "young man", "girl", "boy", "character")
FILLERS = (
    *("soft light", "natural light", "studio lighting", "detailed face", "highly detailed", "sharp focus", "85mm"),
    *("masterpiece", "best quality", "city street", "mountains", "summer garden", "at sunrise", "hiking", "bokeh"),
    *("in a red coat", "white sweater", "jeans", "short curly brown hair", "visible face", "one person"),
    *("character sheet", "multiple poses", "full body", "head and shoulders", "centered", "clean background"),
)
REJECTED = (
    *("blurry", "low quality", "lowres", "deformed", "bad anatomy", "extra fingers", "text", "watermark", "ugly"),
    *("worst quality", "jpeg artifacts", "out of focus", "duplicate", "glitch", "nsfw", "logo", "username", "error"),
    *("oversaturated", "underexposed", "overexposed", "grainy", "mutant", "broken face", "cross eye", "fat"),
    *("big nose", "long nose", "big lips", "big mouth", "disfigured", "unrealistic", "cropped", "merging"),
)


@dataclass(frozen=True)
class Known:
    """One picture's facts as positions in the tuples above; pictures with the same facts share their captions."""

    style: int = 0
    ground: int = 0
    turn: int = 1
    mood: int = 0

    @property
    def number(self) -> int:
        return ((self.style * len(GROUNDS) + self.ground) * len(TURNS) + self.turn) * len(MOODS) + self.mood


COUNT = len(STYLES) * len(GROUNDS) * len(TURNS) * len(MOODS)


def every() -> list[Known]:
    """Returns all possible facts, each at its number."""
    sizes = (range(len(each)) for each in (STYLES, GROUNDS, TURNS, MOODS))
    styles, grounds, turns, moods = sizes
    return [Known(s, g, t, m) for s in styles for g in grounds for t in turns for m in moods]


def caption(known: Known, chance: random.Random, words: list[str]) -> str:
    """Returns one wording; sometimes leaves out facts other than the style; adds other words."""
    beginning = chance.choice(BEGINNINGS[STYLES[known.style]]).format(chance.choice(SUBJECTS))
    said = [name for name in (TURNS[known.turn], MOODS[known.mood]) if chance.random() < 0.5]
    if known.ground and chance.random() < 0.85:
        colour = list(GROUNDS)[known.ground]
        said.append(chance.choice((f"{colour} background", f"on a plain {colour} background")))
    said += chance.sample(FILLERS, chance.choice((0, 0, 1, 2, 3, 5)))
    if chance.random() < 0.4:
        said.append(" ".join(chance.sample(words, chance.randint(1, 8))))
    chance.shuffle(said)
    return ", ".join([beginning, *said])


def negative(chance: random.Random) -> str:
    """Returns a negative prompt, often an empty one."""
    return "" if chance.random() < 0.3 else ", ".join(chance.sample(REJECTED, chance.randint(2, 20)))


def tokens(texts: list[str], tokenizer: Path) -> list[list[int]]:
    """Returns 77 token ids of each, as ComfyUI passes them to SD1.5's text model; `tokenizer`: folder sd1_tokenizer."""
    from transformers import CLIPTokenizer

    found = CLIPTokenizer.from_pretrained(str(tokenizer))(texts, padding="max_length", max_length=77, truncation=True)
    return found["input_ids"]


def vocabulary(tokenizer: Path) -> list[str]:
    """Returns plain words that are one token each in CLIP."""
    from transformers import CLIPTokenizer

    names = CLIPTokenizer.from_pretrained(str(tokenizer)).get_vocab()
    words = (name.removesuffix("</w>") for name in names if name.endswith("</w>"))
    return sorted(word for word in words if word.isascii() and word.isalpha() and len(word) > 3)

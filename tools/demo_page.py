"""Writes the page of the demo: for each workflow the photos sent, the results, the settings, the time."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
.note { border-left: .3rem solid #d9a441; padding: .5rem 1rem; background: #d9a44122; }
section { margin: 2.5rem 0; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; }
figure img { height: 18rem; border-radius: .5rem; display: block; }
figure img { background: repeating-conic-gradient(#bbb 0 25%, #fff 0 50%) 0 0 / 1.5rem 1.5rem; }
figcaption, td:first-child, .time { color: #888; }
td { padding: .1rem 1rem .1rem 0; vertical-align: top; }
"""
SENT = re.compile(r"-sent-(\w+)\.")  # precedes the request's field in the name of a file


@dataclass(frozen=True)
class Shown:
    """A finished request: its picture files (in the page's folder), its settings, and ComfyUI's time in seconds."""

    workflow: str
    pictures: tuple[str, ...]
    settings: Mapping[str, object]
    seconds: float


def caption(name: str) -> str:
    sent = SENT.search(name)
    return f"sent: {sent[1]}" if sent else "result"


def section(shown: Shown) -> str:
    figures = "".join(
        f'<figure><img src="{escape(name)}" alt="{caption(name)}"><figcaption>{caption(name)}</figcaption></figure>'
        for name in shown.pictures
    )
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(str(value))}</td></tr>" for name, value in shown.settings.items()
    )
    title = shown.workflow.replace("_", " ").title()
    return (
        f'<section><h2>{escape(title)}</h2><p class="time">{shown.seconds:.1f} s</p>'
        f'<div class="pictures">{figures}</div><table>{rows}</table></section>'
    )


def page(shown: Sequence[Shown], note: str) -> str:
    """The page as HTML; a `note` that is not empty comes first."""
    remark = f'<p class="note">{escape(note)}</p>' if note else ""
    sections = "".join(section(one) for one in shown)
    head = f'<meta charset="utf-8"><title>Consistent Face: demo</title><style>{STYLE}</style>'
    body = f"<h1>Consistent Face</h1>{remark}{sections}"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'

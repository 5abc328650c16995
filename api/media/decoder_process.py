"""The decoder process, python -m api.media.decoder_process MEMORY: decodes one picture after another.

decoder_pool.py starts it.
Both ways goes one line of JSON, then as many bytes as it says. It ends with the service, when the pipe from it closes,
and by itself when a picture takes too long: the decoders' own code cannot be interrupted from Python.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from ..base.errors import PictureError
from . import pictures

SPARE_SECONDS = 1.0  # the service ends it first, and knows why
PR_SET_PDEATHSIG = 1


def answer(question: Mapping, content: bytes) -> tuple[dict[str, object], Sequence[bytes]]:
    """What is answered, and the files that follow it."""
    if question["do"] == "result":
        try:
            whole = pictures.deliverable(content, question["format"])
            small = pictures.low_res(content) if question["low_res"] else None
        except pictures.BROKEN as error:
            return {"refused": f"ComfyUI gave a picture that cannot be read ({error})."}, []
        return {}, [whole] if small is None else [whole, small]
    name = question["name"]
    source = content.decode("utf-8", "replace") if question["is_text"] else content
    try:
        photo = pictures.accept(source, name, question["largest"], question["most_pixels"])
    except PictureError as error:
        return {"refused": error.message}, []
    except MemoryError:
        return {"refused": f"{name} takes too much memory to decode: save it anew as a plain JPEG, and send that."}, []
    return {"suffix": photo.suffix}, [photo.content]


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    while line := questions.readline():
        question = json.loads(line)
        content = questions.read(question["length"])
        _end_after(question["seconds"] + SPARE_SECONDS)
        said, files = answer(question, content)
        _end_after(0)
        answers.write(json.dumps({**said, "lengths": [len(file) for file in files]}).encode() + b"\n")
        answers.writelines(files)
        answers.flush()


def confine(memory: int) -> None:
    """Limits what a picture can take, as far as the platform can; `memory` in bytes, 0 for no limit."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the service's: it lets what is at hand be finished
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a picture has no business in a core dump
    if memory:
        with contextlib.suppress(ValueError, OSError):  # macOS
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    if sys.platform == "linux":  # elsewhere it ends after the picture at hand
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_after(seconds: float) -> None:
    """By the alarm's default action, which needs no Python; 0 calls it off."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_REAL, seconds)


def main() -> None:
    confine(int(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    with contextlib.suppress(BrokenPipeError):  # the service has gone
        serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()

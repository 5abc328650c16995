"""The decoder process, python -m api.media.decoder_process MEMORY: decodes one picture after another.

decoder_pool.py starts it.
A question and an answer are each one line of JSON, followed by as many bytes as the line says. The process ends when
the service closes the pipe, and by an alarm when a picture takes too long, since Python cannot interrupt a decoder.
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

SPARE_SECONDS = 1.0  # so that the service kills it first and knows why
PR_SET_PDEATHSIG = 1


def answer(question: Mapping, content: bytes) -> tuple[dict[str, object], Sequence[bytes]]:
    """Works on one picture; returns the answer and the files that follow it."""
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
    """Limits this process as far as the platform allows; `memory` in bytes, 0 for no limit."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service handles Ctrl-C and lets the current picture finish
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would contain a photo
    if memory:
        with contextlib.suppress(ValueError, OSError):  # macOS
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    if sys.platform == "linux":  # elsewhere the process ends after the current picture
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_after(seconds: float) -> None:
    """Sets an alarm that ends the process by its default action, without Python; 0 cancels it."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_REAL, seconds)


def main() -> None:
    confine(int(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries must not print into the answers
    with contextlib.suppress(BrokenPipeError):  # the service has gone
        serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()

"""Runs picture decoding in separate processes: one that exceeds its time is killed, and others do not wait for it.

A process decodes many pictures; if it ends, a new one is started.
"""

import asyncio
import contextlib
import json
import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import IO, TypeVar

from ..base.errors import BusyError, OverloadedError
from ..base.limits import Slots
from ..base.settings import ROOT

LOG = logging.getLogger("consistent_face.decoders")
EACH = 1  # decoders per caller, so that one caller cannot occupy all of them
RETRY_AFTER = 30  # seconds
# Otherwise glibc keeps a large picture's memory: 400 MB instead of 50 MB after one of 40 million pixels.
GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": "1000000", "MALLOC_TRIM_THRESHOLD_": "1000000"}
T = TypeVar("T")


class EndedError(Exception):
    """The decoder ended before it answered."""


class TooSlowError(EndedError):
    """The decoder was killed because it exceeded its time."""


class Decoder:
    """One process, started when it is first needed. Only one thread at a time may ask it; any thread may end it."""

    def __init__(self, memory: int):
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def start(self) -> subprocess.Popen[bytes]:
        """Returns the running process; starts one if there is none. Raises OverloadedError."""
        if self._closed:
            raise EndedError("The service stops.")
        if self._process is None or self._process.poll() is not None:
            # The decoder gets none of the service's settings, since some are secret.
            environment = {name: value for name, value in os.environ.items() if not name.startswith("CONSISTENT_FACE_")}
            environment |= GIVES_BACK
            command = [sys.executable, "-m", "api.media.decoder_process", str(self._memory)]
            try:
                self._process = subprocess.Popen(
                    command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            except OSError as error:
                LOG.error("No decoder can be started", exc_info=error)
                raise OverloadedError("No decoder can be started at the moment: try again.", RETRY_AFTER) from error
        return self._process

    def ask(
        self,
        question: Mapping[str, object],
        content: bytes | str,
        seconds: float,
        take: Callable[[dict, IO[bytes]], T],
    ) -> T:
        """Returns what `take` makes of the answer and its files; `seconds` is the time limit.

        Raises EndedError, and what `take` raises.
        """
        is_text = isinstance(content, str)
        content = content.encode("utf-8", "replace") if isinstance(content, str) else content
        process = self.start()
        assert process.stdin is not None and process.stdout is not None
        late = threading.Event()
        timer = threading.Timer(seconds, lambda: (late.set(), process.kill()))
        timer.start()
        answered = False
        try:
            head = {**question, "is_text": is_text, "length": len(content), "seconds": seconds}
            process.stdin.write(json.dumps(head).encode() + b"\n")
            process.stdin.write(content)
            process.stdin.flush()
            taken = take(_answer(process.stdout), process.stdout)
            answered = True
            return taken
        except (BrokenPipeError, EndedError) as error:
            if late.is_set():
                raise TooSlowError(f"It took more than {seconds:g} seconds.") from error
            raise EndedError(f"It ended with {process.wait()}.") from error
        finally:
            timer.cancel()
            timer.join()  # after this it cannot kill the process
            if not answered:
                self.end()
                self._start_again()

    def _start_again(self) -> None:
        """Starts a process for the next picture. If that fails, the next request gets the error."""
        with contextlib.suppress(OverloadedError, EndedError):
            self.start()

    def close(self) -> None:
        """Ends the decoder; a request in progress gets an EndedError."""
        self._closed = True
        if self._process is not None:
            self._process.kill()

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in filter(None, (self._process.stdin, self._process.stdout)):
                with contextlib.suppress(OSError):  # what was not sent yet
                    pipe.close()


class Decoders:
    """A pool of `count` decoders. Create it inside a running event loop, and close it."""

    def __init__(self, count: int, memory: int, patience: float):
        self._slots = Slots(count, EACH, patience)
        self._patience = patience
        self._threads = ThreadPoolExecutor(count, "decoder")
        self._all = [Decoder(memory) for _ in range(count)]
        self._idle: queue.Queue[Decoder] = queue.Queue()  # a new one starts while the others have their turns
        for decoder in self._all:
            self._idle.put(decoder)

    def warm_up(self) -> None:
        """Starts all decoders, so that the first pictures do not wait for them."""
        for _ in self._all:
            self._threads.submit(self._with, Decoder.start)

    async def ask(
        self,
        caller: str,
        question: Mapping[str, object],
        content: bytes | str,
        seconds: float,
        take: Callable[[dict, IO[bytes]], T],
    ) -> T:
        """Waits for the caller's turn, then does as `Decoder.ask`. Also raises OverloadedError."""
        async with self._place(caller):
            loop = asyncio.get_running_loop()
            asked = partial(Decoder.ask, question=question, content=content, seconds=seconds, take=take)
            return await loop.run_in_executor(self._threads, self._with, asked)

    def close(self) -> None:
        for decoder in self._all:
            decoder.close()
        self._threads.shutdown()
        for decoder in self._all:
            decoder.end()

    @contextlib.asynccontextmanager
    async def _place(self, caller: str) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as held:
            try:
                await held.enter_async_context(self._slots.held(caller))
            except BusyError as error:
                raise OverloadedError(
                    f"No decoder was free within {self._patience:g} seconds: send the request again.", RETRY_AFTER
                ) from error
            yield

    def _with(self, act: Callable[[Decoder], T]) -> T:
        decoder = self._idle.get()
        try:
            return act(decoder)
        finally:
            self._idle.put(decoder)


def _answer(answers: IO[bytes]) -> dict:
    try:
        return json.loads(answers.readline())
    except ValueError as error:
        raise EndedError("It has not answered.") from error

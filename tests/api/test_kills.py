"""`kill -9` of the service, of ComfyUI, and of both, in every state of a job: nothing accepted is lost or doubled."""

import contextlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid5

import pytest
import requests

from consistent_face.tests.api.conftest import PHOTO
from consistent_face.tests.api.graphs import make
from consistent_face.tools.paths import ROOT
from consistent_face.tools.server import START_SECONDS, ComfyServer, comfyui, free_port

STATES = ["queued", "running", "pending", "in_progress", "completed", "succeeded"]
PICTURES = 2


class World:
    """A service and a ComfyUI as processes of their own, on ports and folders that outlive them."""

    def __init__(self, folder: Path, max_posts: int = 1000, blurs: int = 1):
        self.max_posts = max_posts
        self.folder, self.comfy_port, self.port = folder, free_port(), free_port()
        self.graphs = make(folder / "graphs", blurs=blurs)
        self.url, self.comfy_url = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.comfy_port}"
        self.comfy_stack = contextlib.ExitStack()
        self.comfy: ComfyServer | None = None
        self.service: subprocess.Popen[bytes] | None = None

    def start_comfy(self) -> None:
        arguments = ["--disable-api-nodes", "--disable-all-custom-nodes"]
        for name in ("input", "output", "temp", "user"):
            (self.folder / name).mkdir(exist_ok=True)
            arguments += [f"--{name}-directory", str(self.folder / name)]
        server = comfyui(self.folder / "comfyui.log", arguments, self.comfy_port)
        self.comfy = self.comfy_stack.enter_context(server)

    def start_service(self) -> None:
        options = {
            "PORT": self.port,
            "DATA": self.folder / "data",
            "COMFY_URL": self.comfy_url,
            "WORKFLOWS": self.graphs,
            "COMFY_INPUT": self.folder / "input",
            "COMFY_OUTPUT": self.folder / "output",
            "MAX_POSTS": self.max_posts,
        }
        environment = {**os.environ, **{f"CONSISTENT_FACE_{name}": str(value) for name, value in options.items()}}
        log = (self.folder / "service.log").open("ab")
        self.service = subprocess.Popen(
            [sys.executable, "-m", "api"], cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        log.close()
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(requests.ConnectionError):
                requests.get(f"{self.url}/healthz", timeout=60)
                return
            time.sleep(0.05)
        raise AssertionError((self.folder / "service.log").read_text()[-3000:])

    def kill(self, who: str) -> None:
        if who in ("service", "both") and self.service is not None:
            self.service.kill()
            self.service.wait()
        if who in ("comfy", "both") and self.comfy is not None:
            self.comfy.process.kill()
            self.comfy.process.wait()
            self.comfy_stack.close()

    def restart(self, who: str) -> None:
        if who in ("comfy", "both"):
            self.start_comfy()
        if who in ("service", "both"):
            self.start_service()

    def order(self, body: dict) -> str:
        answer = requests.post(f"{self.url}/getImagetoImage", json=body, timeout=30).json()
        assert answer["status"] == "PENDING", answer
        return answer["task_id"]

    def state(self, job: str) -> set[str]:
        """What is true of a job right now, in the store's words and in ComfyUI's."""
        with contextlib.closing(sqlite3.connect(self.folder / "data" / "jobs.db", timeout=20)) as database:
            found = {database.execute("SELECT state FROM jobs WHERE id = ?", (job,)).fetchone()[0]}
        with contextlib.suppress(requests.ConnectionError):
            answer = requests.get(f"{self.comfy_url}/api/jobs/{job}", timeout=60)
            if answer.status_code == 200:
                found.add(answer.json()["status"])
        return found

    def until(self, job: str, states: set[str], seconds: float = 120) -> set[str]:
        end, found = time.monotonic() + seconds, set()
        while time.monotonic() < end:
            if (found := self.state(job)) & states:
                return found
        raise AssertionError(f"{job} never came to {states}; it is {found}")

    def check(self, jobs: list[str]) -> None:
        """Every job has its one visible result, and nothing more lies about."""
        for job in jobs:
            self.until(job, {"succeeded", "failed", "cancelled"})
            shown = requests.get(f"{self.url}/jobs/{job}", timeout=30).json()
            assert (shown["state"], len(shown["results"])) == ("succeeded", PICTURES), shown
            for link in shown["results"]:
                assert requests.get(link, timeout=30).content.startswith(b"\x89PNG")
        results = sorted(path.name for path in (self.folder / "data" / "results").glob("*.png"))
        assert results == sorted(f"{job}-{number}.png" for job in jobs for number in range(PICTURES))
        for _ in range(200):
            if not list((self.folder / "data" / "photos").iterdir()):
                break
            time.sleep(0.1)
        assert list((self.folder / "data" / "photos").iterdir()) == []

    def clear(self, jobs: list[str]) -> None:
        for job in jobs:
            requests.delete(f"{self.url}/jobs/{job}", timeout=30)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    one = World(tmp_path_factory.mktemp("world"))
    one.restart("both")
    yield one
    one.kill("both")


@pytest.fixture
def body(consistency: Callable[..., dict]) -> dict:
    return consistency(celery=True, batch=PICTURES, width=512, height=512)


def kill_in(world: World, body: dict, who: str, state: str, jobs: int = 3) -> set[str]:
    """Kills when a job is seen in that state, or past it, with others beside it; gives the states that were met."""
    orders = [world.order(body) for _ in range(jobs)]
    world.until(orders[-1] if state == "queued" else orders[0], {*STATES[STATES.index(state) :]})
    met = {state}
    if state != "completed":  # that one is over too soon to look at the others
        met |= set().union(*(world.state(order) for order in orders)) - {"completed"}
    world.kill(who)
    world.restart(who)
    world.check(orders)
    world.clear(orders)
    return met


@pytest.mark.parametrize("state", ["queued", "completed"])
def test_the_service_is_killed(world: World, body: dict, state: str) -> None:
    kill_in(world, body, "service", state)


def test_comfyui_is_killed(world: World, body: dict) -> None:
    kill_in(world, body, "comfy", "in_progress")


def test_both_are_killed(world: World, body: dict) -> None:
    kill_in(world, body, "both", "in_progress")


def test_a_run_is_adopted_and_not_queued_again(world: World, body: dict) -> None:
    said = (world.folder / "comfyui.log").read_bytes().count(b"got prompt")
    job = world.order(body)
    world.until(job, {"in_progress", "completed"})
    world.kill("service")
    world.restart("service")
    world.check([job])
    assert (world.folder / "comfyui.log").read_bytes().count(b"got prompt") == said + 1
    world.clear([job])


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[World]:
    """With the default of three losses, and runs of some seconds."""
    one = World(tmp_path, max_posts=3, blurs=3)
    one.restart("both")
    yield one
    one.kill("both")


def ended(world: World, job: str) -> dict:
    world.until(job, {"succeeded", "failed"}, seconds=180)
    return requests.get(f"{world.url}/jobs/{job}", timeout=30).json()


@pytest.mark.parametrize(
    "service_too", [False, pytest.param(True, marks=pytest.mark.long)], ids=["comfyui alone", "the service too"]
)
def test_a_job_that_waited_behind_a_killer_does_not_fail_with_it(
    strict: World, consistency: Callable[..., dict], service_too: bool
) -> None:
    """Three times ComfyUI dies while the first job runs in it, and others wait there and in the service."""
    body = consistency(celery=True, batch=4, width=768, height=768)
    killer, *waiting = [strict.order(one) for one in (body, consistency(celery=True), consistency(celery=True))]
    for _ in range(3):
        strict.until(killer, {"in_progress"})
        time.sleep(0.3)
        strict.kill("both" if service_too else "comfy")
        strict.restart("both" if service_too else "comfy")
    lost = ended(strict, killer)
    assert (lost["state"], lost["error"]) == ("failed", "ComfyUI was lost 3 times while this job ran.")
    for job in waiting:
        assert ended(strict, job)["state"] == "succeeded"


def test_a_part_that_kills_comfyui_has_an_end_though_the_first_part_ends_each_time(
    strict: World, consistency: Callable[..., dict]
) -> None:
    """Five pictures are two prompts: after each loss the first one runs again, and ends."""
    job = strict.order(consistency(celery=True, batch=5, width=512, height=512))
    second = str(uuid5(UUID(job), "4"))
    for _ in range(3):
        while requests.get(f"{strict.comfy_url}/api/jobs/{second}").json().get("status") != "in_progress":
            assert "failed" not in strict.state(job)
        time.sleep(0.2)
        strict.kill("comfy")
        strict.restart("comfy")
    shown = ended(strict, job)
    assert (shown["state"], shown["error"]) == ("failed", "ComfyUI was lost 3 times while this job ran.")


@pytest.mark.long
def test_a_run_that_never_begins_before_comfyui_dies_has_an_end(
    strict: World, consistency: Callable[..., dict]
) -> None:
    """ComfyUI dies with each run while it still waits behind one of somebody else's: nobody sees it begin."""
    body = consistency(celery=True)
    foreign = json.loads((strict.graphs / "face_consistency.json").read_text())
    foreign["Size"]["inputs"] |= {"width": 2048, "height": 2048, "batch_size": 8}
    (strict.folder / "input" / "example.png").write_bytes(PHOTO.read_bytes())
    job = ""
    for _ in range(6):
        answer = requests.post(f"{strict.comfy_url}/prompt", json={"prompt": foreign}, timeout=30)
        assert answer.status_code == 200, answer.text
        job = job or strict.order(body)
        if "failed" in strict.until(job, {"pending", "failed"}):
            break
        strict.kill("comfy")
        strict.restart("comfy")
    shown = ended(strict, job)
    assert (shown["state"], shown["error"]) == ("failed", "ComfyUI was lost 3 times while this job ran.")


@pytest.mark.long
@pytest.mark.parametrize("who", ["service", "comfy", "both"])
def test_thirty_kills_in_each_state(world: World, body: dict, who: str) -> None:
    """Four jobs a kill stand in several states at once: every kill counts for each of them."""
    met = Counter(dict.fromkeys(STATES, 0))
    while min(met.values()) < 30:
        met.update(kill_in(world, body, who, min(STATES, key=lambda state: met[state]), jobs=4))


@pytest.mark.long
def test_kills_at_any_moment(world: World, body: dict) -> None:
    chance = random.Random(6)
    for _ in range(60):
        jobs = [world.order(body) for _ in range(4)]
        time.sleep(chance.uniform(0, 4))
        who = chance.choice(["service", "service", "comfy", "both"])
        world.kill(who)
        world.restart(who)
        world.check(jobs)
        world.clear(jobs)

"""pyannote_audio.diarize_speakers: who speaks when, by pyannote.audio on this machine or by the paid service of its
makers."""

import hashlib
import json
import os
import re
import time
import urllib.error
import urllib.request
import wave

import onceover_node
import onceover_sound
import onceover_turns

SERVICE = "pyannote_audio"
KEY = "PYANNOTEAI_API_KEY"
# Makers whose models a request may name; a pipeline's files name classes to load.
OWNERS = ("pyannote", "pyannoteAI")


def diarize(run):
    run.file("audio_path")
    paid = run.input.get("use_paid_api", False)
    name = run.require("paid_model_name" if paid else "model_name")
    limits = onceover_turns.limits_of(run)
    begun = time.monotonic()
    with onceover_sound.decoded(run, "audio_path") as (sound, length):
        turns, seconds = (by_service if paid else on_this_machine)(run, name, sound, limits)
    facts = {"engine": "pyannote", "api_type": "paid" if paid else "free", "model_name": name}
    return onceover_turns.result_of(run, turns, length, facts, seconds, time.monotonic() - begun)


def on_this_machine(run, name, sound, limits):
    """Turns by pyannote.audio, and the seconds it took."""
    # Without this, the library would report its use to its makers.
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
    key = (name, run.input.get("device", "auto"))
    folder = None
    if not run.keeps(key):
        [folder] = onceover_node.hub_folders(run, [name], SERVICE, OWNERS, named_by(onceover_node.local_model(name)))
    run.progress(1, "loading the library")
    torch = onceover_node.library("torch", SERVICE)
    library = onceover_node.library("pyannote.audio", SERVICE)
    device = onceover_node.device(run.input.get("device", "auto"), torch.cuda.is_available())
    run.progress(5, f"loading {name}")
    place = torch.device("cuda:0" if device == "cuda" else "cpu")
    pipeline = run.keep(key, lambda: load(library, name, folder, place))
    with wave.open(sound, "rb") as opened:
        raw = bytearray(opened.readframes(opened.getnframes()))
    samples = torch.frombuffer(raw, dtype=torch.int16).float().div(32768).unsqueeze(0)
    # Both steps go over the sound; between and after them little is done.
    parts = {"segmentation": (10, 50), "embeddings": (50, 97)}

    def hook(step, artifact, file=None, total=None, completed=None):
        if step in parts and total:
            low, high = parts[step]
            run.progress(low + (high - low) * completed / total, step)

    begun = time.monotonic()
    answer = pipeline({"waveform": samples, "sample_rate": 16000}, hook=hook, **limits)
    annotation = getattr(answer, "speaker_diarization", answer)
    turns = [(turn.start, turn.end, speaker) for turn, _, speaker in annotation.itertracks(yield_label=True)]
    return turns, time.monotonic() - begun


def load(library, name, folder, place):
    try:
        pipeline = onceover_node.fetched(lambda: library.Pipeline.from_pretrained(folder), name)
    except (KeyError, TypeError, ValueError, FileNotFoundError) as why:
        raise onceover_node.Failure(
            f"the model in {folder} cannot be loaded; it must be a pipeline of pyannote.audio 4, with its config.yaml and "
            f"the folders that it names: {onceover_node.in_words(why)}"
        ) from why
    pipeline.to(place)
    return pipeline


def named_by(folder):
    """Models of the hub that the config.yaml of a pipeline names, which the library fetches."""
    try:
        text = (folder / "config.yaml").read_text(encoding="utf-8", errors="replace") if folder else ""
    except OSError:
        return []
    return re.findall(rf"^[^#\n]*[:\s][\"']?((?:{'|'.join(OWNERS)})/[\w.-]+)", text, re.MULTILINE)


def by_service(run, name, sound, limits):
    """Turns by the web service of pyannoteAI, and the seconds it took. The key travels in a header, nowhere else."""
    service = Service(
        run, onceover_node.token(KEY, "input_data.use_paid_api asks a paid service", "https://dashboard.pyannote.ai")
    )
    begun = time.monotonic()
    with open(sound, "rb") as file:
        data = file.read()
    media = f"media://onceover/{hashlib.sha256(data).hexdigest()}.wav"
    run.progress(5, "sending the sound")
    service.put(service.call("POST", "/media/input", {"url": media})["url"], data)
    run.progress(30, "waiting for the service")
    asked = {"url": media, "model": name.rsplit("-diarization-", 1)[-1]}
    names = {"num_speakers": "numSpeakers", "min_speakers": "minSpeakers", "max_speakers": "maxSpeakers"}
    asked.update({names[key]: value for key, value in limits.items()})
    job = service.call("POST", "/diarize", asked)["jobId"]
    answer = service.wait(job)
    turns = [(turn["start"], turn["end"], turn["speaker"]) for turn in answer["output"]["diarization"]]
    return turns, time.monotonic() - begun


class Service:
    """The web service of pyannoteAI."""

    TRIES, LIMIT = 4, 60
    # Seconds between two checks of a job.
    EVERY = 5.0

    def __init__(self, run, key):
        self.run = run
        self.key = key
        self.address = (os.environ.get("PYANNOTEAI_API_URL") or "https://api.pyannote.ai/v1").rstrip("/")

    def call(self, method, path, body=None):
        """One call; its JSON."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        answer = self.send(urllib.request.Request(self.address + path, data, headers, method=method), path)
        try:
            return json.loads(answer)
        except ValueError:
            raise onceover_node.Failure(f"{self.address}{path} answered something that is not JSON") from None

    def put(self, address, data):
        """Sends the sound to the address that the service named. The key is not sent, since the address belongs to others."""
        headers = {"Content-Type": "audio/wav"}
        self.send(urllib.request.Request(address, data, headers, method="PUT"), "the upload of the sound", 600)

    def send(self, request, what, limit=LIMIT):
        """The answer's body. A fault that may be temporary is tried again."""
        for left in reversed(range(self.TRIES)):
            try:
                with urllib.request.urlopen(request, timeout=limit) as answer:
                    return answer.read()
            except urllib.error.HTTPError as why:
                said = " ".join(why.read(500).decode("utf-8", "replace").split())
                if why.code in (401, 403):
                    raise onceover_node.Failure(
                        f"the service of pyannoteAI does not take the key in {KEY} ({why.code}): {said}"
                    ) from None
                if not left or not (why.code == 429 or why.code >= 500):
                    raise onceover_node.Failure(
                        f"the service of pyannoteAI answered {why.code} to {what}: {said}"
                    ) from None
            except OSError as why:
                if not left:
                    raise onceover_node.Failure(
                        f"the service of pyannoteAI cannot be reached at {what}: {why}"
                    ) from None
            self.pause(2.0 ** (self.TRIES - left - 1))
        raise AssertionError("the last try answers or fails")

    def pause(self, seconds):
        time.sleep(min(seconds, self.EVERY))

    def wait(self, job):
        """The job once it has ended well."""
        while True:
            answer = self.call("GET", f"/jobs/{job}")
            status = answer.get("status")
            if status == "succeeded":
                return answer
            if status in ("failed", "canceled"):
                said = (answer.get("output") or {}).get("error") or "it gives no reason"
                raise onceover_node.Failure(f"the service of pyannoteAI ended the job as {status}: {said}")
            self.pause(self.EVERY)


if __name__ == "__main__":
    onceover_node.main(diarize)

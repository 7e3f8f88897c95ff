"""Runs every node for real and prints a row for each: its engine, the seconds it took, a figure of its quality, or why it was
not run. Two chains end in videos whose sound and picture are held to the clock. `make test-nodes` runs it.

    ONCEOVER_ENVIRONMENTS=... ONCEOVER_SPEECH_MODELS=... python3 tests/nodes/real_rows.py ONCEOVERD
"""

import array
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import dialogue
from diarization_error import error_rate
from served_daemon import Failed, NotReady, ServedDaemon, Translator, letters
from word_errors import word_errors

MODELS = pathlib.Path(os.environ["ONCEOVER_SPEECH_MODELS"])
SAMPLE = pathlib.Path(__file__).resolve().parents[2] / "assets/sample/make-sample.sh"
# Lines of the sample, and what the language model of the test makes of them: never longer, and without accents, which the
# small model for reading does not know.
FRENCH = {
    "Onceover never does the same work twice.": "Onceover travaille une seule fois.",
    "A stage that succeeded is answered at once.": "Un stage fini donne tout de suite.",
    "Everything else runs, and you can watch it.": "Tout le monde court, et on le voit.",
}
# Frames a second of the sample; by how much the time of a text on the screen and of a spoken line may be off, in seconds.
FPS = 25.0
TEXT_OFF, VOICE_OFF = 2 / FPS + 0.001, 0.1
# The highest errors, as parts: of words that are heard, of speech that is given to another speaker.
WORD_ERRORS, TURN_ERRORS = 0.1, 0.1
# By how many dB a voice must be clearer than in the mixture, and how many dB of SDR both tracks together must have.
CLEARER, WHOLE = 6.0, 40.0
TALK_LINES = 6
# How the names of chains begin.
CHAIN = "chain: "
# Where the weights are of which no package of a registry is known.
ELSEWHERE = {
    "qwen3_asr": "at Hugging Face",
    "funasr": "at ModelScope",
    "audio_separator": "at GitHub, as releases",
    "pyannote": "at Hugging Face, for accounts that accepted their conditions",
    "indextts": "at Hugging Face",
}
# Names of what no output names.
ENGINES = {"speech": "whisper base", "local": "the test's own", "ffmpeg": "ffmpeg"}


class Rows:
    """Runs nodes and remembers a row of each."""

    def __init__(self, daemon):
        self.daemon, self.rows, self.wrong = daemon, [], []

    def run(self, task, node, judge=None, **input_data):
        """Runs a node; its output, None if it cannot be run. `judge(output)` gives the figure, or fails with an
        AssertionError."""
        name = f"{node} ({input_data['engine']})" if "engine" in input_data else node
        try:
            output, seconds = self.daemon.run(task, node, **input_data)
        except NotReady as why:
            place = ELSEWHERE.get(input_data.get("engine", node.split(".")[0]))
            self.add(name, "", None, f"not run: its weights are {place}; no package with them is known" if place else f"not run: {why}")
            return None
        except Failed as why:
            self.fault(name, f"FAILED: {why}")
            return None
        try:
            figure = judge(output) if judge else "ended well"
        except AssertionError as why:
            figure = None
            self.fault(name, f"WRONG: {why}")
        if figure is not None:
            self.add(name, engine_of(node, output), seconds, figure)
        return output

    def add(self, name, engine, seconds, figure):
        took = "" if seconds is None else f"{seconds:.1f}"
        self.rows.append((name, engine, took, figure))

    def fault(self, name, why):
        self.wrong.append(name)
        self.add(name, "", None, why)

    def print_table(self):
        headings = ("node", "engine", "s", "figure, or why not")
        widths = [max(len(row[at]) for row in [headings, *self.rows]) for at in range(3)]
        for row in [headings, *sorted(self.rows, key=lambda row: (row[0].startswith(CHAIN), row[0]))]:
            print("  ".join([row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2].rjust(widths[2]), row[3]]))


def engine_of(node, output):
    """What made an output, as it says."""
    named = [output.get(name) for name in ("engine", "provider_used", "model_name")]
    name = next((str(name) for name in named if name), node.split(".")[0])
    return ENGINES.get(name, name if any(named) else "onceover")


def check(condition, why):
    if not condition:
        raise AssertionError(why)


def json_of(path):
    return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))


def segments_of(path):
    content = json_of(path)
    return content["segments"] if isinstance(content, dict) else content


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *map(str, arguments)], check=True)


def duration_of(path):
    command = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(path)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def count(field, of="found"):
    """A judge that wants a number above 0."""

    def judge(output):
        number = output.get(field)
        number = len(number) if isinstance(number, (list, dict)) else number
        check(number, f"{field} is {number!r}")
        return f"{number} {of}"

    return judge


# Subtitles that are in the picture.


def read_picture(rows, task, video):
    """The cues that are read in a video."""
    frames = count("keyframe_files_count", "pictures")
    rows.run(task, "ffmpeg.extract_keyframes", frames, video_path=video, keyframe_sample_count=12)
    rows.run(task, "paddleocr.detect_subtitle_area", judge_area)
    rows.run(task, "ffmpeg.crop_subtitle_images", count("frames_count", "frames"), video_path=video)
    rows.run(task, "paddleocr.create_stitched_images", count("frames_count", "frames"))
    rows.run(task, "paddleocr.perform_ocr", count("ocr_results_count", "frames with text"))
    return rows.run(task, "paddleocr.postprocess_and_finalize", video_path=video)


def judge_area(output):
    left, top, right, bottom = output["subtitle_area"]
    check(left == 0 and right == 640 and 240 < top < 308 and bottom > 332, f"the area is {output['subtitle_area']}")
    return f"rows {top} to {bottom}, the text is in them"


def judge_texts(expected):
    """Judges cues that are read by the lines that are shown."""

    def judge(cues):
        check(len(cues) == len(expected), f"{len(cues)} cues of {len(expected)}: {cues}")
        right = sum(letters(cue["text"]) == letters(line["text"]) for cue, line in zip(cues, expected, strict=True))
        off = max(
            abs(cue[own] - shown(line)[at])
            for cue, line in zip(cues, expected, strict=True)
            for at, own in enumerate(("startTime", "endTime"))
        )
        check(right == len(expected), f"{right} of {len(expected)} texts are right: {[cue['text'] for cue in cues]}")
        check(off <= TEXT_OFF, f"a text is {off:.3f} s off")
        return f"{right} of {len(expected)} texts equal, at most {off * 1000:.0f} ms off"

    return judge


def shown(line):
    """When a text is on the screen: ffmpeg draws it on each frame whose time lies in the line's."""
    start, end = line["start"] * FPS, line["end"] * FPS
    return -(-start // 1) / FPS, (end // 1 + 1) / FPS


def burnt_chain(rows, sample):
    """Read, translated, burnt in over the original: the new texts are read again where the old ones were."""
    video, lines = sample / "clip.mp4", segments_of(sample / "transcript.json")
    read = read_picture(rows, "burnt", str(video))
    if read is None:
        return
    replace(rows, "paddleocr.postprocess_and_finalize", judge_texts(lines), segments_of(read["json_file"]))
    translated = rows.run("burnt", "wservice.translate_subtitles", judge_translation, target_language="fr")
    made = rows.run(
        "burnt", "ffmpeg.burn_subtitles", count("cues_count", "cues"), video_path=str(video), cover="box", position="covered"
    )
    if translated is None or made is None:
        return
    again = Rows(rows.daemon)
    read = read_picture(again, "again", made["video_path"])
    french = [{**line, "text": FRENCH[line["text"].strip()]} for line in lines]
    cues = segments_of(read["json_file"]) if read else []
    replace(rows, f"{CHAIN}read, translated, burnt in", judge_texts(french), cues)


def judge_translation(output):
    lines = segments_of(output["translated_segments_file"])
    texts = [letters(line.get("translated_text") or line["text"]) for line in lines]
    right = sum(text in [letters(line) for line in FRENCH.values()] for text in texts)
    check(right == len(FRENCH), f"{right} of {len(FRENCH)} lines are translated: {texts}")
    return f"{right} of {len(FRENCH)} lines of the test's own server"


def replace(rows, name, judge, value):
    """Judges something by a further file, in the row of this name."""
    former = next((row for row in rows.rows if row[0] == name), (name, "", "", ""))
    rows.rows = [row for row in rows.rows if row is not former]
    try:
        rows.rows.append((*former[:3], judge(value)))
    except AssertionError as why:
        rows.fault(name, f"WRONG: {why}")


# Speech.


def make_talk(folder):
    """A video of two who talk, with the truth: turns and texts."""
    voices = dialogue.PERSONS if shutil.which("flite") else dialogue.RULES
    two = dict(list(voices.items())[-2:])
    turns, texts = dialogue.make(two, folder / "talk.wav", 5, TALK_LINES, (0.9, 1.3))
    picture = f"testsrc2=size=320x180:rate=25:duration={turns[-1][1] + 1.5:.2f}"
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    ffmpeg("-f", "lavfi", "-i", picture, "-i", folder / "talk.wav", "-af", "apad", "-shortest", *codecs, folder / "talk.mp4")
    return folder / "talk.mp4", turns, texts


def spoken_chain(rows, folder):
    """Heard, written, told apart and spoken again: each line of the dub is where it was spoken."""
    video, turns, texts = make_talk(folder)
    rows.run("talk", "ffmpeg.probe", count("duration", "s"), video_path=str(video))
    rows.run("talk", "ffmpeg.extract_audio", judge_sound(duration_of(video)), video_path=str(video))
    asked = {"model_name": "speech", "language": "en", "temperature": [0.0]}
    heard = rows.run("talk", "faster_whisper.transcribe_audio", judge_words(" ".join(texts)), **asked)
    told = rows.run("talk", "pyannote_audio.diarize_speakers", judge_turns(turns), engine="campplus")
    if heard is None or told is None:
        return
    mixed, voice = mix_with_music(folder)
    rows.run("sung", "audio_separator.separate_vocals", judge_voice(mixed, voice), engine="spleeter", audio_path=str(mixed))
    rows.run("talk", "pyannote_audio.get_speaker_segments", count("segments", "segments"))
    rows.run("talk", "pyannote_audio.validate_diarization", judge_plausible)
    for node in ("merge_speaker_segments", "merge_with_word_timestamps", "merge_speaker_based_subtitles"):
        rows.run("talk", f"wservice.{node}", judge_speakers(turns))
    rows.run("talk", "wservice.generate_subtitle_files", count("subtitle_files", "files"))
    rows.run("talk", "ffmpeg.split_audio_segments", count("segments_count", "clips"))
    rows.run("talk", "wservice.prepare_tts_segments", count("total_segments", "segments"), min_duration=0, max_gap=0)
    spoken = rows.run("talk", "indextts.generate_speech", count("clips_count", "clips"), engine="espeak")
    dub = rows.run("talk", "ffmpeg.mix_dub", count("clips_count", "clips"), video_path=str(video), original="replace")
    if spoken and dub:
        replace(rows, f"{CHAIN}heard, told apart, dubbed", judge_dub(video, spoken), dub)


def mix_with_music(folder):
    """The talk as loud as some chords with a beat, and the talk alone."""
    chords = "+".join(f"0.06*sin(2*PI*{tone}*t*(1+0.12*mod(floor(t),3)))" for tone in (220, 277, 330, 440, 554, 660))
    music = f"aevalsrc='({chords})*exp(-2*mod(t,1))*2+0.4*sin(2*PI*60*t)*exp(-14*mod(t,0.5))':s=44100"
    mixed, voice = folder / "mixed.wav", folder / "voice.wav"
    ffmpeg("-i", folder / "talk.wav", "-ar", "44100", "-ac", "2", "-t", "20", voice)
    filters = "[0][1]amix=inputs=2:duration=first:normalize=0"
    ffmpeg("-i", voice, "-f", "lavfi", "-i", music, "-filter_complex", filters, "-ac", "2", mixed)
    return mixed, voice


def judge_voice(mixed, voice):
    def judge(output):
        true = samples_of(voice)
        before, after = distortion(true, samples_of(mixed)), distortion(true, samples_of(output["vocal_audio"]))
        check(after - before >= CLEARER, f"the voice has {after:.1f} dB of SDR, {before:.1f} dB in the mixture")
        parts = zip(samples_of(output["vocal_audio"]), samples_of(output["instrumental_audio"]), strict=True)
        whole = distortion(samples_of(mixed), [one + other for one, other in parts])
        check(whole > WHOLE, f"voice and accompaniment together are not what was heard: {whole:.1f} dB")
        return f"SDR of the voice {after:.1f} dB, {before:.1f} dB in the mixture"

    return judge


def samples_of(path):
    """The samples of a sound, as 16-bit mono at 16 kHz."""
    command = ["ffmpeg", "-loglevel", "error", "-i", path, "-ar", "16000", "-ac", "1", "-f", "s16le", "-"]
    return array.array("h", subprocess.run(command, capture_output=True, check=True).stdout)


def distortion(true, found):
    """The signal-to-distortion ratio in dB."""
    wrong = sum((one - other) ** 2 for one, other in zip(true, found, strict=False))
    return 10 * math.log10(sum(one * one for one in true) / max(wrong, 1))


def judge_sound(expected):
    def judge(output):
        length = duration_of(output["audio_path"])
        check(abs(length - expected) < 0.1, f"{length} s of {expected} s")
        return f"{length:.1f} s of sound, {abs(length - expected) * 1000:.0f} ms off"

    return judge


def judge_words(said):
    def judge(output):
        errors = word_errors(said, " ".join(one["text"] for one in segments_of(output["segments_file"])))
        check(errors <= WORD_ERRORS, f"{errors:.1%} of the words are wrong")
        return f"{errors:.1%} word errors in {output['audio_duration']:.0f} s"

    return judge


def judge_turns(turns):
    def judge(output):
        found = [(one["start"], one["end"], one["speaker"]) for one in segments_of(output["diarization_file"])]
        rate, collar = error_rate(turns, found), error_rate(turns, found, 0.25)
        one = error_rate(turns, [(start, end, "all") for start, end, _ in turns])
        check(rate <= TURN_ERRORS, f"the DER is {rate:.1%}")
        return f"DER {rate:.1%} ({collar:.1%} with a collar of 0.25 s), one for all {one:.1%}"

    return judge


def judge_speakers(turns):
    """Whether lines that are clearly of one turn have its speaker, whatever the labels are."""

    def judge(output):
        lines = output.get("merged_segments") or output["merged_segments_file"]
        lines = segments_of(lines) if isinstance(lines, str) else lines
        pairs = set()
        for line in lines:
            middle = (line["start"] + line["end"]) / 2
            pairs |= {(line.get("speaker"), true) for start, end, true in turns if start <= middle <= end}
        check(pairs and len(pairs) == len({true for *_, true in turns}), f"speakers are mixed up: {pairs}")
        return f"{len(lines)} lines, each of its speaker"

    return judge


def judge_plausible(output):
    check(output["valid"], f"it is not plausible: {output}")
    return "plausible"


def judge_dub(video, spoken):
    """Judges by the lines that begin after a silence in the dub."""

    def judge(output):
        path, onsets = output["dubbed_path"], onsets_of(output["dubbed_path"])
        check(abs(duration_of(path) - duration_of(video)) < 0.1, f"it lasts {duration_of(path)} s")
        clips = json_of(spoken["clips_file"])["clips"]
        ends = [0.0, *(clip["start"] + clip["duration"] for clip in clips)]
        clear = [clip["start"] for clip, end in zip(clips, ends, strict=False) if clip["start"] - end > 0.4]
        check(len(clear) >= 2, f"too few lines begin after a silence: {clips}")
        off = max(min(abs(onset - start) for onset in onsets) for start in clear)
        check(off <= VOICE_OFF, f"a line is {off:.3f} s off: {onsets} for {clear}")
        return f"{len(clear)} of {len(clips)} lines measured, at most {off * 1000:.0f} ms off"

    return judge


def onsets_of(video):
    """When something is heard after a silence of at least 0.3 s."""
    silence = ["-af", "silencedetect=noise=-45dB:d=0.3", "-f", "null", "-"]
    done = subprocess.run(["ffmpeg", "-hide_banner", "-nostats", "-i", video, "-vn", *silence], capture_output=True, text=True)
    return [float(end) for end in re.findall(r"silence_end: ([\d.]+)", done.stderr)]


# Everything else.


def others(rows, sample):
    """Nodes of text, and those whose models cannot be had."""
    clip, lines = str(sample / "clip.mp4"), str(sample / "transcript.json")
    rows.run("clip", "ffmpeg.mux_subtitles", count("added", "track"), video_path=clip, subtitle_path=str(sample / "clip.srt"))
    rows.run("clip", "wservice.check_subtitles", count("cues_count", "cues"), subtitle_path=lines)
    rows.run("clip", "wservice.correct_subtitles", judge_corrected, subtitle_path=lines)
    rows.run("clip", "wservice.ai_optimize_text", count("parts", "part of the test's own server"), segments_file=lines)
    text = " ".join(one["text"].strip() for one in segments_of(lines))
    rows.run("clip", "wservice.rebuild_subtitle_with_words", judge_lines(text), segments_file=lines, optimized_text=text)
    rows.run("clip", "wservice.segment_subtitles", count("statistics", "figures"), subtitle_file=lines)
    sound = {"audio_path": str(sample / "clip.mp4")}
    for service in ("qwen3_asr", "funasr"):
        rows.run(f"clip-{service}", f"{service}.transcribe_audio", **sound)
    further_engines(rows, "audio_separator.separate_vocals", **sound)
    further_engines(rows, "pyannote_audio.diarize_speakers", **sound)
    further_engines(rows, "indextts.generate_speech", text="Hello", language="en", spk_audio_prompt=sound["audio_path"])


def further_engines(rows, node, **input_data):
    """Runs a node with those of its engines that have no row yet."""
    parameters = next(one for one in rows.daemon.nodes() if one["name"] == node)["parameters"]
    engines = next(one for one in parameters if one["name"] == "engine")["allowed"]
    for engine in engines:
        if not any(row[0] == f"{node} ({engine})" for row in rows.rows):
            rows.run(f"clip-{engine}", node, engine=engine, **input_data)


def judge_corrected(output):
    text = pathlib.Path(output["corrected_subtitle_path"]).read_text(encoding="utf-8")
    kept = sum(letters(line) in letters(text) for line in FRENCH)
    check(kept == len(FRENCH), f"{kept} of {len(FRENCH)} lines are there: {text}")
    return f"{kept} of {len(FRENCH)} lines that need no correction kept"


def judge_lines(text):
    def judge(output):
        lines = segments_of(output["optimized_segments_file"])
        check(letters("".join(one["text"] for one in lines)) == letters(text), "words are missing or too many")
        return f"{len(lines)} lines, all words once"

    return judge


def main(program):
    with tempfile.TemporaryDirectory(prefix="onceover-rows-") as made:
        folder = pathlib.Path(made)
        sample, talk = folder / "sample", folder / "talk"
        talk.mkdir()
        subprocess.run([SAMPLE, sample], check=True)
        translator = Translator(FRENCH)
        config = translator.config()
        with ServedDaemon(program, folder, config, [folder], ONCEOVER_MODELS=str(MODELS)) as daemon:
            rows = Rows(daemon)
            burnt_chain(rows, sample)
            spoken_chain(rows, talk)
            others(rows, sample)
            for node in daemon.nodes():
                if not any(row[0].split(" ")[0] == node["name"] for row in rows.rows):
                    rows.fault(node["name"], "no row: an earlier node of its chain gave nothing")
        rows.print_table()
    if rows.wrong:
        raise SystemExit(f"not as they should be: {', '.join(rows.wrong)}")


if __name__ == "__main__":
    main(sys.argv[1])

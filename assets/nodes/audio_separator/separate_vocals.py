"""audio_separator.separate_vocals: splits a sound into voice and accompaniment with models of UVR (MDX) or Demucs."""

import os
import re
import sys

import onceover_node
import onceover_sound

SERVICE = "audio_separator"
RATE = 44100
MODES = ("default", "high_quality", "fast")
MODELS = {
    # htdemucs_ft is four models, one for each track.
    "demucs": {"high_quality": "htdemucs_ft.yaml", "fast": "htdemucs.yaml", "default": "htdemucs.yaml"},
    "mdx": {
        "high_quality": "UVR-MDX-NET-Voc_FT.onnx",
        "fast": "UVR-MDX-NET-Inst_3.onnx",
        "default": "UVR-MDX-NET-Inst_HQ_5.onnx",
    },
}
NESTED = ("quality_mode", "model_type", "model_name", "use_vocal_optimization")


def separate(run):
    run.file("audio_path")
    mode, name = choose(settings(run.input))
    thorough = settings(run.input).get("use_vocal_optimization", False)
    shifts = SHIFTS["thorough" if thorough else mode]
    onceover_node.library_folder("audio_separator", SERVICE)
    folder = os.environ.get("AUDIO_SEPARATOR_MODEL_DIR") or str(onceover_node.models_folder() / SERVICE)
    key = (name, run.input.get("device", "auto"), thorough, shifts)
    there = run.keeps(key) or onceover_node.offline_without_hub(run, "https://github.com")
    if not there and not os.path.isfile(os.path.join(folder, name)):
        raise no_model(name, name, folder)
    run.progress(0, "loading the library")
    torch = onceover_node.library("torch", SERVICE)
    device = onceover_node.device(run.input.get("device", "auto"), torch.cuda.is_available())
    if device == "cpu":
        # The library has no such setting: it takes what it finds.
        has_cuda, torch.cuda.is_available = torch.cuda.is_available, lambda: False
        run.at_end(lambda: setattr(torch.cuda, "is_available", has_cuda))
    follow_bars(run, bars_of(name, shifts))
    library = onceover_node.library("audio_separator.separator", SERVICE)
    results = str(run.path("audio", "-").parent)
    run.progress(2, f"loading {name}")
    kind = careful(library.Separator, name, there)
    separator = run.keep(key, lambda: load(kind, name, folder, results, thorough, shifts))
    # It may be of an earlier run.
    separator.output_dir = separator.model_instance.output_dir = results
    run.progress(5, "separating")
    with onceover_sound.decoded(run, "audio_path", RATE, 2) as (sound, _):
        named = separator.separate(sound)
    files = [
        path
        for path in (os.path.join(results, file) for file in named)
        if os.path.isfile(path) and os.path.getsize(path)
    ]
    if not files:
        raise onceover_node.Failure(f"the model {name} gave no file for {run.input['audio_path']}; the run log has more")
    tracks = as_tracks(files)
    if "instrumental" not in tracks and (others := accompaniment(files)):
        tracks["instrumental"] = others[0] if len(others) == 1 else add_up(others, tracks["vocals"])
        files = files if tracks["instrumental"] in files else [*files, tracks["instrumental"]]
    output = {
        "vocal_audio": tracks["vocals"],
        "all_audio_files": files,
        "engine": SERVICE,
        "model_name": name,
        "model_used": name,
        "quality_mode": mode,
        "device": device,
    }
    if "instrumental" in tracks:
        output["instrumental_audio"] = tracks["instrumental"]
    return output


# Passes of Demucs over the sound that are shifted a little each time, by quality_mode and for the best voice. Without any it
# goes over the sound once.
SHIFTS = {"fast": 0, "default": 2, "high_quality": 2, "thorough": 5}


def load(separator, name, folder, results, thorough, shifts):
    """The library's object with its model."""
    made = separator(
        model_file_dir=folder,
        output_dir=results,
        output_format="FLAC",
        # Tracks are made quieter only if they would be clipped: with a lower limit each one would be by another factor, and
        # their sum would be no longer what was heard.
        normalization_threshold=1.0,
        mdx_params={
            "hop_length": 1024,
            "segment_size": 256,
            "overlap": 0.25,
            "batch_size": 1,
            "enable_denoise": thorough,
        },
        demucs_params={
            "segment_size": "Default",
            "shifts": shifts,
            "overlap": 0.25,
            "segments_enabled": True,
        },
    )
    try:
        made.load_model(model_filename=name)
    except ValueError as why:
        if "not found in supported model files" not in str(why):
            raise
        raise onceover_node.Failure(
            f"input_data.model_name is '{name}', which audio-separator does not know; {os.path.dirname(sys.executable)}"
            "/audio-separator --list_models tells what it knows"
        ) from why
    return made


def settings(input_data):
    """The settings of a request: those in `audio_separator_config` count before those beside it."""
    nested = input_data.get("audio_separator_config") or {}
    chosen = {name: input_data[name] for name in NESTED if name in input_data}
    chosen.update({name: nested[name] for name in NESTED if nested.get(name) is not None})
    return chosen


def choose(chosen):
    """Quality and name of the model: the one named, else by the table."""
    mode = chosen.get("quality_mode", "default")
    kind = chosen.get("model_type", "demucs")
    for name, value, allowed in (("quality_mode", mode, MODES), ("model_type", kind, MODELS)):
        if value not in allowed:
            raise onceover_node.Failure(f"input_data.{name} is {value!r}; it must be one of {', '.join(allowed)}")
    name = chosen.get("model_name") or MODELS[kind][mode]
    if os.path.basename(name) != name:
        raise onceover_node.Failure(f"input_data.model_name is '{name}'; it must be the name of a model, not a path")
    return mode, name


def track_of(path):
    """What is heard in a file, by its name; None if the name does not say."""
    name = os.path.basename(path).lower()
    if "vocals" in name and "no_vocal" not in name:
        return "vocals"
    if any(word in name for word in ("instrumental", "inst", "no_vocal")):
        return "instrumental"
    return next((word for word in ("drums", "bass", "other") if word in name), None)


def as_tracks(files):
    """The first file of each track. If none is the voice, the first file is taken for it."""
    tracks = {}
    for file in files:
        track = track_of(file)
        if track is not None:
            tracks.setdefault(track, file)
    tracks.setdefault("vocals", files[0])
    return tracks


def accompaniment(files):
    """The files of all that is not the voice; none if no file is named as the voice."""
    if not any(track_of(file) == "vocals" for file in files):
        return []
    return [file for file in files if track_of(file) != "vocals"]


def add_up(files, voice):
    """The path of a file that holds the tracks of all these, beside that of the voice and named as it is."""
    folder, name = os.path.split(voice)
    target = os.path.join(folder, re.sub(r"\(vocals\)", "(Instrumental)", name, flags=re.IGNORECASE))
    if target == voice:
        target = os.path.join(folder, f"(Instrumental)_{name}")
    inputs = [part for file in files for part in ("-i", f"file:{file}")]
    command = ["ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "error", "-y", *inputs, "-filter_complex"]
    # Without normalize=0 each track would be made quieter.
    command += [f"amix=inputs={len(files)}:normalize=0", "-c:a", "flac", f"file:{target}"]
    onceover_sound.called(command, f"the accompaniment cannot be put together of {len(files)} tracks by ffmpeg")
    return target


def no_model(name, file, folder):
    """The failure of a model one of whose files is missing."""
    command = os.path.join(os.path.dirname(sys.executable), "audio-separator")
    return onceover_node.Failure(
        f"the model '{name}' is not on this machine and cannot be fetched: {file} is missing in {folder}. Where there is "
        f"a network, run: {command} --download_model_only --model_file_dir {folder} --model_filename {name}; then bring "
        "that folder here"
    )


def careful(separator, name, there):
    """The library's class, made so that a file that was fetched in part never counts as fetched."""

    class Careful(separator):
        def download_file_if_not_exists(self, url, output_path):
            if os.path.isfile(output_path):
                return
            if not there:
                raise no_model(name, os.path.basename(output_path), self.model_file_dir)
            unfinished = f"{output_path}.{os.getpid()}"
            try:
                super().download_file_if_not_exists(url, unfinished)
                os.replace(unfinished, output_path)
            finally:
                if os.path.exists(unfinished):
                    os.unlink(unfinished)

    return Careful


def bars_of(name, shifts):
    """How often the library goes through the sound, each time with another progress bar."""
    if name.startswith("htdemucs"):
        return max(shifts, 1) * (4 if "_ft" in name else 1)
    return 2 if name.endswith(".onnx") else 1


class Followed:
    """The run that the library's progress bars report to, how many of them it has, and how many have begun."""

    run, expected, begun = None, 1, 0


def follow_bars(run, expected):
    """Makes the library's progress bars report to the daemon."""
    installed = Followed.run is not None
    Followed.run, Followed.expected, Followed.begun = run, expected, 0
    if installed:
        return
    tqdm = onceover_node.library("tqdm", SERVICE)
    shown = tqdm.tqdm

    class Told(shown):
        def __init__(self, *args, **more):
            super().__init__(*args, **more)
            # A download counts bytes, not pieces of sound.
            self.is_sound = getattr(self, "unit", "it") != "iB"
            self.before = Followed.begun
            Followed.begun += self.is_sound

        def __iter__(self):
            # Counted here, since the bar itself only counts as often as it is drawn.
            for count, item in enumerate(super().__iter__()):
                yield item
                if self.is_sound and self.total:
                    part = (self.before + (count + 1) / self.total) / Followed.expected
                    Followed.run.progress(5 + 93 * min(part, 1.0), "separating")

    tqdm.tqdm = Told


if __name__ == "__main__":
    onceover_node.main(separate)

"""Stands in for audio_separator.separate_vocals where its models are not there: the documented output, two tracks made
with ffmpeg. A low-pass filter separates nothing, but its files are as real as the ones of the node."""

import os
import subprocess

import onceover_node


def separate(run):
    sound = run.file("audio_path")
    stem = os.path.splitext(os.path.basename(sound))[0]
    files = []
    for track, filters in (("Vocals", "highpass=f=300"), ("Instrumental", "lowpass=f=300")):
        path = run.path("audio", f"{stem}_({track})_fixture.flac")
        subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", "-i", sound, "-af", filters, path], check=True)
        files.append(str(path))
        run.progress(50 * len(files), track)
    mode = run.input["quality_mode"]
    return {"vocal_audio": files[0], "all_audio_files": files, "model_used": "fixture", "quality_mode": mode}


if __name__ == "__main__":
    onceover_node.main(separate)

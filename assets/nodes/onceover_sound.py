"""Decodes sound with ffmpeg for programs of nodes, whose libraries then read plain WAV alone. Only the standard library.

Media files can be playlists that make a decoder open other files and addresses; ffmpeg is called so that it cannot,
libraries that decode by themselves do not say that of them.
"""

import contextlib
import os
import shutil
import subprocess
import wave

import onceover_node

# Containers that hold their own media, as in the daemon's own ffmpeg nodes.
FORMATS = (
    "mov,matroska,avi,flv,live_flv,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,ivf,ogg,wav,w64,aiff,"
    "caf,au,mp3,aac,ac3,eac3,dts,flac,amr,ape,wv,tta,tak,asf,mxf,rm,nut,dv,gif,wtv,mjpeg,yuv4mpegpipe"
)


@contextlib.contextmanager
def decoded(run, name, rate=16000, channels=1):
    """The sound of input file `name` as 16-bit WAV, while the context lasts: its path and its length in seconds. It is
    the file itself if it is such a one."""
    path = run.file(name)
    length = _length(path, rate, channels)
    scratch = None
    if length is None:
        stem = os.path.splitext(os.path.basename(path))[0]
        # The name is kept, since libraries name their products after it.
        scratch = run.path("scratch", name, f"{stem}.wav")
    try:
        if scratch is not None:
            _decode(path, scratch, name, rate, channels)
            path = str(scratch)
            length = _length(path, rate, channels)
        if not length:
            raise onceover_node.Failure(f"input_data.{name} is '{run.input[name]}': there is no sound in it")
        yield path, length
    finally:
        if scratch is not None:
            shutil.rmtree(scratch.parent, ignore_errors=True)
            with contextlib.suppress(OSError):
                scratch.parent.parent.rmdir()


def _length(path, rate, channels):
    """Seconds of a WAV file of exactly this kind; None for any other file."""
    try:
        with wave.open(path, "rb") as sound:
            if (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) != (rate, channels, 2):
                return None
            return sound.getnframes() / rate
    except (wave.Error, EOFError, OSError):
        return None


def _decode(path, target, name, rate, channels):
    command = ["ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "error", "-y"]
    command += ["-protocol_whitelist", "file,pipe", "-format_whitelist", FORMATS, "-i", f"file:{path}"]
    command += ["-vn", "-sn", "-dn", "-map", "0:a:0", "-ar", str(rate), "-ac", str(channels), "-c:a", "pcm_s16le"]
    command += ["-map_metadata", "-1", f"file:{target}"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    except FileNotFoundError:
        raise onceover_node.Failure(
            "cannot start ffmpeg: there is no such program on the PATH; install it with: apt-get install ffmpeg"
        ) from None
    if done.returncode != 0:
        said = " / ".join(done.stderr.decode("utf-8", "replace").split("\n")[-4:]).strip(" /")
        raise onceover_node.Failure(
            f"input_data.{name} is '{path}': ffmpeg finds no sound in it that it can decode: {said}"
        )

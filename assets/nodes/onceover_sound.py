"""Decodes sound with ffmpeg for programs of nodes, whose libraries then read plain WAV alone, on the clock of players: what is
heard at 2 s of a video is at 2 s of the WAV file. Tracks are chosen and warnings are given as the daemon's own ffmpeg
nodes do it. Only the standard library.

Media files can be playlists that make a decoder open other files and addresses; ffmpeg is called so that it cannot,
libraries that decode by themselves do not say that of them.
"""

import array
import contextlib
import itertools
import json
import os
import shutil
import statistics
import subprocess
import wave

import onceover_node

# Containers that hold their own media, as in the daemon's own ffmpeg nodes.
FORMATS = (
    "mov,matroska,avi,flv,live_flv,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,ivf,ogg,wav,w64,aiff,"
    "caf,au,mp3,aac,ac3,eac3,dts,flac,amr,ape,wv,tta,tak,asf,mxf,rm,nut,dv,gif,wtv,mjpeg,yuv4mpegpipe"
)


# Containers without time stamps: time is the number of samples, so there is no hole.
COUNTED = ("wav", "w64", "aiff", "caf", "au", "mp3", "flac", "aac", "ac3", "eac3", "dts", "amr", "ape", "wv", "tta", "tak")

# Containers that do not say how long they should be, and whose clock may begin again.
STREAMS = ("mpegts", "mpeg")

# Fills holes and late starts with silence, drops what would come twice.
ON_THE_CLOCK = "aresample=async=1:min_hard_comp=0.03:first_pts=0"

# Seconds: the shortest hole that gives a warning, by how much sound may be shorter than its file says, the longest hole, the
# longest clock.
SHORTEST_HOLE, SHORT, LONGEST_HOLE, LONGEST_CLOCK = 0.1, 0.5, 3600, 36 * 3600

# Packets of a track whose times are read.
MOST_PACKETS = 8_000_000

# Samples of 16 bits up to this are no sound that anybody hears.
SILENT = 3

# What a plain WAV file has.
ONLY_TRACK = {"index": 0, "codec_name": "pcm_s16le"}

# Codes of the same language, as in the daemon (tracks.rs).
LANGUAGES = (
    "af afr|am amh|ar ara|az aze|be bel|bg bul|bn ben|bo tib bod|bs bos|ca cat|cs cze ces|cy wel cym|da dan|"
    "de ger deu|el gre ell|en eng|eo epo|es spa|et est|eu baq eus|fa per fas|fi fin|fil tl tgl|fr fre fra|ga gle|"
    "gl glg|gu guj|he iw heb|hi hin|hr hrv scr|hu hun|hy arm hye|id in ind|is ice isl|it ita|ja jpn|jv jav|"
    "ka geo kat|kk kaz|km khm|kn kan|ko kor|la lat|lo lao|lt lit|lv lav|mk mac mkd|ml mal|mn mon|mr mar|ms may msa|"
    "mt mlt|my bur mya|ne nep|nl dut nld|no nor|nb nob|nn nno|pa pan|pl pol|ps pus|pt por|ro rum ron|ru rus|si sin|"
    "sk slo slk|sl slv|so som|sq alb sqi|sr srp scc|su sun|sv swe|sw swa|ta tam|te tel|th tha|tr tur|uk ukr|ur urd|"
    "uz uzb|vi vie|yi yid|yue|zh chi zho cmn|zu zul"
)


@contextlib.contextmanager
def decoded(run, name, rate=16000, channels=1):
    """The sound of input file `name` as 16-bit WAV, while the context lasts: its path and its length in seconds. It is
    the file itself if it is such a one. Input `audio_track` chooses the track; the output names it."""
    path = run.file(name)
    length = _length(path, rate, channels)
    scratch = None
    if length is None:
        stem = os.path.splitext(os.path.basename(path))[0]
        # The name is kept, since libraries name their products after it.
        scratch = run.path("scratch", name, f"{stem}.wav")
    try:
        if scratch is None:
            _tell_track(run, name, *choose_track([ONLY_TRACK], _wanted(run, name), path))
        else:
            _decode(run, path, scratch, name, rate, channels)
            path = str(scratch)
            length = _length(path, rate, channels)
        if not length:
            raise onceover_node.Failure(f"input_data.{name} is '{run.input[name]}': there is no sound in it")
        if _is_silent(path):
            run.warn("silence", f"{run.input[name]} is silent throughout")
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


def _wanted(run, name):
    """The track a request names; other sounds than the node's main one have no such parameter."""
    return run.input.get("audio_track") if name == "audio_path" else None


def _tell_track(run, name, number, stream):
    if name == "audio_path":
        run.tell("audio_track", number)
        if language := _language(stream):
            run.tell("audio_language", language)


def _is_silent(path):
    with wave.open(path, "rb") as sound:
        while block := sound.readframes(1 << 16):
            # A file that is cut off may end in the middle of a sample.
            samples = array.array("h", block[: len(block) // 2 * 2])
            if samples and (max(samples) > SILENT or min(samples) < -SILENT):
                return False
    return True


def _decode(run, path, target, name, rate, channels):
    probed = _probe(path, name)
    streams = [stream for stream in probed.get("streams", []) if stream.get("codec_type") == "audio"]
    if not streams:
        raise onceover_node.Failure(f"input_data.{name} is '{path}': there is no sound in it, it has no audio track")
    number, stream = choose_track(streams, _wanted(run, name), path)
    _tell_track(run, name, number, stream)
    clock = _seconds(probed.get("format", {}).get("start_time")) or 0.0
    if probed["format"].get("format_name") not in COUNTED:
        _tell_holes(run, path, stream, clock)
    # With any offset ffmpeg does not move late sound to the beginning.
    before = ["-dts_delta_threshold", str(LONGEST_HOLE), "-itsoffset", "0.000001"]
    command = ["ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "error", "-y", *before, *_limits(), "-i", f"file:{path}"]
    command += ["-vn", "-sn", "-dn", "-map", f"0:{stream['index']}", "-af", ON_THE_CLOCK, "-t", str(LONGEST_CLOCK)]
    command += ["-ar", str(rate), "-ac", str(channels), "-c:a", "pcm_s16le", "-map_metadata", "-1", f"file:{target}"]
    _decoding(command, path, name)
    got = _length(str(target), rate, channels) or 0.0
    _tell_end(run, path, probed, stream, clock, got)


def _limits():
    return ["-protocol_whitelist", "file,pipe", "-format_whitelist", FORMATS]


def called(command, failed):
    """Runs ffmpeg or ffprobe to its end. `failed` begins the text of a failure, before what the program says."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except FileNotFoundError:
        raise onceover_node.Failure(
            f"cannot start {command[0]}: there is no such program on the PATH; install it with: apt-get install ffmpeg"
        ) from None
    if done.returncode != 0:
        said = " / ".join(done.stderr.decode("utf-8", "replace").split("\n")[-4:]).strip(" /")
        raise onceover_node.Failure(f"{failed}: {said}")
    return done


def _decoding(command, path, name):
    return called(command, f"input_data.{name} is '{path}': ffmpeg finds no sound in it that it can decode")


def _ffprobe(*args):
    return ["ffprobe", "-hide_banner", "-v", "error", *args]


def _probe(path, name):
    command = _ffprobe("-of", "json", "-show_format", "-show_streams", *_limits(), f"file:{path}")
    return json.loads(_decoding(command, path, name).stdout)


def choose_track(streams, wanted, path):
    """The audio stream a request names by number or language, with its number; else the default one, else the first."""
    wanted = "" if wanted is None else str(wanted).strip()

    def default_or_first(numbers):
        default = [number for number in numbers if streams[number].get("disposition", {}).get("default")]
        return (default or numbers or [None])[0]

    everyone = list(range(len(streams)))
    if wanted.lower() in ("", "default"):
        number = default_or_first(everyone)
    elif wanted.isdecimal():
        number = int(wanted) if int(wanted) < len(streams) else None
    else:
        number = default_or_first([at for at in everyone if language_code(_language(streams[at])) == language_code(wanted)])
    if number is None:
        have = ", ".join(f"{at} ({_in_words(stream)})" for at, stream in enumerate(streams))
        raise onceover_node.Failure(
            f"input_data.audio_track is '{wanted}', but {path} has no such audio track; it has {have}"
        )
    return number, streams[number]


def _in_words(stream):
    default = "default" if stream.get("disposition", {}).get("default") else None
    title = stream.get("tags", {}).get("title")
    return ", ".join(filter(None, (_language(stream), stream.get("codec_name"), title, default)))


def _language(stream):
    language = stream.get("tags", {}).get("language", "")
    return None if language in ("", "und") else language


def language_code(language):
    main = (language or "").replace("_", "-").split("-")[0].lower()
    return next((codes.split()[0] for codes in LANGUAGES.split("|") if main in codes.split()), main) or None


def _seconds(text):
    """Seconds of `1.5` or `00:00:01.5`; None where there is no time."""
    try:
        seconds = 0.0
        for part in str(text).split(":"):
            seconds = seconds * 60 + float(part)
        return seconds
    except ValueError:
        return None


def _packets(path, *select):
    """When packets begin and how long they last, in the order of the file."""
    entries = "packet=pts_time,duration_time"
    command = _ffprobe(*select, "-show_entries", entries, "-of", "csv=p=0", *_limits(), f"file:{path}")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as program:
        for line in program.stdout:
            shown, duration = ([*line.strip().split(","), "", ""])[:2]
            if (start := _seconds(shown)) is not None:
                yield start, _seconds(duration)


def holes(packets):
    """Where packets are missing: when, and for how long."""
    told = [duration for _, duration in packets if duration]
    usual = statistics.median(told or [b[0] - a[0] for a, b in zip(packets, packets[1:], strict=False)] or [0.0])
    found, end = [], None
    for start, duration in packets:
        if end is not None and start - end >= SHORTEST_HOLE:
            found.append((end, start - end))
        # MP4 has a hole as a packet that lasts until the next one.
        own = duration if duration and duration < usual + SHORTEST_HOLE else usual
        end = max(end or start, start + own)
    return found


def _tell_holes(run, path, stream, clock):
    packets = list(itertools.islice(_packets(path, "-select_streams", str(stream["index"])), MOST_PACKETS + 1))
    if len(packets) > MOST_PACKETS or (packets and packets[-1][0] - clock > LONGEST_CLOCK):
        raise onceover_node.Failure(
            f"the sound of {path} reaches beyond {LONGEST_CLOCK // 3600} hours of its clock or has more than {MOST_PACKETS} packets; "
            "correct its time stamps, or cut it"
        )
    for at, duration in holes(packets):
        at, duration = round(at - clock, 3), round(duration, 3)
        text = f"{path} has no sound from {at:.2f} s for {duration:.2f} s; it is silence to the node"
        run.warn("gap", text, at=at, duration=duration)


def _tell_end(run, path, probed, stream, clock, got):
    """Warns when a file ends before the time it says."""
    kind = probed["format"].get("format_name")
    if kind in STREAMS:
        return
    own, tag = _seconds(stream.get("duration")), _seconds(stream.get("tags", {}).get("DURATION"))
    if own is not None:
        expected = own + (_seconds(stream.get("start_time")) or clock) - clock
    elif tag is not None:
        expected = tag - max(clock, 0.0)
    else:
        expected = _seconds(probed["format"].get("duration"))
    if expected is None or got >= expected - SHORT or _is_guess(path):
        return
    if own is None and tag is None:
        # Sound may end before the picture does; the file is cut off only if nothing reaches its end.
        if max((start + (duration or 0.0) for start, duration in _packets(path)), default=0.0) - clock >= expected - SHORT:
            return
    text = f"{path} ends after {got:.2f} of {expected:.2f} s; it may be cut off"
    run.warn("truncated_source", text, expected_duration=round(expected, 3), got=round(got, 3))


def _is_guess(path):
    """Whether the length is a guess from the size and the bit rate of the beginning."""
    command = ["ffprobe", "-hide_banner", "-v", "warning", *_limits(), f"file:{path}"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return b"Estimating duration" in done.stderr

"""What programs have in common that find who speaks when: the limits of a request, and the result of turns."""

import onceover_node
from onceover_transcript import number


def limits_of(run):
    """How many speakers there are, by the names of the parameters that the request gives."""
    limits = {key: run.input[key] for key in ("num_speakers", "min_speakers", "max_speakers") if key in run.input}
    if limits.get("min_speakers", 1) > limits.get("max_speakers", limits.get("min_speakers", 1)):
        raise onceover_node.Failure("input_data.min_speakers is more than input_data.max_speakers")
    return limits


def result_of(run, turns, length, facts, seconds, total):
    """The output of a run that found these turns (start, end, speaker) in a sound of this length. `facts` are `engine`,
    `api_type` and `model_name`; `seconds` is what the model took, `total` what all of it took."""
    audio, segments = run.input["audio_path"], as_segments(turns)
    if not segments:
        raise onceover_node.Failure(f"nobody was heard speaking in {audio} ({length:.1f} s)")
    statistics = statistics_of(segments)
    times = {"processing_time": number(seconds), "total_time": number(total)}
    result = {
        "success": True,
        "audio_path": audio,
        "total_speakers": len(statistics),
        "segments": segments,
        "metadata": {"engine": facts["engine"], "model": facts["model_name"], "api_type": facts["api_type"], **times},
    }
    path = run.write_json(result, "data", "diarization_result.json")
    return {
        "diarization_file": path,
        "detected_speakers": list(statistics),
        "speaker_statistics": statistics,
        "total_speakers": len(statistics),
        "total_segments": len(segments),
        "summary": f"{len(statistics)} speaker{'s' * (len(statistics) != 1)} in {len(segments)} segments",
        "execution_method": "subprocess",
        "audio_source": audio,
        "use_paid_api": facts["api_type"] == "paid",
        **facts,
        "statistics": {"execution_time": number(total)},
    }


def as_segments(turns):
    """Turns (start, end, speaker) by time, with their lengths; empty ones are left out."""
    return [
        {"start": number(start), "end": number(end), "speaker": str(speaker), "duration": number(end - start)}
        for start, end, speaker in sorted(turns, key=lambda turn: (turn[0], turn[1]))
        if end > start
    ]


def statistics_of(segments):
    """Per speaker, in order of their labels, the count of segments and their seconds."""
    statistics = {}
    for label in sorted({one["speaker"] for one in segments}):
        own = [one["duration"] for one in segments if one["speaker"] == label]
        statistics[label] = {"segments": len(own), "duration": number(sum(own)), "words": 0}
    return statistics

#!/usr/bin/env bash
# make-sample.sh DIR: makes a 12 s clip with a moving picture, a speaking voice and burnt-in subtitles, and beside it the
# transcript and the speakers that speech recognition would find. Does nothing if this version has made it already.
#
#   DIR/clip.mp4          640x360, 25 fps, H.264 with a key frame every 2 s, AAC
#   DIR/clip.srt          its subtitles
#   DIR/transcript.json   as faster_whisper.transcribe_audio writes it, with word times
#   DIR/diarization.json  as pyannote_audio.diarize_speakers writes it
set -euo pipefail
# Decimal points, whatever the language here.
export LC_ALL=C

version=2
length=12
pause_ms=700
# speaker|voice|words
lines=(
    "SPEAKER_00|en-us|Onceover never does the same work twice."
    "SPEAKER_01|en-gb|A stage that succeeded is answered at once."
    "SPEAKER_00|en-us|Everything else runs, and you can watch it."
)

if [ $# -ne 1 ]; then
    echo "usage: make-sample.sh DIR" >&2
    exit 2
fi
for tool in ffmpeg ffprobe espeak-ng; do
    command -v "$tool" >/dev/null || {
        echo "$tool is missing; run assets/install-deps.sh, or: apt-get install ${tool/ffprobe/ffmpeg}" >&2
        exit 1
    }
done

mkdir -p "$1"
out=$(cd "$1" && pwd)
if [ "$(cat "$out/.version" 2>/dev/null)" = "$version" ] && [ -s "$out/clip.mp4" ] && [ -s "$out/clip.srt" ] &&
    [ -s "$out/transcript.json" ] && [ -s "$out/diarization.json" ]; then
    exit 0
fi

font=/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
if [ ! -e "$font" ] && command -v fc-match >/dev/null; then font=$(fc-match -f '%{file}' sans); fi
if [ ! -e "$font" ]; then
    echo "no font found; run assets/install-deps.sh, or: apt-get install fonts-dejavu-core" >&2
    exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Plain names inside, so that no path has to be quoted for ffmpeg's filter language.
cp "$font" "$work/font.ttf"
cd "$work"
seconds() { printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)); }
srt_time() { printf '00:00:%02d,%03d' $(($1 / 1000)) $(($1 % 1000)); }

voices=() delays="" mixed="" titles="" segments="" turns="" words_total=0
at=500
for i in "${!lines[@]}"; do
    IFS='|' read -r speaker voice text <<<"${lines[$i]}"
    espeak-ng -v "$voice" -s 165 -w "$i-raw.wav" "$text"
    # Without the silence at the end of the voice, so that the last word's time is right.
    ffmpeg -nostdin -v error -y -i "$i-raw.wav" \
        -af "areverse,silenceremove=start_periods=1:start_threshold=-50dB,areverse" "$i.wav"
    ms=$(ffprobe -v error -show_entries format=duration -of csv=p=0 "$i.wav" | awk '{printf "%d", $1 * 1000}')
    end=$((at + ms))
    start_s=$(seconds "$at") end_s=$(seconds "$end")
    voices+=(-i "$i.wav")
    delays+="[$((i + 1)):a]aresample=48000,adelay=$at:all=1[v$i];"
    mixed+="[v$i]"
    printf '%s' "$text" >"$i.txt"
    printf '%d\n%s --> %s\n%s\n\n' $((i + 1)) "$(srt_time "$at")" "$(srt_time "$end")" "$text" >>clip.srt
    titles+=",drawtext=fontfile=font.ttf:textfile=$i.txt:fontsize=24:fontcolor=white:borderw=2:box=1:boxcolor=black@0.6"
    titles+=":boxborderw=8:x=(w-tw)/2:y=h-52:enable='between(t,$start_s,$end_s)'"

    # A word takes its share of the sentence by its letters.
    read -ra spoken <<<"$text"
    words="" from=$at seen=0
    for word in "${spoken[@]}"; do
        seen=$((seen + ${#word} + 1))
        to=$((at + ms * seen / (${#text} + 1)))
        words+="${words:+, }{\"word\": \" $word\", \"start\": $(seconds "$from"), \"end\": $(seconds "$to"), \"probability\": 0.99}"
        from=$to
    done
    words_total=$((words_total + ${#spoken[@]}))
    segments+="${segments:+,
    }{\"id\": $((i + 1)), \"seek\": 0, \"start\": $start_s, \"end\": $end_s, \"text\": \" $text\", \"tokens\": [], \"temperature\": 0.0, \"avg_logprob\": -0.1, \"compression_ratio\": 1.0, \"no_speech_prob\": 0.01, \"words\": [$words]}"
    turns+="${turns:+,
    }{\"start\": $start_s, \"end\": $end_s, \"speaker\": \"$speaker\", \"duration\": $(seconds "$ms")}"
    at=$((end + pause_ms))
done
if [ "$at" -gt $((length * 1000)) ]; then
    echo "the spoken lines take $(seconds "$at") s, more than the clip's $length s" >&2
    exit 1
fi
average=$(seconds $(((at - 500) / ${#lines[@]} - pause_ms)))

ffmpeg -nostdin -v error -y -f lavfi -i "testsrc2=size=640x360:rate=25:duration=$length" "${voices[@]}" \
    -filter_complex "[0:v]${titles#,}[picture];$delays${mixed}amix=inputs=${#lines[@]}:duration=longest:normalize=0,apad[sound]" \
    -map '[picture]' -map '[sound]' -t "$length" -threads 2 \
    -c:v libx264 -preset veryfast -crf 26 -pix_fmt yuv420p -g 50 -keyint_min 50 -sc_threshold 0 \
    -c:a aac -b:a 96k -ar 48000 -ac 2 -map_metadata -1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact \
    -movflags +faststart clip.mp4

cat >transcript.json <<JSON
{
  "metadata": {"task_name": "faster_whisper.transcribe_audio", "workflow_id": "demo", "audio_file": "clip.mp4", "total_duration": $length.0, "language": "en", "word_timestamps_enabled": true, "model_name": "sample", "device": "cpu", "transcribe_method": "sample", "created_at": 0},
  "segments": [
    $segments
  ],
  "statistics": {"total_segments": ${#lines[@]}, "total_words": $words_total, "transcribe_duration": 0.0, "average_segment_duration": $average}
}
JSON
cat >diarization.json <<JSON
{
  "success": true,
  "audio_path": "clip.mp4",
  "total_speakers": 2,
  "segments": [
    $turns
  ],
  "metadata": {"model": "sample", "api_type": "sample", "processing_time": 0.0, "total_time": 0.0}
}
JSON
# The mark comes last: a sample that was interrupted is made again.
rm -f "$out/.version"
mv clip.mp4 clip.srt transcript.json diarization.json "$out/"
echo "$version" >"$out/.version"

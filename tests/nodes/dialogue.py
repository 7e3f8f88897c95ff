"""Makes conversations of synthetic voices, of which it is known who speaks when. The voices slt, rms and awb of flite are
made of recordings of three persons (apt-get install flite). Those of espeak-ng are one rule-based voice with other
settings: no persons, and some of its variants differ less than a person does from one day to the next."""

import array
import random
import subprocess
import wave

RATE = 16000
SENTENCES = """\
Good morning everybody, and thank you for coming on such short notice.
I have read the report twice, and I still do not see where the money went.
The elephant walks slowly through the forest.
Let us begin with the numbers of the last three months.
Nobody knew of the change of plans until yesterday evening.
The train to the coast leaves at half past nine from platform four.
If we paint the wall before the floor is dry, we will have to do it again.
She keeps her old photographs in a box under the stairs.
There are two ways to look at this, and neither of them is cheap.
My brother has lived in the mountains for almost eleven years.
We could ask the neighbours whether they have seen the dog.
It rained all through the night, and the river is rising.
The second half of the book is much better than the first.
Please send me the drawings before the end of the week.
I would rather walk than wait another hour for the bus.
What surprised me most was how quiet the engine is.
They planted apple trees along the road when I was a child.
Could you say that again, a little more slowly this time?
The museum is closed on Mondays, but the garden is open every day.
In the end it was only a loose cable behind the desk.
""".splitlines()

# Programs with their arguments, by name of the voice.
PERSONS = {name: ["flite", "-voice", name] for name in ("slt", "rms", "awb")}
RULES = {name: ["espeak-ng", "-s", "150", "-v", name] for name in ("en-us", "en-us+f2", "en-us+m7")}


def say(voice, text, scratch):
    """The samples of a sentence, without silence at its ends."""
    spoken, plain = scratch / "spoken.wav", scratch / "plain.wav"
    written = ["-o", spoken, "-t", text] if voice[0] == "flite" else ["-w", spoken, text]
    subprocess.run([*voice, *written], check=True)
    resample = ["ffmpeg", "-loglevel", "error", "-y", "-i", spoken, "-ar", str(RATE), "-ac", "1", plain]
    subprocess.run(resample, check=True)
    with wave.open(str(plain)) as file:
        samples = array.array("h", file.readframes(file.getnframes()))
    loud = [at for at, sample in enumerate(samples) if abs(sample) > 150]
    return samples[loud[0] : loud[-1] + 1]


def make(voices, path, seed, turns=18, pauses=(0.1, 0.9)):
    """Writes a conversation; gives its turns (start, end, speaker) and texts. Nobody interrupts anybody."""
    chance = random.Random(seed)
    texts = chance.sample(SENTENCES, len(SENTENCES))
    sound, found, former = array.array("h", bytes(RATE)), [], None
    for turn in range(turns):
        speaker = chance.choice([name for name in voices if name != former] or [former])
        samples = say(voices[speaker], texts[turn % len(texts)], path.parent)
        found.append((len(sound) / RATE, (len(sound) + len(samples)) / RATE, speaker))
        sound.extend(samples)
        sound.extend(array.array("h", bytes(2 * int(RATE * chance.uniform(*pauses)))))
        former = speaker
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(sound.tobytes())
    return found, [texts[turn % len(texts)] for turn in range(turns)]

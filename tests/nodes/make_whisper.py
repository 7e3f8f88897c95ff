"""Makes a Whisper model of random weights in CTranslate2's format, a megabyte instead of gigabytes: loading, the sound's
features, decoding with timestamps and the alignment of words are the real ones, the words are noise.

    python make_whisper.py FOLDER    # with the interpreter of the service faster_whisper
"""

import json
import pathlib
import sys

import numpy as np
import tokenizers
from ctranslate2.specs import WhisperSpec

WIDTH, HEADS, MELS, POSITIONS, LONGEST = 32, 2, 80, 1500, 448
SYLLABLES = [a + b for a in "bdfklmnprst" for b in "aeiou"]
SPECIAL = [
    "endoftext",
    "startoftranscript",
    "en",
    "translate",
    "transcribe",
    "startoflm",
    "startofprev",
    "nospeech",
    "notimestamps",
]
random = np.random.default_rng(7)


def weights(*shape, scale=0.3):
    return (random.standard_normal(shape) * scale).astype(np.float32)


def linear(spec, rows, columns):
    spec.weight, spec.bias = weights(rows, columns), weights(rows)


def norm(spec):
    spec.gamma, spec.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)


def attention(spec, shapes):
    norm(spec.layer_norm)
    for part, rows in zip(spec.linear, shapes):
        linear(part, rows, WIDTH)


def feed_forward(spec):
    norm(spec.layer_norm)
    linear(spec.linear_0, 4 * WIDTH, WIDTH)
    linear(spec.linear_1, WIDTH, 4 * WIDTH)


def vocabulary():
    """Single bytes, syllables that begin a word, the special tokens and the timestamps; how likely each is."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    text = alphabet + [f"Ġ{syllable}" for syllable in SYLLABLES]
    special = [f"<|{name}|>" for name in SPECIAL]
    times = [f"<|{step * 0.02:.2f}|>" for step in range(POSITIONS + 1)]
    # Words now and then a time, rarely the end; no single bytes, which would make no text.
    bias = (
        [-30.0] * len(alphabet) + [0.0] * len(SYLLABLES) + [-3.0] + [-30.0] * (len(special) - 1) + [-5.3] * len(times)
    )
    return text, special, times, np.array(bias, np.float32)


def main(folder):
    text, special, times, bias = vocabulary()
    tokens = text + special + times
    spec = WhisperSpec(1, HEADS, 1, HEADS)
    encoder, decoder = spec.encoder, spec.decoder
    encoder.conv1.weight, encoder.conv1.bias = weights(WIDTH, MELS, 3), weights(WIDTH)
    encoder.conv2.weight, encoder.conv2.bias = weights(WIDTH, WIDTH, 3), weights(WIDTH)
    encoder.position_encodings.encodings = weights(POSITIONS, WIDTH)
    decoder.position_encodings.encodings = weights(LONGEST, WIDTH)
    decoder.embeddings.weight = weights(len(tokens), WIDTH)
    decoder.projection.weight, decoder.projection.bias = weights(len(tokens), WIDTH), bias
    for layer in encoder.layer:
        attention(layer.self_attention, [3 * WIDTH, WIDTH])
        feed_forward(layer.ffn)
    for layer in decoder.layer:
        attention(layer.self_attention, [3 * WIDTH, WIDTH])
        attention(layer.attention, [WIDTH, 2 * WIDTH, WIDTH])
        feed_forward(layer.ffn)
    norm(encoder.layer_norm)
    norm(decoder.layer_norm)
    spec.register_vocabulary(tokens)
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = [tokens.index("<|endoftext|>")]
    spec.config.lang_ids = [tokens.index("<|en|>")]
    spec.config.alignment_heads = [[0, head] for head in range(HEADS)]
    spec.validate()
    spec.optimize(quantization="float32")
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))

    model = tokenizers.models.BPE(vocab={token: position for position, token in enumerate(text)}, merges=[])
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    tokenizer.add_tokens([tokenizers.AddedToken(time, special=False) for time in times])
    assert tokenizer.token_to_id("<|30.00|>") == len(tokens) - 1
    tokenizer.save(str(folder / "tokenizer.json"))
    features = {"feature_size": MELS, "sampling_rate": 16000, "hop_length": 160, "chunk_length": 30, "n_fft": 400}
    (folder / "preprocessor_config.json").write_text(json.dumps(features))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))

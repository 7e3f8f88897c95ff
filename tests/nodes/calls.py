"""Finds what the programs of nodes call of their libraries, in their source. Which name of a program stands for what of a
library is in `ROOTS`: a name of the library's module, or of a class for an object of it."""

import ast
import dataclasses

from programs import NODES

# Per program: its names, and the packages (as in requirements.txt, or those that these bring) that have them.
ROOTS = {
    "faster_whisper/transcribe_audio.py": {
        "ctranslate2": "ctranslate2",
        "library": "faster_whisper",
        "model": "faster_whisper.WhisperModel",
        "one": "faster_whisper.transcribe.Segment",
        "w": "faster_whisper.transcribe.Word",
        "info": "faster_whisper.transcribe.TranscriptionInfo",
    },
    "qwen3_asr/transcribe_audio.py": {
        "torch": "torch",
        "library": "qwen_asr",
        "model": "qwen_asr.Qwen3ASRModel",
        "answer": "qwen_asr.inference.qwen3_asr.ASRTranscription",
        "cut": "qwen_asr.inference.utils.split_audio_into_chunks",
    },
    "funasr/transcribe_audio.py": {
        "torch": "torch",
        "library": "funasr",
        "model": "funasr.AutoModel",
        "modelscope": "modelscope.hub.snapshot_download",
    },
    "audio_separator/separate_vocals.py": {
        "torch": "torch",
        "library": "audio_separator.separator",
        # The class derives from the library's.
        "separator": "audio_separator.separator.Separator",
        "tqdm": "tqdm",
        "made": "audio_separator.separator.Separator",
    },
    "pyannote_audio/diarize_speakers.py": {
        "torch": "torch",
        "library": "pyannote.audio",
        "pipeline": "pyannote.audio.Pipeline",
        "annotation": "pyannote.core.Annotation",
        "turn": "pyannote.core.Segment",
    },
    "campplus/diarize_speakers.py": {"onnxruntime": "onnxruntime"},
    "indextts/generate_speech.py": {"torch": "torch", "library": "indextts", "engine": "indextts.IndexTTS2"},
    "paddleocr/engines.py": {
        "onnxruntime": "onnxruntime",
        "found": "rapidocr.utils.output.RapidOCROutput",
    },
    "piper/speak.py": {
        "onnxruntime": "onnxruntime",
        "session": "onnxruntime.InferenceSession",
        "hub": "huggingface_hub",
    },
    "onceover_node.py": {"hub": "huggingface_hub"},
}
# Names that stand for something else in one function of a program.
WITHIN = {
    ("paddleocr/engines.py", "_rapidocr"): {"library": "rapidocr", "engine": "rapidocr.RapidOCR"},
    ("paddleocr/engines.py", "_paddleocr"): {"library": "paddleocr", "engine": "paddleocr.PaddleOCR", "found": None},
    # A function of the program.
    ("faster_whisper/transcribe_audio.py", "load"): {"model": None},
    # Turns of the web service.
    ("pyannote_audio/diarize_speakers.py", "by_service"): {"turn": None},
}
# Names that are classes themselves. Where another name is called that stands for a class, an object is called.
CLASSES = ("separator",)
# Modules of libraries that requirements.txt does not pin to a release and that change little, or that it does not install.
NOT_HELD = ("numpy", "cv2", "paddle")
# What an attribute of an object is.
ATTRIBUTES = {
    "audio_separator.separator.Separator.model_instance": "audio_separator.separator.common_separator.CommonSeparator",
    "indextts.IndexTTS2.tokenizer": "indextts.utils.front.TextTokenizer",
}
# Names of keyword arguments that a program collects in a dictionary: what `**name` can hold.
COLLECTED = {
    ("faster_whisper/transcribe_audio.py", "asked"): "language beam_size best_of temperature word_timestamps vad_parameters "
    "condition_on_previous_text compression_ratio_threshold no_speech_threshold",
    ("qwen3_asr/transcribe_audio.py", "aligned"): "forced_aligner forced_aligner_kwargs",
    ("qwen3_asr/transcribe_audio.py", "place"): "dtype device_map",
    ("funasr/transcribe_audio.py", "folders"): "vad_model punc_model spk_model",
    ("funasr/transcribe_audio.py", "own"): "merge_length_s remote_code",
    ("funasr/transcribe_audio.py", "asked"): "language beam_size lm_weight",
    ("pyannote_audio/diarize_speakers.py", "limits"): "num_speakers min_speakers max_speakers",
    ("indextts/generate_speech.py", "more"): "emo_vector use_emo_text emo_text emo_audio_prompt",
    ("paddleocr/engines.py", "parameters"): "device lang use_doc_orientation_classify use_doc_unwarping "
    "use_textline_orientation text_det_limit_type text_det_limit_side_len text_detection_model_dir text_detection_model_name "
    "text_recognition_model_dir text_recognition_model_name",
}


@dataclasses.dataclass(frozen=True)
class Use:
    """One place of a program that uses something of a library. `positional` is None where it is not called."""

    program: str
    line: int
    symbol: str
    positional: int | None = None
    keywords: tuple = ()
    # Per keyword whose value is a dictionary that is written out: its keys.
    options: tuple = ()

    @property
    def is_call(self):
        return self.positional is not None

    def __str__(self):
        return f"assets/nodes/{self.program}:{self.line}: {self.symbol}"


class Finder(ast.NodeVisitor):
    def __init__(self, program):
        self.program = program
        self.found = []
        # The functions around the node that is visited.
        self.functions = []

    def root(self, name):
        for function in reversed(self.functions):
            within = WITHIN.get((self.program, function.name), {})
            if name in within:
                return within[name]
        return ROOTS[self.program].get(name)

    def symbol(self, node):
        """What an expression stands for; None: nothing of a library. An object stands for its class."""
        if isinstance(node, ast.Name):
            return self.root(node.id)
        if isinstance(node, ast.Attribute):
            of = self.symbol(node.value)
            of = ATTRIBUTES.get(of, of)
            return of and f"{of}.{node.attr}"
        if isinstance(node, ast.Call):
            of = self.symbol(node.func)
            if of and of.rsplit(".", 1)[-1][:1].isupper():
                return of
            return module_of(node)
        return None

    def visit_FunctionDef(self, node):
        self.functions.append(node)
        self.generic_visit(node)
        self.functions.pop()

    def visit_Call(self, node):
        symbol = self.symbol(node.func)
        if symbol:
            is_object = isinstance(node.func, ast.Name) and node.func.id not in CLASSES
            if is_object and symbol.rsplit(".", 1)[-1][:1].isupper():
                symbol += ".__call__"
            given = (self.positional(node), self.keywords(node), self.options(node))
            self.found.append(Use(self.program, node.lineno, symbol, *given))
            if isinstance(node.func, ast.Attribute):
                self.visit(node.func.value)
            for child in [*node.args, *(keyword.value for keyword in node.keywords)]:
                self.visit(child)
        else:
            self.generic_visit(node)

    def visit_Attribute(self, node):
        if symbol := self.symbol(node):
            self.found.append(Use(self.program, node.lineno, symbol))
        self.generic_visit(node)

    def positional(self, node):
        return sum(not isinstance(one, ast.Starred) for one in node.args)

    def keywords(self, node):
        names = []
        for keyword in node.keywords:
            if keyword.arg is not None:
                names.append(keyword.arg)
                continue
            inside = [one.id for one in ast.walk(keyword.value) if isinstance(one, ast.Name)]
            collected = next((COLLECTED[self.program, one] for one in inside if (self.program, one) in COLLECTED), None)
            if collected is None:
                raise AssertionError(f"{self.program}:{node.lineno}: COLLECTED does not say what **{inside[0]} can hold")
            names += collected.split()
        return tuple(names)


    def options(self, node):
        found = []
        for keyword in node.keywords:
            if keyword.arg is None:
                continue
            if isinstance(keyword.value, ast.Dict):
                found.append((keyword.arg, keys_of(keyword.value)))
            elif isinstance(keyword.value, ast.Name) and self.functions:
                keys = keys_put_into(keyword.value.id, self.functions[-1])
                if keys:
                    found.append((keyword.arg, keys))
        return tuple(found)


def keys_of(dictionary):
    return tuple(key.value for key in dictionary.keys if isinstance(key, ast.Constant))


def keys_put_into(name, function):
    """The keys that a function gives a dictionary of this name."""
    keys = ()
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign):
            continue
        target = node.targets[0]
        if isinstance(target, ast.Name) and target.id == name and isinstance(node.value, ast.Dict):
            keys += keys_of(node.value)
        if isinstance(target, ast.Subscript) and getattr(target.value, "id", None) == name:
            keys += (target.slice.value,) if isinstance(target.slice, ast.Constant) else ()
    return keys


def module_of(call):
    """The module that `onceover_node.library("name", ...)` imports."""
    function = call.func
    if not isinstance(function, ast.Attribute) or function.attr != "library" or not call.args:
        return None
    first = call.args[0]
    return first.value if isinstance(first, ast.Constant) else None


def tree_of(program):
    return ast.parse((NODES / program).read_text(encoding="utf-8"))


def uses(program):
    """All that a program uses of its libraries."""
    finder = Finder(program)
    finder.visit(tree_of(program))
    return finder.found


def modules(program):
    """The modules that a program imports by `library`, each with the name it gives it, if it does."""
    found = {}
    for node in ast.walk(tree_of(program)):
        if isinstance(node, ast.Call) and (name := module_of(node)):
            found.setdefault(name, None)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and (name := module_of(node.value)):
            found[name] = getattr(node.targets[0], "id", None)
    return found


def programs():
    """All programs and modules below assets/nodes."""
    return sorted(str(path.relative_to(NODES)) for path in NODES.rglob("*.py"))

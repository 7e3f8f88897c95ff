"""The libraries that find and read text in pictures, behind one call. They are imported only when asked for, and one
that cannot start ends the run: a picture without text and a library that does not work are different things."""

import importlib.metadata
import importlib.util
import math
import os
import pathlib

import onceover_node

SERVICE = "paddleocr"
# By the names of their packages, the preferred one first.
ENGINES = ("rapidocr", "paddleocr")
# Pixels of the longer side at which text is searched; it is read in all pixels. The search costs by the pixel, and by
# default the libraries make a low strip many times larger first.
LOOKED_AT = 960


class Picture:
    """Pixels as the libraries take them, and the size."""

    def __init__(self, pixels):
        self.pixels = pixels
        self.height, self.width = pixels.shape[:2]

    def rows(self, top, bottom):
        """A part of it of the same width."""
        return Picture(self.pixels[int(top) : int(bottom)])


def load(path):
    """Reads a picture's file."""
    cv2, numpy = _arrays()
    try:
        # OpenCV opens no file whose name it cannot spell, so the bytes are read here.
        data = numpy.fromfile(path, dtype=numpy.uint8)
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except (OSError, cv2.error) as why:
        raise onceover_node.Failure(f"{path} cannot be read: {why}") from why
    if pixels is None:
        raise onceover_node.Failure(f"{path} is no picture that can be read")
    return Picture(pixels)


def start(run):
    """The name of the library the request asks for, and a function that takes a Picture and gives a list of
    [quadrilateral, text, confidence]."""
    wanted = run.choice("engine", ("auto", *ENGINES), "auto")
    if wanted == "auto":
        installed = [name for name in ENGINES if importlib.util.find_spec(name)]
        if not installed:
            raise onceover_node.Failure(
                f"neither RapidOCR nor PaddleOCR is installed; install one with: onceoverd nodes install {SERVICE}"
            )
        wanted = installed[0]
    settings = ("device", "language", "detection_model", "recognition_model")
    read = run.keep((wanted, *map(run.input.get, settings)), lambda: _started(run, wanted))
    run.log(f"reading with {wanted}")
    return wanted, read


def model_name(run, engine):
    """The model that has read: the one that the request names, else the release of the library, whose models belong to it."""
    try:
        return run.input.get("recognition_model") or f"{engine} {importlib.metadata.version(engine)}"
    except importlib.metadata.PackageNotFoundError:
        return engine


def _started(run, wanted):
    run.progress(0, f"loading {wanted}")
    library = onceover_node.library(wanted, SERVICE)
    try:
        read = {"rapidocr": _rapidocr, "paddleocr": _paddleocr}[wanted](run, library)
        # Models are loaded when they are first used: here, so that what fails is not taken for a fault of a picture.
        read(sample())
    except onceover_node.Failure:
        raise
    except Exception as why:
        raise onceover_node.Failure(
            f"{wanted} cannot be started, so nothing was read: {onceover_node.in_words(why)}{_advice(run, wanted)}"
        ) from why
    return read


def _advice(run, engine):
    if run.input.get("detection_model") or run.input.get("recognition_model"):
        return "; are detection_model and recognition_model made for this library?"
    if engine == "paddleocr":
        return (
            "; it fetches its models on first use: connect the machine, or put them below "
            f"{onceover_node.models_folder()} and name them by detection_model and recognition_model"
        )
    return ""


def _arrays():
    return onceover_node.library("cv2", SERVICE), onceover_node.library("numpy", SERVICE)


def sample():
    """A white picture with a dark word, about as small as engines take."""
    cv2, numpy = _arrays()
    pixels = numpy.full((64, 192, 3), 255, numpy.uint8)
    cv2.putText(pixels, "text", (30, 45), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (0, 0, 0), 3)
    return Picture(pixels)


def _model(run, name):
    """The path of a model that the request names; None: the library's own."""
    wanted = run.input.get(name)
    if not wanted:
        return None
    found = onceover_node.local_model(wanted)
    if found is None:
        raise onceover_node.Failure(
            f"input_data.{name} is '{wanted}': there is no such file or folder below {onceover_node.models_folder()}"
        )
    return str(found)


def _processors():
    """How many processors this program may use: those it may run on, or fewer where its control group has a quota. The
    library would start a thread for each one of the machine, and those that find none to run on wait in loops."""
    count = len(os.sched_getaffinity(0))
    try:
        quota, period = pathlib.Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass
    return max(count, 1)


def _rapidocr(run, library):
    onnxruntime = onceover_node.library("onnxruntime", SERVICE)
    # The library names what it was built for, with or without a GPU.
    built = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    device = onceover_node.device(run.input.get("device", "auto"), built and onceover_node.cuda_devices() > 0)
    if device == "cuda":
        # It looks for CUDA's libraries in their packages only here.
        onnxruntime.preload_dlls()
    detection, recognition = _model(run, "detection_model"), _model(run, "recognition_model")
    language = run.input.get("language", "ch")
    if recognition is None and language not in ("ch", "en"):
        raise onceover_node.Failure(
            f"input_data.language is '{language}', but the models in the package of RapidOCR read Chinese and English; "
            "give recognition_model, or engine 'paddleocr'"
        )
    parameters = {
        "Global.log_level": "warning",
        # Subtitles stand upright.
        "Global.use_cls": False,
        # Larger pictures would be made smaller before they are read.
        "Global.max_side_len": 4096,
        "Det.limit_type": "max",
        "Det.limit_side_len": LOOKED_AT,
        "EngineConfig.onnxruntime.use_cuda": device == "cuda",
        "EngineConfig.onnxruntime.intra_op_num_threads": _processors(),
    }
    if detection:
        parameters["Det.model_path"] = detection
    if recognition:
        parameters["Rec.model_path"] = recognition
    engine = library.RapidOCR(params=parameters)

    def read(picture):
        found = engine(picture.pixels)
        if found.boxes is None or found.txts is None:
            return []
        items = zip(found.boxes, found.txts, found.scores, strict=True)
        return [[quad.tolist(), text, float(score)] for quad, text, score in items]

    return read


def _paddleocr(run, library):
    paddle = onceover_node.library("paddle", SERVICE)
    there = paddle.device.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    device = onceover_node.device(run.input.get("device", "auto"), there)
    detection, recognition = _model(run, "detection_model"), _model(run, "recognition_model")
    parameters = {
        "device": "gpu" if device == "cuda" else "cpu",
        "lang": None if detection and recognition else run.input.get("language", "ch"),
        "use_doc_orientation_classify": False,
        "use_doc_unwarping": False,
        "use_textline_orientation": False,
        "text_det_limit_type": "max",
        "text_det_limit_side_len": LOOKED_AT,
    }
    if detection:
        parameters["text_detection_model_dir"] = detection
        parameters["text_detection_model_name"] = _name_of(detection)
    if recognition:
        parameters["text_recognition_model_dir"] = recognition
        parameters["text_recognition_model_name"] = _name_of(recognition)
    engine = library.PaddleOCR(**{name: value for name, value in parameters.items() if value is not None})

    def read(picture):
        found = []
        for page in engine.predict(picture.pixels):
            items = zip(page["rec_polys"], page["rec_texts"], page["rec_scores"], strict=True)
            found += [[quad.tolist(), text, float(score)] for quad, text, score in items]
        return found

    return read


def _name_of(folder):
    """The model a folder holds, by its inference.yml; None: PaddleOCR takes its own for the language."""
    try:
        with open(os.path.join(folder, "inference.yml"), encoding="utf-8") as file:
            for line in file:
                if line.strip().startswith("model_name:"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return None

"""Records the signatures of what nodes call of their libraries, from the source in the packages: none is installed or run.

    python tests/nodes/record_signatures.py FOLDER    # the folder keeps the packages, about 250 MB

It needs PyPI for packages that are not in the folder yet. `make signatures` calls it.
"""

import ast
import json
import pathlib
import re
import subprocess
import sys
import zipfile

import calls
from programs import NODES

RECORD = pathlib.Path(__file__).with_name("signatures.json")

# Per module: the package that has it, and the service whose requirements.txt pins that, else a release to read.
PACKAGES = {
    "audio_separator": ("audio-separator", "audio_separator"),
    "ctranslate2": ("ctranslate2", "faster_whisper"),
    "faster_whisper": ("faster-whisper", "faster_whisper"),
    "funasr": ("funasr", "funasr"),
    "huggingface_hub": ("huggingface_hub", "piper"),
    "indextts": ("indextts2-inference", "indextts"),
    "modelscope": ("modelscope", "funasr"),
    "onnxruntime": ("onnxruntime", "audio_separator"),
    "paddleocr": ("paddleocr", "==3.7.0"),
    "pyannote.audio": ("pyannote.audio", "pyannote_audio"),
    "pyannote.core": ("pyannote.core", "==6.1.0"),
    "qwen_asr": ("qwen-asr", "qwen3_asr"),
    "rapidocr": ("rapidocr", "==3.10.0"),
    "torch": ("torch", "qwen3_asr"),
    "tqdm": ("tqdm", "==4.70.1"),
    "transformers": ("transformers", "qwen3_asr"),
}
# The smallest wheel with the source first. Those of macOS have the same Python files as those of Linux, without CUDA.
PLATFORMS = ("macosx_11_0_arm64", "macosx_12_0_arm64", "macosx_14_0_arm64", "manylinux_2_28_x86_64", "manylinux_2_27_x86_64")
# Where something is that its package loads when it is asked for, or has in native code with a description.
PLACES = {
    "funasr.AutoModel": "funasr/auto/auto_model.py",
    "paddleocr.PaddleOCR": "paddleocr/_pipelines/ocr.py",
    "rapidocr.RapidOCR": "rapidocr/main.py",
    "torch.bfloat16": "torch/_C/__init__.pyi",
    "torch.cat": "torch/_C/_VariableFunctions.pyi",
    "torch.device": "torch/_C/__init__.pyi",
    "torch.float32": "torch/_C/__init__.pyi",
    "torch.frombuffer": "torch/_C/_VariableFunctions.pyi",
    "torch.int16": "torch/_C/__init__.pyi",
    "tqdm.tqdm": "tqdm/std.py",
}
# Functions in native code without a description: only their names can be found.
NATIVE = ("ctranslate2", "onnxruntime")
# Modules to which a function passes what it does not know.
PASSED_ON = {"qwen_asr.Qwen3ASRModel.from_pretrained": ("transformers",)}


def requirement(module):
    """What pip is asked for."""
    package, source = PACKAGES[module]
    if source.startswith("=="):
        return package + source
    for line in (NODES / source / "requirements.txt").read_text().splitlines():
        name = re.split(r"[\[=<>]", line)[0].strip()
        if name.replace("_", "-").lower() == package.replace("_", "-").lower():
            return package + "==" + line.split("==")[1].strip()
    raise SystemExit(f"{source}/requirements.txt does not pin {package}")


def wheel(module, folder):
    """The package's file, fetched if it is not in the folder."""
    name, release = requirement(module).split("==")
    pattern = re.compile(rf"{re.sub('[-_.]', '[-_.]', name)}-{re.escape(release)}[-+].*whl", re.IGNORECASE)
    here = [path for path in sorted(folder.iterdir()) if pattern.fullmatch(path.name)]
    if not here:
        options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--python-version", "3.12", "--dest", str(folder)]
        platforms = [part for one in PLATFORMS for part in ("--platform", one)]
        command = [sys.executable, "-m", "pip", "download", *options, *platforms, f"{name}=={release}"]
        subprocess.run(command, check=True)
        here = [path for path in sorted(folder.iterdir()) if pattern.fullmatch(path.name)]
    return zipfile.ZipFile(here[0])


class Package:
    """The source of one package."""

    def __init__(self, module, folder):
        self.zip = wheel(module, folder)
        self.names = set(self.zip.namelist())
        self.trees = {}

    def tree(self, file):
        if file not in self.trees:
            self.trees[file] = ast.parse(self.zip.read(file)) if file in self.names else None
        return self.trees[file]

    def file(self, module):
        """The file of a module; None if it is none."""
        path = module.replace(".", "/")
        return next((file for file in (f"{path}/__init__.py", f"{path}.py") if file in self.names), None)

    def texts(self):
        return (self.zip.read(name).decode("utf-8", "replace") for name in self.names if name.endswith(".py"))

    def resolve(self, symbol, depth=0):
        """The nodes of a symbol's definition, several where it is overloaded, and the file; through imports."""
        for place, file in PLACES.items():
            if symbol == place or symbol.startswith(place + "."):
                rest = symbol[len(place) :].strip(".").split(".") if symbol != place else []
                return self.inside(self.tree(file), [place.rsplit(".", 1)[1], *rest], file, depth)
        parts = symbol.split(".")
        for cut in range(len(parts), 0, -1):
            if file := self.file(".".join(parts[:cut])):
                if cut == len(parts):
                    return [self.tree(file)], file
                return self.inside(self.tree(file), parts[cut:], file, depth)
        return [], None

    def inside(self, tree, names, file, depth):
        found = members(tree, names[0])
        if not found and isinstance(tree, ast.Module) and depth < 8:
            if module := imported(tree, names[0], file):
                return self.resolve(".".join([*module, *names[1:]]), depth + 1)
        if not found and isinstance(tree, ast.ClassDef):
            for base in tree.bases:
                if isinstance(base, ast.Name) and depth < 8:
                    found, its_file = self.inside(self.tree(file), [base.id, *names], file, depth + 1)
                    if found:
                        return found, its_file
        if len(names) == 1 or not found:
            return found, file
        return self.inside(found[0], names[1:], file, depth)


def members(tree, name):
    """What a module or class has under a name."""
    found = []
    for node in ast.walk(tree) if isinstance(tree, ast.ClassDef) else statements(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
            found.append(node)
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        for target in targets:
            plain = isinstance(target, ast.Name) and target.id == name
            own = isinstance(target, ast.Attribute) and target.attr == name and getattr(target.value, "id", "") == "self"
            if plain or (own and isinstance(tree, ast.ClassDef)):
                found.append(node)
    return found


def statements(tree):
    """The statements of a module, those below `if` and `try` among them."""
    for node in tree.body:
        yield node
        for part in ("body", "orelse", "handlers", "finalbody"):
            if isinstance(node, (ast.If, ast.Try)):
                for below in getattr(node, part, []):
                    yield from [below] if not isinstance(below, ast.ExceptHandler) else below.body


def imported(tree, name, file):
    """Where a module has a name from, as the parts of a symbol."""
    package = file.rsplit("/", 1)[0].split("/")
    for node in statements(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    start = package[: len(package) - node.level + 1] if node.level else []
                    return [*start, *((node.module or "").split(".") if node.module else []), alias.name]
    return None


def signature(node, is_method):
    """What a definition takes."""
    taken = node.args
    names = [one.arg for one in [*taken.posonlyargs, *taken.args]]
    static = any(getattr(one, "id", "") == "staticmethod" for one in node.decorator_list)
    if is_method and not static:
        names = names[1:]
    needed = names[: len(names) - len(taken.defaults)] if len(taken.defaults) < len(names) else []
    keyword = [one.arg for one in taken.kwonlyargs]
    needed += [one for one, default in zip(keyword, taken.kw_defaults, strict=True) if default is None]
    return {
        "parameters": names,
        "keyword_only": keyword,
        "needed": needed,
        "more_positional": taken.vararg is not None,
        "more_keywords": taken.kwarg is not None,
    }


def fields(node):
    """What a data class takes."""
    lines = [one for one in node.body if isinstance(one, ast.AnnAssign)]
    needed = [one.target.id for one in lines if one.value is None]
    names = [one.target.id for one in lines]
    return {
        "parameters": names,
        "keyword_only": [],
        "needed": needed,
        "more_positional": False,
        "more_keywords": False,
    }


def reads(name, packages):
    """Whether a package reads an option of this name, or a function of it has such a parameter."""
    quoted = rf"[\"']{name}[\"']"
    pattern = re.compile(rf"(?:\.(?:get|pop|setdefault)\(\s*|\[\s*){quoted}|{quoted}\s+in\s|^\s*{name}\s*(?::[^=\n]+)?(?:=|,)", re.M)
    return any(pattern.search(text) for package in packages for text in package.texts())


def defaults(source, symbol, keyword):
    """The keys of the dictionary that is the default of a parameter."""
    [made], _ = source.resolve(symbol + ".__init__")
    names = [one.arg for one in made.args.args]
    default = made.args.defaults[names.index(keyword) - len(names)]
    return sorted(calls.keys_of(default))


def settings(text):
    """The keys of a YAML file of nested mappings, with dots."""
    found, above = [], []
    for line in text.splitlines():
        if match := re.match(r"( *)([A-Za-z_]\w*):", line):
            indent = len(match.group(1))
            above = [(depth, name) for depth, name in above if depth < indent] + [(indent, match.group(2))]
            found.append(".".join(name for _, name in above))
    return sorted(found)


def record(folder):
    packages, recorded = {}, {}
    releases = {module: requirement(module) for module in PACKAGES}

    def package(module):
        if module not in packages:
            packages[module] = Package(module, folder)
        return packages[module]

    for use in sorted((use for program in calls.ROOTS for use in calls.uses(program)), key=lambda use: use.symbol):
        module = next(one for one in sorted(PACKAGES, reverse=True) if (use.symbol + ".").startswith(one + "."))
        source = package(module)
        if module in NATIVE and use.symbol != module:
            name = use.symbol.rsplit(".", 1)[1].encode()
            there = any(name in source.zip.read(file) for file in source.names if file.endswith((".so", ".py", ".pyi")))
            if not there:
                raise SystemExit(f"{use}: {releases[module]} has no such name")
            recorded.setdefault(use.symbol, {"release": releases[module], "native": True})
            continue
        found, file = source.resolve(use.symbol)
        if not found:
            raise SystemExit(f"{use}: {releases[module]} has nothing of this name")
        one = recorded.setdefault(use.symbol, {"release": releases[module], "file": file})
        if not use.is_call:
            continue
        one["signatures"] = signatures_of(source, use.symbol, found)
        if any(each["more_keywords"] for each in one["signatures"]):
            named = {name for each in one["signatures"] for name in each["parameters"] + each["keyword_only"]}
            others = [package(other) for other in PASSED_ON.get(use.symbol, ())]
            known = {name for name in use.keywords if name not in named and reads(name, [source, *others])}
            one["reads"] = sorted(known | set(one.get("reads", [])))
    separator, parts = "audio_separator.separator.Separator", ("mdx_params", "demucs_params")
    options = {f"{separator}.{part}": defaults(package("audio_separator"), separator, part) for part in parts}
    options["rapidocr.RapidOCR.params"] = settings(package("rapidocr").zip.read("rapidocr/config.yaml").decode())
    text = json.dumps({"options": options, "releases": releases, "symbols": recorded}, indent=1, sort_keys=True)
    # A list of names takes one line.
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda match: "[" + " ".join(match.group(1).split()) + "]", text)
    RECORD.write_text(text + "\n")
    print(f"{len(recorded)} names of {len(packages)} packages are in {RECORD}")


def signatures_of(source, symbol, found):
    """The signatures of a function, or of a class that is called."""
    if isinstance(found[0], ast.ClassDef):
        made, _ = source.resolve(symbol + ".__init__")
        made = made or source.resolve(symbol + ".__new__")[0]
        return [signature(node, True) for node in made] or [fields(found[0])]
    if not isinstance(found[0], ast.FunctionDef):
        raise SystemExit(f"{symbol} is called, but it is no function")
    is_method = symbol.rsplit(".", 2)[-2][:1].isupper()
    return [signature(node, is_method) for node in found if isinstance(node, ast.FunctionDef)]


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    target = pathlib.Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    record(target)

"""The speaker embedder CAM++ of 3D-Speaker in numpy: 16 kHz sound in, 192 numbers out that are near to each other (cosine)
for pieces of the same voice. The paper is arXiv 2303.00332; weights are read from the makers' own file, without torch."""

import io
import math
import pickle
import zipfile

import numpy as np

RATE = 16000
BANDS, FRAME, STEP, POINTS = 80, 400, 160, 512
# Layers and dilations of the three dense blocks.
BLOCKS = ((12, 1), (24, 2), (16, 2))
# Frames over which a layer takes the mean of what surrounds a moment.
SURROUNDINGS = 100
EPSILON = 1e-5


class TensorReader(pickle.Unpickler):
    """Reads the tensors of a file that torch wrote, and nothing else: a pickle could name anything to run."""

    TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}

    def __init__(self, archive, folder):
        super().__init__(io.BytesIO(archive.read(f"{folder}/data.pkl")))
        self.archive, self.folder = archive, folder

    def find_class(self, module, name):
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self.tensor
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch" and name in self.TYPES:
            return self.TYPES[name]
        raise pickle.UnpicklingError(f"the file names {module}.{name}, which is no part of weights")

    def persistent_load(self, key):
        _, kind, name, *_ = key
        return np.frombuffer(self.archive.read(f"{self.folder}/data/{name}"), kind)

    @staticmethod
    def tensor(storage, offset, shape, strides, *_):
        expected = [math.prod(shape[at + 1 :]) for at in range(len(shape))]
        if list(strides) != expected:
            raise pickle.UnpicklingError("a tensor does not lie in one piece")
        return storage[offset : offset + math.prod(shape)].reshape(shape)


def read_weights(path):
    """The tensors of a file of torch, by name."""
    with zipfile.ZipFile(path) as archive:
        [index] = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        return TensorReader(archive, index.rpartition("/")[0]).load()


def mel_filters():
    """Triangles of Kaldi's filter bank, bands by bins."""

    def mel(frequency):
        return 1127.0 * np.log1p(np.asarray(frequency) / 700.0)

    edges = np.linspace(mel(20.0), mel(RATE / 2), BANDS + 2)
    bins = mel(np.arange(POINTS // 2) * RATE / POINTS)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    return np.maximum(triangles, 0.0).astype(np.float32)


FILTERS = mel_filters()
WINDOW = (np.hanning(FRAME) ** 0.85).astype(np.float32)


def features(samples):
    """Logarithms of Kaldi's mel energies, frames by bands, without their mean."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::STEP]
    frames = frames - frames.mean(axis=1, keepdims=True)
    former = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    spectrum = np.fft.rfft((frames - 0.97 * former) * WINDOW, POINTS)[:, : POINTS // 2]
    energies = (np.abs(spectrum) ** 2).astype(np.float32) @ FILTERS.T
    logarithms = np.log(np.maximum(energies, np.finfo(np.float32).eps))
    return logarithms - logarithms.mean(axis=0)


class Embedder:
    """The network. A batch is an array of channels, pieces and frames (before the first dense block also bands)."""

    def __init__(self, weights):
        self.weights = weights

    def embed(self, pieces):
        """A row of length 1 for each piece of sound; the pieces are equally long."""
        batch = np.stack([features(piece).T for piece in pieces])
        values = self.head(batch.astype(np.float32)[None])
        values = self.time_layer(values)
        for number, (layers, dilation) in enumerate(BLOCKS, 1):
            for layer in range(1, layers + 1):
                name = f"xvector.block{number}.tdnnd{layer}"
                values = np.concatenate([values, self.dense_layer(name, values, dilation)])
            name = f"xvector.transit{number}"
            values = self.mix(f"{name}.linear", self.active(f"{name}.nonlinear.batchnorm", values))
        values = self.active("xvector.out_nonlinear.batchnorm", values)
        pooled = np.concatenate([values.mean(axis=2), values.std(axis=2, ddof=1)])[:, :, None]
        rows = self.normal("xvector.dense.nonlinear.batchnorm", self.mix("xvector.dense.linear", pooled))[:, :, 0].T
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), EPSILON)

    def head(self, values):
        values = self.active("head.bn1", self.area(values, "head.conv1"))
        for layer in ("head.layer1", "head.layer2"):
            values = self.residual(f"{layer}.1", self.residual(f"{layer}.0", values, 2), 1)
        values = self.active("head.bn2", self.area(values, "head.conv2", 2))
        channels, pieces, bands, frames = values.shape
        return values.transpose(0, 2, 1, 3).reshape(channels * bands, pieces, frames)

    def residual(self, name, values, stride):
        inner = self.active(f"{name}.bn1", self.area(values, f"{name}.conv1", stride))
        inner = self.normal(f"{name}.bn2", self.area(inner, f"{name}.conv2"))
        if f"{name}.shortcut.0.weight" in self.weights:
            values = self.mix(f"{name}.shortcut.0", values[:, :, ::stride])
            values = self.normal(f"{name}.shortcut.1", values)
        inner += values
        return np.maximum(inner, 0.0, out=inner)

    def time_layer(self, values):
        values = self.along(values, "xvector.tdnn.linear", stride=2)
        return self.active("xvector.tdnn.nonlinear.batchnorm", values)

    def dense_layer(self, name, values, dilation):
        values = self.mix(f"{name}.linear1", self.active(f"{name}.nonlinear1.batchnorm", values))
        values = self.active(f"{name}.nonlinear2.batchnorm", values)
        context = values.mean(axis=2, keepdims=True) + surroundings(values)
        context = np.maximum(self.mix(f"{name}.cam_layer.linear1", context), 0.0)
        weight = self.mix(f"{name}.cam_layer.linear2", context)
        local = self.along(values, f"{name}.cam_layer.linear_local", dilation)
        return local / (1.0 + np.exp(-weight))

    def normal(self, name, values):
        """Batch normalisation."""
        weights = self.weights
        scale = 1.0 / np.sqrt(weights[f"{name}.running_var"] + EPSILON)
        if f"{name}.weight" in weights:
            scale = scale * weights[f"{name}.weight"]
        shift = -weights[f"{name}.running_mean"] * scale + weights.get(f"{name}.bias", 0.0)
        shape = (-1,) + (1,) * (values.ndim - 1)
        values = values * scale.reshape(shape)
        values += shift.reshape(shape)
        return values

    def active(self, name, values):
        values = self.normal(name, values)
        return np.maximum(values, 0.0, out=values)

    def mix(self, name, values):
        """A convolution of width 1."""
        weight = self.weights[f"{name}.weight"]
        mixed = weight.reshape(len(weight), -1) @ values.reshape(len(values), -1)
        if f"{name}.bias" in self.weights:
            mixed += self.weights[f"{name}.bias"][:, None]
        return mixed.reshape(-1, *values.shape[1:])

    def along(self, values, name, dilation=1, stride=1):
        """A convolution over frames."""
        weight = self.weights[f"{name}.weight"]
        width = weight.shape[2]
        margin = width // 2 * dilation
        frames = values.shape[2]
        values = np.pad(values, ((0, 0), (0, 0), (margin, margin)))
        count = (frames - 1) // stride + 1
        starts = [tap * dilation for tap in range(width)]
        columns = [values[:, :, start : start + (count - 1) * stride + 1 : stride] for start in starts]
        return self.columns(weight, columns, (count,), values.shape[1])

    def area(self, values, name, stride=1):
        """A convolution of 3 bands by 3 frames; the stride is of bands."""
        weight = self.weights[f"{name}.weight"]
        bands, frames = (values.shape[2] - 1) // stride + 1, values.shape[3]
        values = np.pad(values, ((0, 0), (0, 0), (1, 1), (1, 1)))
        columns = [
            values[:, :, band : band + (bands - 1) * stride + 1 : stride, frame : frame + frames]
            for band in range(3)
            for frame in range(3)
        ]
        return self.columns(weight, columns, (bands, frames), values.shape[1])

    @staticmethod
    def columns(weight, columns, shape, pieces):
        """Multiplies what lies under each tap, all taps at once."""
        stacked = np.stack(columns, axis=1).reshape(weight.shape[1] * len(columns), -1)
        return (weight.reshape(len(weight), -1) @ stacked).reshape(len(weight), pieces, *shape)


def surroundings(values):
    """Means of every 100 frames, at each of them."""
    frames = values.shape[2]
    starts = range(0, frames, SURROUNDINGS)
    means = [values[:, :, at : at + SURROUNDINGS].mean(axis=2, keepdims=True) for at in starts]
    if len(means) == 1:
        return means[0]
    return np.repeat(np.concatenate(means, axis=2), SURROUNDINGS, axis=2)[:, :, :frames]

"""The network of Spleeter (Deezer, MIT) with two stems, in numpy: for each stem a U-Net, which gives the part of the
spectrum that is the stem's. The paper is Jansson et al., ISMIR 2017."""

import numpy as np

# Samples of a window of the spectrum and of the step to the next; frames and bins that the network sees at a time.
WINDOW, STEP = 4096, 1024
FRAMES, BINS = 512, 1024
# Layers that make the picture smaller; convolutions of a stem, those that make it larger, and norms.
LAYERS = 6
CONVOLUTIONS, ENLARGEMENTS, NORMS = 7, 6, 12
EPSILON = 1e-3
VOICE, REST = 0, 1


class Separator:
    """Both stems."""

    def __init__(self, tensors):
        self.tensors = tensors

    def voice(self, spectrum):
        """The part of each bin of a spectrum (frames, bins, channels) that is the voice."""
        frames = len(spectrum)
        seen = np.abs(spectrum[:, :BINS]).astype(np.float32)
        seen = np.pad(seen, ((0, FRAMES - frames), (0, 0), (0, 0)))
        voice, rest = (self.stem(seen, stem) ** 2 for stem in (VOICE, REST))
        part = ((voice + 5e-11) / (voice + rest + 1e-10))[:frames]
        # What is above the highest bin that the network knows stays with the rest.
        return np.pad(part, ((0, 0), (0, spectrum.shape[1] - BINS), (0, 0)))

    def stem(self, seen, stem):
        norms, smaller, values = NORMS * stem, [], seen
        for layer in range(LAYERS):
            smaller.append(self.convolved(values, CONVOLUTIONS * stem + layer))
            values = self.normal(smaller[-1], norms + layer)
            values = np.where(values > 0, values, 0.2 * values)
        values = smaller.pop()
        for layer in range(LAYERS):
            values = np.maximum(self.enlarged(values, ENLARGEMENTS * stem + layer), 0.0)
            values = self.normal(values, norms + LAYERS + layer)
            if smaller:
                values = np.concatenate([smaller.pop(), values], axis=2)
        values = self.convolved(values, CONVOLUTIONS * stem + LAYERS, stride=1, dilation=2)
        return seen / (1.0 + np.exp(-values))

    def tensor(self, layer, number, name):
        return self.tensors[f"{layer}_{number}/{name}" if number else f"{layer}/{name}"]

    def normal(self, values, number):
        """Batch normalisation."""
        mean, variance, scale, shift = (
            self.tensor("batch_normalization", number, name)
            for name in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        scale = scale / np.sqrt(variance + EPSILON)
        return values * scale + (shift - mean * scale)

    def convolved(self, values, number, stride=2, dilation=1):
        kernel = self.tensor("conv2d", number, "kernel")
        height, width = (-(-size // stride) for size in values.shape[:2])
        margins = [
            max((made - 1) * stride + (taps - 1) * dilation + 1 - size, 0)
            for made, taps, size in zip((height, width), kernel.shape, values.shape, strict=False)
        ]
        values = np.pad(values, [*((margin // 2, margin - margin // 2) for margin in margins), (0, 0)])
        made = np.zeros((height * width, kernel.shape[3]), np.float32)
        for row, column in np.ndindex(kernel.shape[:2]):
            top, left = row * dilation, column * dilation
            under = values[top : top + (height - 1) * stride + 1 : stride, left : left + (width - 1) * stride + 1 : stride]
            made += under.reshape(height * width, -1) @ kernel[row, column]
        return (made + self.tensor("conv2d", number, "bias")).reshape(height, width, -1)

    def enlarged(self, values, number):
        """A transposed convolution of stride 2."""
        kernel = self.tensor("conv2d_transpose", number, "kernel")
        height, width = values.shape[:2]
        flat = values.reshape(height * width, -1)
        made = np.zeros((2 * height + 3, 2 * width + 3, kernel.shape[2]), np.float32)
        for row, column in np.ndindex(kernel.shape[:2]):
            part = (flat @ kernel[row, column].T).reshape(height, width, -1)
            made[row : row + 2 * height : 2, column : column + 2 * width : 2] += part
        return made[1 : 1 + 2 * height, 1 : 1 + 2 * width] + self.tensor("conv2d_transpose", number, "bias")

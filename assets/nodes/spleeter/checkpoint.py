"""Reads the tensors of a checkpoint of TensorFlow 2 without TensorFlow: an index, which is a table of LevelDB with a message
of Protocol Buffers for each tensor, and a file with the numbers."""

import mmap
import struct

import numpy as np

# Bytes at the end of a table that say where its index is; the type of a block that is not compressed, and of 32-bit floats.
FOOTER, PLAIN, FLOAT = 48, 0, 1


def read_checkpoint(index, data):
    """The tensors of 32-bit floats, by name."""
    with open(index, "rb") as file:
        table = file.read()
    with open(data, "rb") as file:
        numbers = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    tensors = {}
    for _, handle in entries(table, handle_of(table[-FOOTER:], 1)):
        for name, entry in entries(table, handle_of(handle)):
            fields = fields_of(entry)
            if name and fields.get(1, [0])[0] == FLOAT:
                start, size = fields.get(4, [0])[0], fields[5][0]
                values = np.frombuffer(numbers, "<f4", size // 4, start)
                tensors[name.decode()] = values.reshape(shape_of(fields.get(2, [b""])[0]))
    return tensors


def shape_of(message):
    return [fields_of(one).get(1, [0])[0] for one in fields_of(message).get(2, [])]


def number(data, at):
    """A number of variable length, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def handle_of(data, skipped=0):
    """Where a block is, and its length."""
    at, found = 0, []
    for _ in range(2 * (skipped + 1)):
        value, at = number(data, at)
        found.append(value)
    return found[-2:]


def entries(table, handle):
    """Keys and values of a block. A key begins with a part of the former one."""
    start, size = handle
    if table[start + size] != PLAIN:
        raise ValueError("the index of the checkpoint is compressed")
    block = table[start : start + size]
    restarts = struct.unpack("<I", block[-4:])[0]
    at, end, key = 0, size - 4 - 4 * restarts, b""
    while at < end:
        shared, at = number(block, at)
        own, at = number(block, at)
        length, at = number(block, at)
        key = key[:shared] + block[at : at + own]
        at += own
        yield key, block[at : at + length]
        at += length


def fields_of(message):
    """The values of the fields of a message of Protocol Buffers, by their numbers."""
    at, fields = 0, {}
    while at < len(message):
        tag, at = number(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = number(message, at)
        else:
            length = {1: 8, 5: 4}.get(kind)
            if length is None:
                length, at = number(message, at)
            value, at = message[at : at + length], at + length
        fields.setdefault(tag >> 3, []).append(value)
    return fields

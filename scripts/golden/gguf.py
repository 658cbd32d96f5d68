"""GGUF v3 files, read into float64 arrays and written from float32 ones.

Arrays are in NumPy's order: a weight with GGUF dimensions [in, out] is an array of shape (out, in).
"""

import struct

import numpy as np

MAGIC = 0x46554747
ALIGNMENT = 32
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q",
           12: "<d"}
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9

# The sixteen values of a 4-bit float (E2M1), as MXFP4 stores them.
E2M1 = np.array([0, .5, 1, 1.5, 2, 3, 4, 6, 0, -.5, -1, -1.5, -2, -3, -4, -6])


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def scalar(self, kind):
        form = SCALARS[kind]
        value = struct.unpack_from(form, self.data, self.at)[0]
        self.at += struct.calcsize(form)
        return value

    def text(self):
        n = self.scalar(10)
        self.at += n
        return self.data[self.at - n:self.at]

    def value(self, kind):
        if kind == STRING:
            return self.text().decode("utf-8", "replace")
        if kind == ARRAY:
            element, n = self.scalar(U32), self.scalar(10)
            return [self.value(element) for _ in range(n)]
        return self.scalar(kind)


def dequantise(kind, raw, shape):
    n = int(np.prod(shape))
    if kind == 0:
        return np.frombuffer(raw, "<f4", n).astype(np.float64).reshape(shape)
    if kind == 1:
        return np.frombuffer(raw, "<f2", n).astype(np.float64).reshape(shape)
    if kind == 39:  # MXFP4: a power of two and 32 nibbles; low nibbles are the first half
        blocks = np.frombuffer(raw, np.uint8, n // 32 * 17).reshape(-1, 17)
        scale = 2.0 ** (blocks[:, :1].astype(np.float64) - 127)
        codes = np.concatenate([blocks[:, 1:] & 15, blocks[:, 1:] >> 4], axis=1)
        return (E2M1[codes] * scale).reshape(shape)
    raise ValueError(f"tensor type {kind} is not needed by any golden model")


def size_of(kind, n):
    return {0: 4 * n, 1: 2 * n, 39: n // 32 * 17}[kind]


def read(path):
    """(metadata, tensors, raw bytes of every tokenizer.* pair)"""
    with open(path, "rb") as file:
        reader = Reader(file.read())
    if reader.scalar(U32) != MAGIC:
        raise ValueError(f"{path} is not a GGUF file")
    reader.scalar(U32)
    n_tensor, n_pair = reader.scalar(10), reader.scalar(10)
    metadata, tokenizer = {}, []
    for _ in range(n_pair):
        begin = reader.at
        key = reader.text().decode()
        metadata[key] = reader.value(reader.scalar(U32))
        if key.startswith("tokenizer."):
            tokenizer.append(reader.data[begin:reader.at])
    infos = []
    for _ in range(n_tensor):
        name = reader.text().decode()
        dims = [reader.scalar(10) for _ in range(reader.scalar(U32))]
        infos.append((name, dims[::-1], reader.scalar(U32), reader.scalar(10)))
    base = -(-reader.at // ALIGNMENT) * ALIGNMENT
    tensors = {}
    for name, shape, kind, offset in infos:
        size = size_of(kind, int(np.prod(shape)))
        tensors[name] = dequantise(kind, reader.data[base + offset:base + offset + size], shape)
    return metadata, tensors, tokenizer


def text_bytes(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def value_bytes(value):
    """Type id and value. Lists hold one kind of scalar."""
    if isinstance(value, bool):
        return struct.pack("<I?", BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", U32, value)
    if isinstance(value, float):
        return struct.pack("<If", F32, value)
    if isinstance(value, str):
        return struct.pack("<I", STRING) + text_bytes(value)
    items = [value_bytes(item) for item in value]
    return struct.pack("<I", ARRAY) + items[0][:4] + struct.pack("<Q", len(items)) + b"".join(
        item[4:] for item in items)


def write(path, metadata, tensors, tokenizer):
    """`tensors`: name -> float32 array. `tokenizer`: raw pairs, as `read` gives them."""
    pairs = [text_bytes(key) + value_bytes(value) for key, value in metadata.items()] + tokenizer
    head = struct.pack("<IIQQ", MAGIC, 3, len(tensors), len(pairs)) + b"".join(pairs)
    data = b""
    for name, array in tensors.items():
        head += text_bytes(name) + struct.pack("<I", array.ndim)
        head += b"".join(struct.pack("<Q", n) for n in array.shape[::-1])
        head += struct.pack("<IQ", 0, len(data))
        data += array.astype("<f4").tobytes()
        data += b"\0" * (-len(data) % ALIGNMENT)
    with open(path, "wb") as file:
        file.write(head + b"\0" * (-len(head) % ALIGNMENT) + data)

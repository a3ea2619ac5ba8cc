"""PyTorch files written by the standard library alone."""

import io
import pickle
import struct
import zipfile

_SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
_KINDS = {"f4": b"FloatStorage", "f8": b"DoubleStorage", "f2": b"HalfStorage"}


def _text(word):
    return b"X" + struct.pack("<I", len(word)) + word.encode()


def _number(value):
    return b"J" + struct.pack("<i", value)


def _tensor(key, array):
    """Opcodes of a tensor, as torch's pickles spell it."""
    count = array.size
    kind = b"ctorch\n" + _KINDS[array.dtype.str[1:]] + b"\n"
    storage = b"(" + _text("storage") + kind + _text(key) + _text("cpu")
    storage += _number(count) + b"tQ"
    strides = [stride // array.itemsize for stride in array.strides]
    shape = b"(" + b"".join(map(_number, array.shape)) + b"t"
    steps = b"(" + b"".join(map(_number, strides)) + b"t"
    hooks = b"\x89ccollections\nOrderedDict\n)R"
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n"
    return rebuild + b"(" + storage + _number(0) + shape + steps + hooks + b"tR"


def state(tensors):
    """Opcodes of a dict name -> array."""
    items = (_text(n) + _tensor(str(k), a) for k, (n, a) in enumerate(tensors.items()))
    return b"}q\x00(" + b"".join(items) + b"u"


def wrapped(key, content):
    """Opcodes of a checkpoint with the content under a key."""
    return b"}(" + _text("epoch") + _number(3) + _text(key) + content + b"u"


def zipped(content, tensors):
    """A file of torch 1.6 or later."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("net/data.pkl"), b"\x80\x02" + content + b".")
        archive.writestr(zipfile.ZipInfo("net/byteorder"), b"little")
        for key, array in enumerate(tensors.values()):
            archive.writestr(zipfile.ZipInfo(f"net/data/{key}"), array.tobytes())
        archive.writestr(zipfile.ZipInfo("net/version"), b"3\n")
    return buffer.getvalue()


def legacy(content, tensors):
    """A file of torch before 1.6."""
    content = content.replace(b"tQ", b"NtQ")  # the view of a storage
    parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, _SYSTEM)]
    parts += [b"\x80\x02" + content + b"."]
    parts += [pickle.dumps([str(key) for key in range(len(tensors))], 2)]
    for array in tensors.values():
        parts.append(struct.pack("<Q", array.size) + array.tobytes())
    return b"".join(parts)

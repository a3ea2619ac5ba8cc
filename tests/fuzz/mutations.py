"""Damage to files: of bytes, of text, and of what each form declares of its content."""

import io
import json
import random as random_module
import re
import struct
import zipfile
import zlib

Random = random_module.Random
_NUMBERS = (0, 1, 2, 7, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32)
_LARGE = (*_NUMBERS, 2**40, 2**62, 2**63 - 1, 2**63, 2**64, 10**20, -1, -(2**63))
_DTYPES = (
    *("<f4", ">f8", "<f2", "|b1", "|u1", "<i8", "<U3", "|S4", "<c8", "|O", "<M8[D]"),
    *("<m8[s]", "|V3", "<U0", "<f16", "|S0", "float99", "<U99999999999", "<f4,<i4"),
)
_TYPES = ("F64", "F16", "BF16", "F8_E4M3", "I64", "U8", "BOOL", "F4", "C64", "X9")
_PROGRAM = 20_000  # bytes of a config file, at most
_WORDS = (
    *(b"nan", b"-inf", b"1e400", b"null", b"true", b"-1", b"''", b'"', b"\0", b"\r"),
    *(b"\n", b",", b";", b"\t", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xc2\x85"),
    *(b"=1+1", b"../", b"/", b"*a", b"&a [1]", b"{", b"[", b"- ", b": ", b"!!int x"),
    *("\u2028".encode(), "²".encode(), "٣".encode(), "e\u0301".encode()),
)
_OPCODES = (
    *(b"r\xff\xff\xff\x7f", b"\x8e" + b"\xff" * 8, b"\x96" + b"\xff" * 7 + b"\x7f"),
    *(
        b"cos\nsystem\n",
        b"\x85" * 3,
        b"}",
        b"]",
        b"(",
        b")",
        b"h\x00",
        b"0",
        b"2",
        b"R",
    ),
    *(b"b", b"s", b"u", b"Q", b"t", b"\x94", b"N", b"J\xff\xff\xff\xff", b"\x81", b"."),
    *(b"ctorch\nFloatStorage\n", b"cargparse\nNamespace\n", b"\x8a\x10" + b"\x7f" * 16),
)


def mutated(name, content, random, others=(b"",)):
    """One to three kinds of damage to a file.

    Args:
      name: of the file; its suffix says which form it has.
      random: decides everything.
      others: contents to take pieces from.
    """
    forms = _FORMS.get(name.rpartition(".")[2], (_binary,))
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        change = random.choice(forms)
        try:
            content = change(content, random, others)
        except Exception:  # the form is damaged already
            content = _binary(content, random, others)
    # A program may take long; only its mistakes are of interest.
    return content[:_PROGRAM] if name.endswith(".py") else content


def _binary(content, random, others):
    change = random.choice(
        (_flip, _flip, _field, _field, _cut, _insert, _copy, _splice)
    )
    return change(content or b"\0", random, others)


def _place(content, random):
    """Half of the time near the beginning, where headers are."""
    near = random.random() < 0.5
    return random.randrange(min(len(content), 160) if near else len(content))


def _flip(content, random, others):
    del others
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8))):
        changed[_place(content, random)] ^= 1 << random.randrange(8)
    return bytes(changed)


def _field(content, random, others):
    """Another number where a field of 1, 2, 4 or 8 bytes may be."""
    del others
    size, order = random.choice((1, 2, 4, 8)), random.choice(("little", "big"))
    number = (random.choice(_LARGE) % 256**size).to_bytes(size, order)
    place = _place(content, random)
    return content[:place] + number + content[place + size :]


def _cut(content, random, others):
    del others
    place = _place(content, random)
    end = random.choice((len(content), place + random.randrange(1, 64)))
    return content[:place] + content[end:]


def _insert(content, random, others):
    del others
    place = _place(content, random)
    piece = random.choice((random.randbytes(4), bytes(16), b"\xff" * 8, bytes(5000)))
    return content[:place] + piece + content[place:]


def _copy(content, random, others):
    del others
    start, place = _place(content, random), _place(content, random)
    piece = content[start : start + random.randrange(1, 200)]
    return content[:place] + piece * random.choice((1, 1, 2, 50)) + content[place:]


def _splice(content, random, others):
    other = random.choice(others) or b"\0"
    return content[: _place(content, random)] + other[_place(other, random) :]


def _text(content, random, others):
    """Another number, word, cell, line or level."""
    kind = random.randrange(9)
    place = _place(content or b"\0", random)
    numbers = list(re.finditer(rb"\d+", content))
    if kind < 2 and numbers:
        found = random.choice(numbers)
        digits = random.choice((*(str(n) for n in _LARGE), "9" * 4400, "1e999", "00"))
        return content[: found.start()] + digits.encode() + content[found.end() :]
    if kind < 4:
        word = random.choice(_WORDS)
        return content[:place] + word + content[place + random.choice((0, 1, 4)) :]
    if kind == 4:
        piece = random.choice((b"x", b" ", b"[", b"{a: ", b"\n", b"\xc3\xa9", b"a,"))
        return (
            content[:place]
            + piece * random.choice((300, 20_000, 140_000))
            + content[place:]
        )
    if kind == 5:
        lines = content.split(b"\n")
        row, other = random.randrange(len(lines)), random.randrange(len(lines))
        lines[row] = random.choice((lines[other], b"", lines[row] + lines[other]))
        return b"\n".join(lines)
    if kind == 6:
        encoding = random.choice(("utf-16", "utf-32", "cp1252"))
        return content.decode(errors="replace").encode(encoding, "replace")
    if kind == 7:
        old, new = random.choice(
            ((b",", b";"), (b"\n", b"\r\n"), (b'"', b""), (b" ", b"\t"))
        )
        return content.replace(old, new)
    return _binary(content, random, others)


def _json_line(content, random, others):
    """A row of JSON in which one value has another form, or is missing."""
    del others
    lines = content.split(b"\n")
    at = random.randrange(len(lines))
    row = json.loads(lines[at])
    key = random.choice(list(row))
    values = (None, True, -1, 0.5, 10**30, "text", [], {}, [1, 2], {"a": None}, 1e308)
    row[key] = random.choice(values)
    if random.random() < 0.3:
        del row[key]
    lines[at] = json.dumps(row).encode()
    return b"\n".join(lines)


def _json(content, random, others):
    """A JSON file in which one value, anywhere, has another form or is missing."""
    del others
    root = json.loads(content)
    spots, left = [], [root]
    while left:
        value = left.pop()
        if isinstance(value, (dict, list)) and value:
            keys = list(value) if isinstance(value, dict) else range(len(value))
            spots += [(value, key) for key in keys]
            left += [value[key] for key in keys]
    parent, key = random.choice(spots)
    values = (
        None,
        True,
        -1,
        0.5,
        10**30,
        "text",
        "",
        [],
        {},
        [1, 2],
        [[]],
        {"a": None},
    )
    if random.random() < 0.3:
        del parent[key]
    else:
        parent[key] = random.choice((*values, random.choice(spots)[0]))
    return json.dumps(root).encode()


def _npy(content, random, others):
    """Another dtype, order, shape or version in the header, of the right length."""
    del others
    start = 10 if content[6:7] == b"\1" else 12
    length = int.from_bytes(content[8:start], "little")
    header = content[start : start + length].decode("latin1")
    shape = [random.choice(_LARGE) for _ in range(random.randrange(4))]
    kind = random.randrange(4)
    if kind == 0:
        header = re.sub(
            "'descr': '[^']*'", f"'descr': {random.choice(_DTYPES)!r}", header
        )
    elif kind == 1:
        shapes = (
            tuple(shape),
            (True,),
            ("2",),
            (1.5,),
            None,
            (6,),
            (0, 3),
            (3, 6),
            (6, 1),
        )
        header = re.sub(
            r"\([^)]*\)", repr(random.choice(shapes)).replace("\\", ""), header
        )
    elif kind == 2:
        words = ("True", "1", "[]", "(" * 90, "'", "}", "\\", "{", "\n", "1_0", "#")
        old = random.choice(("False", "'", ",", "{", ")", "descr"))
        header = header.replace(old, random.choice(words))
    else:
        start_bytes = b"\x93NUMPY" + bytes((random.randrange(5), random.randrange(2)))
        return start_bytes + content[8:]
    size = random.choice((len(header), len(header), 2**16 - 1, 0))
    encoded = header.encode("latin1", "replace")
    return (
        content[:8]
        + (size % 256 ** (start - 8)).to_bytes(start - 8, "little")
        + (encoded + content[start + length :])
    )


def _pickle(content, random, others):
    """Another opcode, or a number of another size, anywhere."""
    del others
    place = random.randrange(len(content))
    if random.random() < 0.5:
        codes = b"".join(random.choices(_OPCODES, k=random.choice((1, 1, 2, 4))))
        return content[:place] + codes + content[place + random.choice((0, 0, 1, 5)) :]
    places = [found.start() for found in re.finditer(b"J", content[:-5])]
    place = random.choice(places) + 1
    number = (random.choice(_LARGE) % 2**32).to_bytes(4, "little")
    return content[:place] + number + content[place + 4 :]


def _zip(content, random, others):
    """A sound archive in which one member is damaged, renamed, doubled or missing."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(member, archive.read(member)) for member in archive.infolist()]
    at = random.randrange(len(members))
    buffer = io.BytesIO()
    method = random.choice((members[at][0].compress_type, *range(0, 15, 2), 8, 12))
    with zipfile.ZipFile(buffer, "w", allowZip64=True) as archive:
        for number, (member, data) in enumerate(members):
            name = member.filename
            if number == at:
                name, data = _member(name, data, random, others)
            if name is not None:
                chosen = method if number == at and method in (0, 8, 12, 14) else 0
                archive.writestr(zipfile.ZipInfo(name), data, chosen)
                if number == at and random.random() < 0.05:
                    archive.writestr(zipfile.ZipInfo(f"{name}2"), data, chosen)
    return buffer.getvalue()


def _member(name, data, random, others):
    kind = random.randrange(8)
    if kind == 0:
        names = (
            None,
            name.removesuffix(".npy"),
            "../x.npy",
            "",
            "features.npy",
            "a/b.npy",
        )
        return random.choice(names), data
    if kind == 1 and name.endswith(".npy"):
        return name, data + bytes(random.choice((1, 10, 10**6)))
    inner = (
        "npy" if name.endswith(".npy") else "pkl" if name.endswith(".pkl") else "bin"
    )
    return name, mutated(f"x.{inner}", data, random, others)


def _safetensors(content, random, others):
    """Another type, shape or place in the header, of the right length."""
    del others
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    name = random.choice(list(header))
    entry = header[name]
    kind = random.randrange(6)
    if kind == 0:
        entry["dtype"] = random.choice(_TYPES)
    elif kind == 1:
        entry["shape"] = [random.choice(_LARGE) for _ in range(random.randrange(4))]
    elif kind == 2:
        entry["data_offsets"] = [random.choice(_LARGE), random.choice(_LARGE)]
    elif kind == 3:
        header[random.choice(("a" * 10**5, "", "\n", "net.net.x", "\0"))] = header.pop(
            name
        )
    elif kind == 4:
        header["__metadata__"] = random.choice(({"a": "b"}, {"a": 1}, [], None))
    else:
        entry[random.choice(list(entry))] = random.choice((None, "x", [], {}, -1, 1e30))
    encoded = json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + content[8 + length :]


def _png(content, random, others):
    """A sound sequence of chunks in which one is damaged, moved or doubled."""
    chunks, place = [], 8
    while place < len(content):
        (size,) = struct.unpack(">I", content[place : place + 4])
        chunks.append(
            (content[place + 4 : place + 8], content[place + 8 : place + 8 + size])
        )
        place += size + 12
    at = random.randrange(len(chunks))
    kind, data = chunks[at]
    if random.random() < 0.7:
        chunks[at] = kind, _binary(data, random, others)
    else:
        kinds = (b"eXIf", b"tRNS", b"gAMA", b"iCCP", b"zTXt", b"acTL", b"fcTL", b"PLTE")
        chunks.insert(
            at, (random.choice(kinds), random.randbytes(random.randrange(40)))
        )
    return content[:8] + b"".join(
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


_FORMS = {
    "npz": (_zip, _zip, _binary),
    "npy": (_npy, _npy, _binary),
    "pkl": (_pickle, _pickle, _binary),
    "pth": (_zip, _pickle, _binary),
    "safetensors": (_safetensors, _safetensors, _binary),
    "csv": (_text,),
    "txt": (_text,),
    "yaml": (_text,),
    "py": (_text,),
    "json": (_text, _json, _json),
    "xml": (_text,),
    "jsonl": (_text, _json_line, _json_line),
    "png": (_png, _binary),
}

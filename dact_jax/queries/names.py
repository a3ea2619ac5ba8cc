"""Names of images and classes in files for other programs."""

import re

# What XML 1.0 cannot hold, and lone surrogates: bytes of a name that is not UTF-8.
_UNWRITABLE = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]"
)


def writable(name: str) -> str:
    r"""The name as text that every form can hold: a byte such as \xff is spelled out.

    Two names may become equal by this, so files carry `query.dact_id` too.
    """
    return _UNWRITABLE.sub(lambda found: _spelled(found[0]), name)


def _spelled(character: str) -> str:
    code = ord(character)
    byte = code - 0xDC00  # how `surrogateescape` carries it
    code = byte if 0x80 <= byte <= 0xFF else code
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"

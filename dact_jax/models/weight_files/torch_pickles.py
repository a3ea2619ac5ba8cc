"""Unpickles what PyTorch files hold: tensors in containers, numbers and strings.

Unpickling resolves only the globals listed below, so that a file cannot execute code.
The opcodes are read through before, so that a small file can take neither much memory
nor much time: a pickle may ask for a memo of gigabytes, and tuples that share their
parts may be exponentially large to whoever goes through them.
"""

import collections
import pickle
import pickletools
import warnings
from collections.abc import Sequence
from typing import IO, Any, NamedTuple

_DEPTH = 100  # levels of nesting
_GROWTH, _SMALL = 16, 10_000  # objects without sharing: at most 16 an opcode + 10 000
_INTO_FIRST = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"}


class DType(NamedTuple):
    """The element type of a storage, by NumPy's name."""

    name: str


class Storage(NamedTuple):
    key: str
    dtype: str


class Tensor(NamedTuple):
    """A strided view of a storage; offset and strides are in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Unpickled(NamedTuple):
    content: Any
    dtypes: dict[str, str]  # storage key -> dtype, of the storages that tensors have


class ForbiddenError(Exception):
    """The pickle refers to a global that is not listed."""


class _Rebuild(NamedTuple):
    """A function of torch that makes a tensor; immutable, as a pickle can reach it."""

    form: str

    def __call__(self, *args: Any) -> Any:
        if self.form == "parameter":
            return args[0]
        storage, offset, shape, strides = args[:4]
        if self.form == "typed":  # types that are younger than torch's storage classes
            storage = storage._replace(dtype=args[6].name)
        return Tensor(storage, offset, shape, strides)


class _Inert:
    """Stands for an object that is harmless and no weight, such as a command line."""

    __slots__ = ()

    def __new__(cls, *_: Any) -> "_Inert":
        return object.__new__(cls)

    def _ignore(self, *_: Any) -> None:
        pass

    __setstate__ = __setitem__ = append = extend = _ignore


_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
_TYPES = (
    "float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu "
    "uint16 uint32 uint64 float16 bfloat16 float32 float64"
)
_INERT = (
    "argparse.Namespace collections.defaultdict torch.Size torch.device "
    "pathlib.PosixPath pathlib.PurePosixPath numpy.dtype "
    "numpy.core.multiarray.scalar numpy._core.multiarray.scalar _codecs.encode "
    "pytorch_lightning.utilities.parsing.AttributeDict "
    "lightning.fabric.utilities.data.AttributeDict "
    "lightning_fabric.utilities.data.AttributeDict"
)
_BUILTINS = "list dict set int float complex bytearray slice"
_GLOBALS: dict[str, Any] = {
    "collections.OrderedDict": collections.OrderedDict,
    "torch._utils._rebuild_tensor": _Rebuild("plain"),
    "torch._utils._rebuild_tensor_v2": _Rebuild("plain"),
    "torch._utils._rebuild_tensor_v3": _Rebuild("typed"),
    "torch._utils._rebuild_parameter": _Rebuild("parameter"),
    "torch._utils._rebuild_parameter_with_state": _Rebuild("parameter"),
    "torch.storage.UntypedStorage": DType("uint8"),
    **{f"torch.{name}": DType(dtype) for name, dtype in _STORAGES.items()},
    **{f"torch.{name}": DType(name) for name in _TYPES.split()},
    **dict.fromkeys(_INERT.split(), _Inert),
    **{f"builtins.{name}": _Inert for name in _BUILTINS.split()},
    **{f"__builtin__.{name}": _Inert for name in _BUILTINS.split()},
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.dtypes: dict[str, str] = {}  # storage key -> dtype

    def find_class(self, module: str, name: str) -> Any:
        if (full := f"{module}.{name}") not in _GLOBALS:
            raise ForbiddenError(full)
        return _GLOBALS[full]

    def persistent_load(self, pid: tuple[Any, ...]) -> Storage:
        _, dtype, key, _, _, *view = pid
        if any(part is not None for part in view):
            raise ValueError("views of storages are not supported")
        if not isinstance(dtype, DType) or not isinstance(key, str):
            raise ValueError("it has a storage without a type or a name")
        if self.dtypes.setdefault(key, dtype.name) != dtype.name:
            raise ValueError(f"its storage {key!r} has two types")
        return Storage(key, dtype.name)


def load(file: IO[bytes]) -> Unpickled:
    """Loads the pickle that begins where the file stands, and goes to its end.

    Raises:
      ForbiddenError: it refers to a global that is not listed.
      ValueError, and others of pickle: it is damaged, or would take much more memory or
        time than its size.
    """
    start = file.tell()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in texts, which are no weights
        _check(file)
        file.seek(start)
        unpickler = _Unpickler(file)
        return Unpickled(unpickler.load(), unpickler.dtypes)


class _Extent(NamedTuple):
    """How large an object is to whoever goes through it."""

    size: int  # objects, where a shared one counts each time
    depth: int  # levels


def _check(file: IO[bytes]) -> None:
    """Goes through the opcodes of one pickle without making any object of it."""
    stack: list[_Extent | None] = []  # None: a mark
    memo: dict[Any, _Extent] = {}
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        name = opcode.name
        if name == "MEMOIZE" or "PUT" in name:
            place = len(memo) if argument is None else argument
            if place > count:  # the memo is an array of this length
                raise ValueError(f"its memo has {place} entries after {count} opcodes")
            memo[place] = stack[-1] or _Extent(0, 0)
        elif "GET" in name:
            stack.append(memo[argument])
        elif name == "MARK":
            stack.append(None)
        else:
            _apply(opcode, stack)
        if stack and stack[-1] and stack[-1].depth > _DEPTH:
            raise ValueError(f"it is nested more than {_DEPTH} levels deep")
        if stack and stack[-1] and stack[-1].size > _GROWTH * count + _SMALL:
            raise ValueError("its objects share parts too often")


def _apply(opcode: pickletools.OpcodeInfo, stack: list[_Extent | None]) -> None:
    """What an opcode leaves on the stack; IndexError if it takes too much."""
    taken = _take(opcode.stack_before, stack)
    rest = taken[1:] if opcode.name in _INTO_FIRST else taken
    depth = 1 + max((item.depth for item in rest), default=0)
    if opcode.name in _INTO_FIRST:
        depth = max(depth, taken[0].depth)
    size = 1 + sum(item.size for item in taken)
    stack += [_Extent(size, depth)] * len(opcode.stack_after)


def _take(
    before: Sequence[pickletools.StackObject], stack: list[_Extent | None]
) -> list[_Extent]:
    """Takes the operands of an opcode from the stack, lowest first."""
    taken: list[_Extent] = []
    single = list(before)
    if pickletools.markobject in single:
        while (item := stack.pop()) is not None:
            taken.append(item)
        single = single[: single.index(pickletools.markobject)]
    taken += [stack.pop() or _Extent(0, 0) for _ in single]
    return taken[::-1]

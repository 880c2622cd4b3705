# SPDX-License-Identifier: Apache-2.0
"""Functions out of the user's own Python files: `my_data.py:loaders`."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from splitc.errors import DataError, UsageError, nearest

if TYPE_CHECKING:
    from splitc.frontend.torch.model import TorchModel

BROKEN = (
    ArithmeticError, AssertionError, AttributeError, EOFError, ImportError, LookupError,
    NameError, NotImplementedError, OSError, RuntimeError, SyntaxError, TypeError, ValueError,
)  # fmt: skip
"""What a user's code raises when it cannot go on."""

_loaded: dict[Path, ModuleType] = {}


def is_python(text: str) -> bool:
    """Whether a text is `FILE.py:FUNCTION`."""
    return ".py:" in text or text.endswith(".py")


def call(text: str, what: str) -> Any:
    """What a function in a Python file returns; see `function`.

    Raises:
        UsageError: There is no such file or function.
        DataError: The file or the function fails.
    """
    called = function(text, what)
    try:
        return called()
    except BROKEN as error:
        raise _failed(f"{what}: {text.rpartition(':')[2]}() fails", error) from error


def function(text: str, what: str) -> Callable[..., Any]:
    """A function in a Python file. The file is run: it is the user's own.

    Args:
        text: `FILE.py:FUNCTION`.
        what: What it is asked for, in errors: "the data".

    Raises:
        UsageError: There is no such file or function.
        DataError: The file fails.
    """
    file, colon, name = text.rpartition(":")
    if not colon or not file.endswith(".py") or not name:
        hint = "name the file and a function in it: my_data.py:loaders"
        raise UsageError(f"'{text}' is no function in a Python file", hint=hint)
    path = Path(file)
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path()
        hint = nearest(path.name, [p.name for p in folder.glob("*.py")])
        raise UsageError(f"there is no file '{file}'", hint=hint)
    module = _module(path.resolve(), what)
    found: Any = getattr(module, name, None)
    if not callable(found):
        own = [
            key for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", "") == module.__name__
        ]  # fmt: skip
        raise UsageError(f"there is no function '{name}' in '{file}'", hint=nearest(name, own))
    return found


def network(text: str, max_bytes: int) -> TorchModel:
    """The network that a function in a Python file returns: a module and example inputs.

    Args:
        text: `FILE.py:FUNCTION`.
        max_bytes: See `splitc.load`.

    Raises:
        UsageError: There is no such file or function.
        DataError: The file or the function fails, or returns something else.
        BadModelError: The module cannot be read.
        ToolchainError: PyTorch is not installed.
    """
    from splitc.frontend import load

    module, examples = two(call(text, "MODEL"), "MODEL", "(module, example inputs)")
    return load(module, examples, max_bytes=max_bytes)


def two(found: Any, which: str, wanted: str) -> tuple[Any, Any]:
    """The two values that a function returned.

    Raises:
        DataError: They are no two; it says what was wanted.
    """
    what = f"{which}: the function has to return two: {wanted}"
    if type(found) not in (tuple, list):
        raise DataError(what, why=f"it returns a {type(found).__name__}")
    values = list[Any](found)
    if len(values) != 2:
        raise DataError(what, why=f"it returns {len(values)} values")
    return values[0], values[1]


def _module(path: Path, what: str) -> ModuleType:
    """The file as a module, run once; files beside it can be imported from it."""
    if path in _loaded:
        return _loaded[path]
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    # so that what the file defines can be sent to the processes of a data loader
    sys.modules.setdefault(path.stem, module)
    try:
        spec.loader.exec_module(module)
    except BROKEN as error:
        raise _failed(f"{what}: '{path.name}' does not run", error) from error
    _loaded[path] = module
    return module


def _failed(what: str, error: BaseException) -> DataError:
    frames = traceback.extract_tb(error.__traceback__)
    last = [f for f in frames if "site-packages" not in f.filename and "<frozen" not in f.filename]
    at = f"{last[-1].filename}:{last[-1].lineno}" if last else ""
    if isinstance(error, SyntaxError):
        at = f"{error.filename}:{error.lineno}"
    why = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    lacks_torch = isinstance(error, ModuleNotFoundError) and error.name == "torch"
    hint = "pip install 'splitc[torch]'" if lacks_torch else ""
    return DataError(what, at=at, why=why, hint=hint)

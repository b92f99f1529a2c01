"""How Numba compiles our kernels: what kernels call is a part of them, and optimised only there.

By itself Numba optimises every function with all that it calls and translates it to machine code, then does the same to
its callers, up to the kernel that Python calls: half of a first start, for code that nothing runs.
"""

from __future__ import annotations

import gc
import importlib
from collections.abc import Callable
from typing import Any

from llvmlite.binding import Linkage
from numba._dynfunc import make_function
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, Flags
from numba.np import linalg


class _Part(JITCodeLibrary):  # type: ignore[misc]
    """The code of a kernel that kernels call, as it was written."""

    def add_llvm_module(self, module: Any) -> None:
        self._final_module.link_in(module)

    def finalize(self) -> None:
        self._finalized = True

    def callees(self) -> list[Any]:
        """The libraries that it calls itself."""
        return list(self._linking_libraries)


class _Whole(JITCodeLibrary):  # type: ignore[misc]
    """The code of a kernel that Python calls, and of all its parts, each once."""

    def finalize(self) -> None:
        found: dict[Any, None] = {}
        fresh = list(self._linking_libraries)
        while fresh:
            library = fresh.pop()
            if library not in found:
                found[library] = None
                fresh += library.callees() if isinstance(library, _Part) else []
        self._take_in([library for library in found if isinstance(library, _Part)])
        self._linking_libraries: list[Any] = [library for library in found if not isinstance(library, _Part)]
        super().finalize()

    def _take_in(self, parts: list[_Part]) -> None:
        """As functions of its own: what they are called with and never read is then not passed."""
        module = self._final_module
        doors = {function.name for function in module.functions}
        for part in parts:
            module.link_in(part._final_module, preserve=True)
        for function in module.functions:
            if function.linkage == Linkage.external and not function.is_declaration and function.name not in doors:
                function.linkage = Linkage.internal

    def _optimize_final_module(self) -> None:
        passes, builder = self._codegen._module_pass_manager()  # Numba's other round serves counted references
        passes.run(self._final_module, builder)


class WholeCompiler(Compiler):  # type: ignore[misc]
    """Compiles a kernel for Python."""

    def __init__(self, typing: Any, target: Any, library: Any, *rest: Any) -> None:
        library = _Whole(target.codegen(), "whole")
        library.enable_object_caching()
        super().__init__(typing, target, library, *rest)

    def compile_extra(self, func: Callable[..., Any]) -> Any:
        collects = gc.isenabled()
        gc.disable()  # millions of objects, few cycles
        try:
            return super().compile_extra(func)
        finally:
            if collects:
                gc.enable()


class PartCompiler(Compiler):  # type: ignore[misc]
    """Compiles a kernel for kernels."""

    def __init__(self, typing: Any, target: Any, library: Any, args: Any, result: Any, flags: Any, locals: Any) -> None:
        flags.no_compile = True
        super().__init__(typing, target, _Part(target.codegen(), "part"), args, result, flags, locals)

    def compile_extra(self, func: Callable[..., Any]) -> Any:
        done = super().compile_extra(func)
        key = make_function(done.fndesc.lookup_module(), func.__name__, "", 0, done.environment, (done.library,))
        self.state.targetctx.insert_user_function(key, done.fndesc, [done.library])
        return done._replace(entry_point=key)


_SWITCHES = tuple((name, option.default) for name, option in Flags.options.items() if option.type is bool)


def _hash_flags(flags: Any) -> int:
    """By what is switched on: Numba's own is of the options' names, so that the flags of all kernels collide."""
    return tuple([flags._values.get(name, default) for name, default in _SWITCHES]).__hash__()


Flags.__hash__ = _hash_flags


def _without_scipy() -> None:
    """Numba looks for a BLAS when this module is imported: SciPy's is a tenth of a second of every start."""
    real, linalg.ensure_blas = linalg.ensure_blas, lambda: None
    try:
        importlib.import_module("numba.np.arraymath")
    finally:
        linalg.ensure_blas = real


_without_scipy()

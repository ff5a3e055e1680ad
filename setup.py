"""Build of the kernels: each ``.pyx`` is translated once and compiled per scalar type and instruction set.

What differs between the modules of one family is written into a stub of a few lines beside the generated C.

Environment
-----------
CYCONV_DEBUG=1          bounds checks in the Cython code, no optimisation, debug symbols
CYCONV_SANITIZE=...     passed to ``-fsanitize=`` (for instance ``address,undefined``)
CYCONV_NO_OPENMP=1      a serial build
CYCONV_BUILD_ISA=...    only these builds (comma separated), for quick work on one kernel
CYCONV_BUILD_FAMILIES=... only these families
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import setuptools
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
KERNELS = Path("cyconv") / "_kernels"
#: the module that holds Cython's memoryviews for all the others, instead of a copy in each
SHARED = "cyconv._kernels.shared"


def load_registry():
    """The registry, read without importing the package (which is not built yet)."""
    spec = importlib.util.spec_from_file_location("registry", HERE / KERNELS / "registry.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REGISTRY = load_registry()
DEBUG = os.environ.get("CYCONV_DEBUG") == "1"
SANITIZE = os.environ.get("CYCONV_SANITIZE", "")


def chosen(variable: str, names):
    wanted = os.environ.get(variable)
    return [name for name in names if wanted is None or name in wanted.split(",")]


def make_extensions() -> list[setuptools.Extension]:
    """One extension per kernel of the registry, and the modules that are compiled once."""

    def extension(name: str, family: str, macros, flags) -> setuptools.Extension:
        made = setuptools.Extension(f"cyconv._kernels.{name}", [str(KERNELS / f"{family}.pyx")])
        made.family, made.stub_macros, made.isa_flags = family, macros, list(flags)
        return made

    builds = REGISTRY.builds()
    found = [extension(name, name, {}, builds["baseline"]) for name in ("shared", "calls", "cpu", "planned")]
    for family in chosen("CYCONV_BUILD_FAMILIES", REGISTRY.FAMILIES):
        for scalar in REGISTRY.FAMILIES[family]:
            for build in chosen("CYCONV_BUILD_ISA", builds):
                name = f"{family}_{scalar}_{build}"
                macros = {f"CYCONV_REAL_{scalar}": "1", f"PyInit_{family}": f"PyInit_{name}"}
                found.append(extension(name, family, macros, builds[build]))
    return found


class BuildKernels(build_ext):
    """Translate every family once, write the stubs, compile in parallel."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count() or 1

    def build_extensions(self):
        import numpy

        c_files = self.translate()
        openmp = self.openmp_flags()
        for ext in self.extensions:
            stub = Path(self.build_temp) / "stubs" / f"{ext.name.rpartition('.')[2]}.c"
            stub.parent.mkdir(parents=True, exist_ok=True)
            c_file = c_files[ext.family]
            text = "".join(f"#define {key} {value}\n" for key, value in ext.stub_macros.items())
            text += f'#include "{c_file.as_posix()}"\n'
            if not stub.exists() or stub.read_text() != text:
                stub.write_text(text)
            ext.sources = [str(stub)]
            ext.depends = [str(c_file), *map(str, KERNELS.glob("*.h"))]
            ext.include_dirs = [str(HERE / KERNELS), numpy.get_include()]
            ext.define_macros = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")]
            ext.extra_compile_args = [*self.base_flags(), *ext.isa_flags, *openmp]
            ext.extra_link_args = [*openmp, *self.link_flags()]
        super().build_extensions()

    def translate(self) -> dict[str, Path]:
        """Cython to C, once per family; nothing generated lands in the source folders."""
        from Cython.Build import cythonize

        families = sorted({ext.family for ext in self.extensions} - {"shared"})
        out = Path(self.build_temp).resolve() / "cython"
        shared = out / KERNELS / "shared.c"
        cythonize(
            [
                setuptools.Extension(SHARED, [str(KERNELS / "shared.c")]),
                *(setuptools.Extension(f"cyconv._kernels.{f}", [str(KERNELS / f"{f}.pyx")]) for f in families),
            ],
            build_dir=str(out),
            shared_utility_qualified_name=SHARED,
            include_path=["."],
            nthreads=0,
            quiet=True,
            compiler_directives={
                "language_level": "3",
                "boundscheck": DEBUG,
                "wraparound": False,
                "initializedcheck": DEBUG,
                "cdivision": True,
                "embedsignature": True,
                "freethreading_compatible": True,
            },
        )
        return {"shared": shared} | {f: out / KERNELS / f"{f}.c" for f in families}

    def base_flags(self) -> list[str]:
        # Contraction to fused multiply-adds is wanted; nothing here lets the compiler reorder a sum.
        optimise = ["-O1", "-g", "-fno-omit-frame-pointer"] if DEBUG or SANITIZE else ["-O3", "-g0"]
        flags = [*optimise, "-std=gnu11", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
        return flags + ([f"-fsanitize={SANITIZE}"] if SANITIZE else [])

    def link_flags(self) -> list[str]:
        if SANITIZE:
            return [f"-fsanitize={SANITIZE}"]
        return ["-Wl,-s"] if sys.platform == "linux" and not DEBUG else []

    def openmp_flags(self) -> list[str]:
        """The flags of the first spelling of OpenMP that compiles and links, with a loud message if none does."""
        if os.environ.get("CYCONV_NO_OPENMP") == "1":
            return self.serial("CYCONV_NO_OPENMP=1 was set")
        source = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
        compiler = self.compiler.compiler_so[0]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "openmp.c"
            path.write_text(source)
            for flag in ("-fopenmp", "-Xpreprocessor -fopenmp -lomp"):
                command = [compiler, str(path), *flag.split(), "-o", str(Path(folder) / "openmp")]
                try:
                    if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                        return flag.split()
                except OSError:
                    break
        return self.serial(f"{compiler} cannot compile and link an OpenMP program")

    @staticmethod
    def serial(reason: str) -> list[str]:
        bar = "*" * 78
        print(f"{bar}\n* cyconv: {reason}.\n* The kernels are built WITHOUT THREADS: results are the same,"
              f" speed is that of one core.\n{bar}", file=sys.stderr, flush=True)
        return []


setuptools.setup(ext_modules=make_extensions(), cmdclass={"build_ext": BuildKernels})

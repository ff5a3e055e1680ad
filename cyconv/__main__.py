"""Floor 4: the command line, ``cyconv`` or ``python -m cyconv``.

Exit status: 0 done; 2 the command cannot be carried out, with one line on standard error that says why.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from cyconv import __version__, show_config
from cyconv._cli import CommandError

#: packages of the extra ``demo`` that a command may need: import name -> name on the package index
EXTRAS = {"PIL": "pillow", "matplotlib": "matplotlib", "rich": "rich", "sklearn": "scikit-learn"}


class Parser(argparse.ArgumentParser):
    """An argument parser that answers a mistake with one line instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def make_parser() -> argparse.ArgumentParser:
    """The commands and their arguments."""
    parser = Parser(prog="cyconv", description="Convolution and pooling for NumPy arrays.")
    parser.add_argument("--version", action="version", version=f"cyconv {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="the basics of convolution, worked through on a photograph")
    demo.add_argument("image", nargs="?", metavar="IMAGE", help="a photograph (default: one that scikit-learn ships)")
    demo.add_argument(
        "-o", "--output", default="cyconv-demo.png", metavar="OUT", help="figure to write (%(default)s)"
    )
    demo.set_defaults(run=_demo)

    filter_ = commands.add_parser(
        "filter",
        help="apply a kernel to an image file",
        description="Cross-correlate every colour channel of an image with a kernel. The result has the size "
        "and the pixel type of the image; cells outside it count as their nearest edge pixel; alpha stays. "
        "Files: what Pillow reads and writes, 16-bit colour as PNG, .npy arrays (H, W[, C]).",
    )
    filter_.add_argument("image", metavar="IMAGE", help="image file, or .npy")
    filter_.add_argument(
        "kernel", metavar="KERNEL", help="sobel, gaussian, sharpen, emboss, box, or a .npy file (R, S)"
    )
    filter_.add_argument("-o", "--output", required=True, metavar="OUT", help="image file to write, or .npy")
    filter_.add_argument("--size", type=int, metavar="N", help="cells per side of gaussian and box, odd (5)")
    filter_.set_defaults(run=_filter)

    train = commands.add_parser("train", help="LeNet learns the handwritten digits that scikit-learn ships")
    train.add_argument("--epochs", type=int, default=30, metavar="N", help="passes over the data (%(default)s)")
    train.add_argument("--batch", type=int, default=32, metavar="N", help="images per step (%(default)s)")
    train.add_argument("--seed", type=int, default=0, metavar="N", help="of weights, order and shifts (%(default)s)")
    train.add_argument(
        "-o", "--output", default="cyconv-train.png", metavar="OUT", help="figure to write (%(default)s)"
    )
    train.set_defaults(run=_train)

    info = commands.add_parser("info", help="version, build for this processor, threads, caches")
    info.set_defaults(run=_info)
    return parser


# Commands are imported when they run: `cyconv info` needs NumPy alone.


def _demo(args: argparse.Namespace) -> None:
    from cyconv._cli import demo

    demo.run(args.image, args.output)


def _filter(args: argparse.Namespace) -> None:
    from cyconv._cli import filtering

    filtering.run(args.image, args.kernel, args.output, args.size)


def _train(args: argparse.Namespace) -> None:
    from cyconv._cli import train

    train.run(args.epochs, args.batch, args.seed, args.output)


def _info(args: argparse.Namespace) -> None:
    print(show_config())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (default: that of the process) and return the exit status."""
    args = make_parser().parse_args(argv)
    try:
        args.run(args)
        sys.stdout.flush()
    except CommandError as error:
        return _complain(args.command, str(error))
    except MemoryError:
        return _complain(args.command, "not enough memory")
    except ModuleNotFoundError as error:
        missing = EXTRAS.get((error.name or "").partition(".")[0])
        if missing is None:
            raise
        return _complain(args.command, f"{missing} is not installed; python -m pip install 'cyconv[demo]'")
    except BrokenPipeError:
        # The reader (`| head`) has gone; without this the interpreter would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _complain(command: str, message: str) -> int:
    print(f"cyconv {command}: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())

"""The command line: what it computes, what it writes, and its one line about what cannot be done."""

from __future__ import annotations

import importlib.util
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import cyconv
from cyconv.__main__ import main

Image = pytest.importorskip("PIL.Image", reason="the extra `demo` is not installed")
pytest.importorskip("matplotlib")
pytest.importorskip("rich")

from cyconv._cli import CommandError, demo, filtering, images  # noqa: E402

NAMES = ("sobel", "gaussian", "sharpen", "emboss", "box")


def pixels(dtype: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Noise over the whole range of an integer type, or of floats beyond 0 and 1; extremes at two corners."""
    rng = np.random.default_rng(seed)
    if dtype.startswith("float"):
        return rng.normal(0, 1000, shape).astype(dtype)
    top = np.iinfo(dtype).max
    made = rng.integers(0, top, shape, dtype, endpoint=True)
    made[0, 0], made[-1, -1] = 0, top
    return made


def write(path: Path, array: np.ndarray) -> Path:
    """A file with such pixels: through Pillow where it can, else by the module under test (tested apart)."""
    if path.suffix != ".npy" and not (array.dtype == np.uint16 and array.ndim == 3):
        Image.fromarray(array).save(path)
    else:
        images.write_image(path, array)
    return path


def failure(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """The one line that a command which cannot be carried out leaves, its status checked."""
    assert main(list(map(str, argv))) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"cyconv {argv[0]}: error: ")
    assert captured.err.count("\n") == 1
    assert captured.err.endswith("\n")
    return captured.err


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own; -P keeps an uncompiled source folder out of the way."""
    command = [sys.executable, "-P", "-m", "cyconv", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


# ------------------------------------------------------------------------------------------- info, the parser


def test_info_prints_the_configuration(capsys):
    assert main(["info"]) == 0
    assert capsys.readouterr().out == f"{cyconv.show_config()}\n"


def test_the_module_runs_as_a_program():
    done = run("info")
    assert (done.returncode, done.stderr) == (0, "")
    assert cyconv.__version__ in done.stdout


def test_version(capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    assert capsys.readouterr().out == f"cyconv {cyconv.__version__}\n"


@pytest.mark.parametrize(
    "argv", [[], ["unknown"], ["filter"], ["filter", "a.png", "box"], ["info", "more"], ["demo", "--x"]]
)
def test_a_mistaken_command_line_is_one_line_and_status_2(argv, capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        main(argv)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("cyconv")
    assert captured.err.count("\n") == 1


def test_a_reader_that_leaves_early_causes_no_traceback():
    command = [sys.executable, "-P", "-m", "cyconv", "info"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("module", "package"),
    [("PIL", "pillow"), ("matplotlib", "matplotlib"), ("rich", "rich"), ("sklearn", "scikit-learn")],
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(module, package, capsys, monkeypatch, tmp_path):
    for name in list(sys.modules):
        if name == "cyconv._cli.figure" or name.partition(".")[0] == module:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    message = failure(capsys, "demo", "-o", tmp_path / "figure.png")
    assert f"{package} is not installed" in message
    assert "pip install 'cyconv[demo]'" in message


# --------------------------------------------------------------------------------------------- image files


@pytest.mark.parametrize(
    ("name", "dtype", "channels"),
    [
        ("x.png", "uint8", ()), ("x.png", "uint8", (2,)), ("x.png", "uint8", (3,)), ("x.png", "uint8", (4,)),
        ("x.bmp", "uint8", (3,)), ("x.tif", "uint8", (3,)), ("x.TIF", "uint8", ()), ("x.png", "uint16", ()),
        ("x.tif", "uint16", ()), ("x.png", "uint16", (3,)), ("x.png", "uint16", (4,)), ("x.tiff", "float32", ()),
        ("x.npy", "uint8", (3,)), ("x.npy", "uint16", (5,)), ("x.npy", "float16", (3,)), ("x.npy", "float32", (3,)),
        ("x.npy", "float64", ()), ("x.NPY", "float64", (1,)),
    ],
)  # fmt: skip
def test_pixels_are_written_and_read_back_unchanged(name, dtype, channels, tmp_path):
    array = pixels(dtype, (13, 17, *channels))
    images.check_writable(tmp_path / name, array)
    images.write_image(tmp_path / name, array)
    picture = images.read_image(tmp_path / name)
    assert picture.pixels.dtype == array.dtype
    np.testing.assert_array_equal(picture.pixels, array)
    assert picture.has_alpha == (channels in ((2,), (4,)) and not name.lower().endswith("npy"))


def test_16_bit_colour_is_what_another_decoder_reads(tmp_path):
    array = pixels("uint16", (9, 5, 3))
    images.write_image(tmp_path / "x.png", array)
    with Image.open(tmp_path / "x.png") as image:
        np.testing.assert_array_equal(np.asarray(image), array >> 8)


@pytest.mark.parametrize("filter_type", [1, 2])
def test_16_bit_colour_with_filtered_rows_is_read(filter_type, tmp_path):
    array = pixels("uint16", (6, 7, 3))
    flat = array.astype(">u2").view(np.uint8).reshape(6, 7 * 6)
    before = np.zeros_like(flat)
    if filter_type == 1:
        before[:, 6:] = flat[:, :-6]  # the same byte of the pixel to the left
    else:
        before[1:] = flat[:-1]  # the byte above
    rows = np.concatenate([np.full((6, 1), filter_type, np.uint8), flat - before], axis=1)
    header = struct.pack(">IIBBBBB", 7, 6, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    (tmp_path / "x.png").write_bytes(data)
    np.testing.assert_array_equal(images.read_image(tmp_path / "x.png").pixels, array)


def test_a_rotated_photograph_is_read_upright(tmp_path):
    array = pixels("uint8", (4, 6, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn clockwise by a quarter"
    Image.fromarray(array).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(images.read_image(tmp_path / "x.png").pixels, np.rot90(array, -1))


@pytest.mark.parametrize(("mode", "expected"), [("1", 2), ("P", 3), ("CMYK", 3), ("PA", 4)])
def test_other_kinds_of_pixels_become_grey_or_colour(mode, expected, tmp_path):
    name = tmp_path / ("x.tif" if mode in ("CMYK", "PA") else "x.png")
    image = Image.fromarray(pixels("uint8", (5, 6, 3))).convert("P" if mode == "PA" else mode)
    if mode == "PA":
        name, extra = tmp_path / "x.gif", {"transparency": 0}
    else:
        extra = {}
    image.save(name, **extra)
    picture = images.read_image(name)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape == ((5, 6) if expected == 2 else (5, 6, expected))
    assert picture.has_alpha == (expected == 4)


# --------------------------------------------------------------------------------------------------- filter


def reference(plane: np.ndarray, name: str, size: int = 5) -> np.ndarray:
    """Each named kernel from its definition, by SciPy, in float64."""
    plane = plane.astype(np.float64)
    if name == "sobel":
        return np.hypot(*(ndimage.sobel(plane, axis, mode="nearest") / 4 for axis in (0, 1)))
    if name == "box":
        return ndimage.uniform_filter(plane, size, mode="nearest")
    if name == "gaussian":
        return ndimage.gaussian_filter(plane, max(size - 1, 1) / 4, radius=size // 2, mode="nearest")
    kernels = {
        "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
        "emboss": [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]],
    }
    return ndimage.correlate(plane, np.array(kernels[name], float), mode="nearest")


def check_against(expected: np.ndarray, result: np.ndarray, scale: float) -> None:
    """Integers: the nearest one in range. Floats: the error bound n eps sum |w||x| with |x| <= scale."""
    assert result.shape == expected.shape
    if result.dtype.kind == "u":
        expected = expected.clip(0, np.iinfo(result.dtype).max)
        assert np.abs(result - expected).max() <= 0.5 + 1e-3
    else:
        # At most 25 products of weights whose magnitudes sum to at most 9.
        bound = 25 * np.finfo(result.dtype).eps * 9 * scale
        assert np.abs(result - expected).max() <= bound


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("file", "dtype", "channels"),
    [
        ("png", "uint8", ()), ("png", "uint8", (3,)), ("png", "uint16", ()), ("png", "uint16", (3,)),
        ("tif", "float32", ()), ("npy", "float32", (2,)), ("npy", "float64", ()),
    ],
)  # fmt: skip
def test_a_named_kernel_gives_its_definition_in_the_pixels_own_type(name, file, dtype, channels, tmp_path, capsys):
    array = pixels(dtype, (23, 31, *channels))
    source, target = write(tmp_path / f"x.{file}", array), tmp_path / f"y.{file}"
    assert main(["filter", str(source), name, "-o", str(target)]) == 0
    assert capsys.readouterr().out.startswith(f"{target}: 31x23 {dtype}, {name} ")
    result = images.read_image(target).pixels
    assert result.dtype == array.dtype
    for index in np.ndindex(channels):
        check_against(reference(array[(..., *index)], name), result[(..., *index)], np.abs(array).max())


@pytest.mark.parametrize("name", ["gaussian", "box"])
@pytest.mark.parametrize("size", [1, 3, 9])
def test_size_of_gaussian_and_box(name, size, tmp_path):
    array = pixels("float64", (20, 21))
    source, target = write(tmp_path / "x.npy", array), tmp_path / "y.npy"
    assert main(["filter", str(source), name, "-o", str(target), "--size", str(size)]) == 0
    check_against(reference(array, name, size), np.load(target), np.abs(array).max())


@pytest.mark.parametrize(("suffix", "dtype"), [("png", "uint8"), ("png", "uint16")])
@pytest.mark.parametrize("name", ["sobel", "box"])
def test_alpha_stays_as_it_is(suffix, dtype, name, tmp_path):
    array = pixels(dtype, (12, 14, 4))
    source, target = write(tmp_path / f"x.{suffix}", array), tmp_path / f"y.{suffix}"
    assert main(["filter", str(source), name, "-o", str(target)]) == 0
    result = images.read_image(target).pixels
    np.testing.assert_array_equal(result[..., 3], array[..., 3])
    check_against(reference(array[..., 0], name), result[..., 0], 1.0)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 4), (1, 6), (30, 1), (40, 50)])
def test_a_kernel_from_a_file_is_centred_as_same_padding_is(shape, tmp_path):
    array = pixels("float64", (19, 17))
    kernel = np.random.default_rng(1).normal(size=shape)
    np.save(tmp_path / "k.npy", kernel)
    source, target = write(tmp_path / "x.npy", array), tmp_path / "y.npy"
    assert main(["filter", str(source), str(tmp_path / "k.npy"), "-o", str(target)]) == 0
    before = [(k - 1) // 2 for k in shape]
    padded = np.pad(array, [(b, k - 1 - b) for b, k in zip(before, shape, strict=True)], "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, shape)
    expected = np.einsum("hwrs,rs->hw", windows, kernel)
    bound = 2 * kernel.size * np.finfo(float).eps * np.einsum("hwrs,rs->hw", np.abs(windows), np.abs(kernel))
    assert (np.abs(np.load(target) - expected) <= bound).all()


@pytest.mark.parametrize("band_rows", [1, 2, 5, 100])
@pytest.mark.parametrize("shape", [(3, 3), (4, 1), (9, 2), (50, 3)])
def test_bands_of_rows_do_not_show(band_rows, shape, monkeypatch):
    planes = pixels("float32", (2, 23, 11)).round()
    weights = np.random.default_rng(2).integers(-8, 8, (1, *shape)).astype(float)  # exact in float32
    whole = filtering.apply_kernel(planes, weights, lambda rows: None)
    monkeypatch.setattr(filtering, "BAND_PIXELS", band_rows * planes.shape[2])
    reported: list[int] = []
    banded = filtering.apply_kernel(planes, weights, reported.append)
    np.testing.assert_array_equal(banded, whole)
    assert sum(reported) == 23
    assert max(reported) <= band_rows


def test_progress_is_drawn_for_a_big_image_and_a_person(monkeypatch, capsys):
    monkeypatch.setattr(filtering, "PROGRESS_PIXELS", 100)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with filtering.progress(10, 100) as advance:
        advance(4)
        advance(6)
    assert "rows" in capsys.readouterr().err
    with filtering.progress(10, 99) as advance:
        advance(10)
    assert capsys.readouterr().err == ""


def test_filter_in_place(tmp_path):
    path = write(tmp_path / "x.png", pixels("uint8", (8, 9)))
    expected = reference(pixels("uint8", (8, 9)), "box")
    assert main(["filter", str(path), "box", "-o", str(path)]) == 0
    check_against(expected, images.read_image(path).pixels, 1.0)


# ------------------------------------------------------------------------------------------------ mistakes


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with good and broken files."""
    good = write(tmp_path / "good.png", pixels("uint8", (100, 120, 3))).read_bytes()
    write(tmp_path / "alpha.png", pixels("uint8", (10, 12, 4)))
    write(tmp_path / "deep.png", pixels("uint16", (10, 12, 3)))
    write(tmp_path / "small.png", pixels("uint8", (20, 200)))
    write(tmp_path / "float.tif", pixels("float32", (10, 12)))
    Image.fromarray(pixels("uint16", (4, 4)).astype(np.int32)).save(tmp_path / "int32.tif")
    (tmp_path / "cut.png").write_bytes(good[: len(good) // 2])
    (tmp_path / "garbled.png").write_bytes(good[:40] + bytes(100) + good[140:])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "text.npy").write_text("not an array")
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    np.save(tmp_path / "objects.npy", np.array([None, {}]), allow_pickle=True)
    np.save(tmp_path / "cube.npy", np.zeros((2, 3, 4, 5)))
    np.save(tmp_path / "none.npy", np.zeros((0, 4)))
    np.save(tmp_path / "int64.npy", np.zeros((4, 4), np.int64))
    np.save(tmp_path / "complex.npy", np.zeros((3, 3), complex))
    np.save(tmp_path / "nan.npy", np.full((3, 3), np.nan))
    np.save(tmp_path / "kernel.npy", np.ones((3, 3)))
    return tmp_path


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("missing.png", "no such file"), ("folder.png", "Is a directory"), ("empty.png", "not an image"),
        ("text.png", "not an image"), ("cut.png", "truncated"), ("garbled.png", "cannot read"),
        ("missing.npy", "No such file"), ("text.npy", "cannot read"), ("empty.npy", "cannot read"),
        ("objects.npy", "allow_pickle"), ("cube.npy", "(2, 3, 4, 5)"), ("none.npy", "(0, 4)"),
        ("int64.npy", "int64"), ("int32.tif", "int32"), ("folder/missing.png", "no such file"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["demo", "filter"])
def test_an_image_that_cannot_be_read(command, image, says, files, capsys):
    kernel = ["box"] if command == "filter" else []
    message = failure(capsys, command, files / image, *kernel, "-o", files / "out.png")
    assert says in message
    assert str(files / image) in message
    assert not (files / "out.png").exists()


@pytest.mark.parametrize(
    ("kernel", "says"),
    [
        ("sobl", "unknown kernel 'sobl': possible are sobel, sharpen, emboss, gaussian, box"),
        ("missing.npy", "No such file"), ("text.npy", "cannot read"), ("objects.npy", "allow_pickle"),
        ("cube.npy", "(2, 3, 4, 5)"), ("none.npy", "(0, 4)"), ("complex.npy", "complex128"), ("nan.npy", "NaN"),
    ],
)  # fmt: skip
def test_a_kernel_that_cannot_be_used(kernel, says, files, capsys):
    kernel = files / kernel if kernel.endswith("npy") else kernel
    assert says in failure(capsys, "filter", files / "good.png", kernel, "-o", files / "out.png")
    assert not (files / "out.png").exists()


@pytest.mark.parametrize(
    ("image", "out", "says"),
    [
        ("good.png", "out.xyz", ".png"), ("good.png", "out", ".png"), ("good.png", "missing/out.png", "No such file"),
        ("good.png", "folder.png", "Is a directory"), ("alpha.png", "out.jpg", "RGBA"),
        ("deep.png", "out.jpg", ".png, .npy"), ("deep.png", "out.tif", ".png, .npy"),
        ("float.tif", "out.png", ".tif, .tiff, .npy"),
    ],
)  # fmt: skip
def test_a_result_that_cannot_be_written(image, out, says, files, capsys):
    assert says in failure(capsys, "filter", files / image, "box", "-o", files / out)
    assert not (files / out).is_file()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["box", "--size", "4"], "got 4"),
        (["gaussian", "--size", "-3"], "got -3"),
        (["sobel", "--size", "5"], "sobel"),
    ],
)
def test_a_size_that_is_not_possible(arguments, says, files, capsys):
    assert says in failure(capsys, "filter", files / "good.png", *arguments, "-o", files / "out.png")


def test_a_broken_image_causes_no_traceback_in_a_process_of_its_own(files):
    done = run("filter", str(files / "cut.png"), "sobel", "-o", str(files / "out.png"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------------------------------------------- demo


ships_photo = pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="needs scikit-learn's photo")


@pytest.fixture(scope="module")
def story() -> demo.Story:
    path = demo.default_photo()
    return demo.tell(demo.as_photo(images.read_image(path), path.name))


@ships_photo
def test_demo_writes_its_figure(tmp_path):
    done = run("demo", "-o", str(tmp_path / "figure.png"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "conv2d" in done.stdout
    assert "max_pool2d" in done.stdout
    with Image.open(tmp_path / "figure.png") as figure:
        assert figure.format == "PNG"
        assert min(figure.size) >= 800
        assert len(figure.convert("RGB").getcolors(1 << 24)) > 1000


@ships_photo
def test_the_story_is_true(story):
    grey = np.tensordot(demo.GREY.astype(float), story.photo.astype(float), 1)
    height, width = grey.shape
    np.testing.assert_allclose(story.across, -np.diff(grey, axis=1), atol=1e-6)
    np.testing.assert_allclose(story.down, -np.diff(grey, axis=0), atol=1e-6)
    np.testing.assert_allclose(story.outline, -9 * (ndimage.uniform_filter(grey, 3) - grey)[1:-1, 1:-1], atol=1e-5)
    for (stride, padding), result in zip(demo.STRIDES, story.strided, strict=True):
        assert result.shape == cyconv.conv_output_shape((height, width), (5, 5), stride=stride, padding=padding)
    assert story.channels.shape == (4, height, width)
    assert story.sepia.shape == (3, height, width)
    assert story.sepia.min() >= 0
    assert story.sepia.max() <= 1
    assert story.sepia_error <= 1e-6
    blocks = story.crop.reshape(3, story.max_pooled.shape[1], demo.POOL, -1, demo.POOL)
    np.testing.assert_array_equal(story.max_pooled, blocks.max((2, 4)))
    np.testing.assert_allclose(story.avg_pooled, blocks.mean((2, 4)), atol=1e-6)
    assert [sight.size for sight in story.sights] == [6, 16, 44, 100, 212]
    for sight in story.sights:
        assert sight.rows.stop - sight.rows.start == sight.size
        assert sight.columns.stop - sight.columns.start == sight.size


@pytest.mark.parametrize(
    ("name", "dtype", "shape"),
    [
        ("x.png", "uint8", (96, 300)), ("x.png", "uint8", (300, 96, 3)), ("x.png", "uint8", (120, 130, 4)),
        ("x.png", "uint16", (100, 100, 3)), ("x.tif", "float32", (100, 110)), ("x.npy", "float64", (97, 99, 1)),
        ("x.png", "uint8", (700, 2600, 3)),
    ],
)  # fmt: skip
def test_demo_takes_ones_own_photograph(name, dtype, shape, tmp_path, capsys):
    source = write(tmp_path / name, pixels(dtype, shape))
    assert main(["demo", str(source), "-o", str(tmp_path / "figure.png")]) == 0
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    captured = capsys.readouterr()
    assert captured.err == ""
    assert max(len(line) for line in captured.out.splitlines()) <= max(100, len(str(tmp_path)) + 30)


@pytest.mark.parametrize(
    ("image", "out", "says"),
    [
        ("small.png", "out.png", "200x20"), ("good.png", "missing/out.png", "No such file"),
        ("good.png", "out.xyz", "xyz"), ("good.png", "folder.png", "Is a directory"),
    ],
)  # fmt: skip
def test_a_demo_that_cannot_be_given(image, out, says, files, capsys):
    assert says in failure(capsys, "demo", files / image, "-o", files / out)


def test_a_picture_of_five_channels_is_refused():
    with pytest.raises(CommandError, match="5 channels"):
        demo.as_photo(images.Picture(pixels("uint8", (100, 100, 5)), has_alpha=False), "x.npy")

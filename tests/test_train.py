"""`cyconv train`: what it learns, prints and draws."""

import numpy as np
import pytest

import cyconv
from cyconv.__main__ import main

pytest.importorskip("sklearn", reason="the extra `demo` is not installed")
pytest.importorskip("matplotlib")
pytest.importorskip("rich")

from cyconv._cli import train


def test_the_digits_are_all_there_and_as_large_as_lenet_takes_them():
    digits = train.load_digits(0)
    assert digits.images.shape == (1797 - train.HELD_OUT, 1, 28, 28)
    assert digits.images.dtype == np.float32
    assert 0 <= digits.images.min() < digits.images.max() <= 1.001
    assert set(digits.labels) == set(digits.test_labels) == set(range(10))
    np.testing.assert_array_equal(digits.images[:, :, :2], 0)


def test_it_learns_and_repeats_itself_for_any_number_of_threads():
    digits = train.load_digits(1)
    runs = []
    for threads in (1, 2):
        with cyconv.num_threads(threads):
            runs.append(train.train(digits, 2, 64, 5, lambda *_: None))
    first, second = runs
    assert first.losses == second.losses
    assert first.accuracy > 0.75
    assert first.confusion.sum() == train.HELD_OUT
    for name, array in first.model.state_dict().items():
        np.testing.assert_array_equal(array, second.model.state_dict()[name])


def test_the_command_writes_a_figure(tmp_path, capsys):
    out = tmp_path / "train.png"
    assert main(["train", "--epochs", "1", "--batch", "128", "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "61,706" in printed
    assert "held-out digits recognised" in printed
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--epochs", "0"], "--epochs"), (["--batch", "-1"], "--batch"), (["--seed", "-1"], "--seed"),
        (["-o", "no/such/folder.png"], "no/such"), (["-o", "figure.csv"], "png"), (["-o", "figure"], "png"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(arguments, word, capsys):
    """They are noticed before the training begins, which prints the model first."""
    assert main(["train", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert word in printed.err
    assert printed.err.count("\n") == 1

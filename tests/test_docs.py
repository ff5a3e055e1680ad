"""Examples that run: those in the docstrings of everything public, and those of the README."""

import doctest
import importlib
import inspect
import re
import types

import numpy as np
import pytest

import cyconv

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def public(module):
    """(name, object) of every public function and class of a module."""
    for name in getattr(module, "__all__", []):
        item = getattr(module, name)
        if isinstance(item, types.ModuleType):
            yield from public(item)
        elif callable(item):
            yield f"{module.__name__}.{name}", item


PUBLIC = dict(public(cyconv))
FUNCTIONS = {name: item for name, item in PUBLIC.items() if inspect.isroutine(item)}


@pytest.fixture
def plain_numpy_output():
    with np.printoptions(legacy=False, precision=8, threshold=1000, linewidth=75, suppress=False):
        yield


def examples(name, item):
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [t for t in finder.find(item, name, globs={**vars(cyconv), "np": np, "cyconv": cyconv}) if t.examples]


@pytest.mark.usefixtures("plain_numpy_output")
@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_examples(name):
    found = examples(name, PUBLIC[name])
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    for test in found:
        runner.run(test)
    assert runner.failures == 0, f"{runner.failures} examples of {name} failed; the output above says how"
    if name in FUNCTIONS:
        assert found, f"{name} has no example"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstrings_name_every_parameter(name):
    function = FUNCTIONS[name]
    text = inspect.getdoc(function) or ""
    assert re.match(r"\S.*\.(\n|$)", text), "the first line is a sentence"
    returns = str(inspect.signature(function).return_annotation)
    assert "Return" in text or returns == "None" or "Iterator" in returns
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"\b{re.escape(parameter)}\b", text), f"{name} does not say what {parameter} is"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_are_annotated(name):
    signature = inspect.signature(FUNCTIONS[name])
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, parameter.name


def signature_of(name):
    module, _, function = f"cyconv.{name}".rpartition(".")
    return inspect.signature(getattr(importlib.import_module(module), function))


CONV_KEYWORDS = "stride padding dilation groups padding_mode activation layout algorithm num_threads workspace_limit"
CONV = f"x weight bias * out {CONV_KEYWORDS}"
TRANSPOSE = "x weight bias * stride padding output_padding groups dilation layout out num_threads"
PLAN = f"weight bias * {CONV_KEYWORDS}"
WINDOWS, POOL = "stride padding dilation ceil_mode", "layout out num_threads"
CONTRACT = {
    **{f"conv{n}d": CONV for n in "123"},
    **{f"conv_transpose{n}d": TRANSPOSE for n in "123"},
    "corr2d": "x kernel",
    "plan_conv2d": PLAN,
    **{f"max_pool{n}d": f"x kernel_size * {WINDOWS} return_indices {POOL}" for n in "123"},
    **{f"avg_pool{n}d": f"x kernel_size * {WINDOWS} count_include_pad divisor_override {POOL}" for n in "123"},
    **{f"lp_pool{n}d": "x norm_type kernel_size * stride padding dilation ceil_mode" for n in "123"},
    **{f"max_unpool{n}d": "x indices kernel_size * stride padding output_size" for n in "123"},
    **{f"adaptive_avg_pool{n}d": "x output_size *" for n in "123"},
    **{f"adaptive_max_pool{n}d": "x output_size * return_indices" for n in "123"},
    **{f"global_avg_pool{n}d": "x *" for n in "123"},
    **{f"global_max_pool{n}d": "x *" for n in "123"},
    "conv_output_shape": "input_size kernel_size * stride padding dilation",
    "conv_transpose_output_shape": "input_size kernel_size * stride padding output_padding dilation",
    "pool_output_shape": "input_size kernel_size * stride padding dilation ceil_mode",
    "receptive_field": "layers input_size",
    "conv_parameters": "in_channels out_channels kernel_size * groups bias",
    "linear_parameters": "in_features out_features * bias",
    "conv_flops": "input_size in_channels out_channels kernel_size * stride padding dilation groups",
    "set_num_threads": "n",
    "get_num_threads": "",
    "num_threads": "n",
    "show_config": "",
}


@pytest.mark.parametrize("name", CONTRACT)
def test_signatures_are_those_of_the_contract(name):
    """The positional names in their order, and every keyword; more keywords are welcome."""
    positional, _, keywords = (part.split() for part in CONTRACT[name].partition("*"))
    parameters = signature_of(name).parameters.values()
    before = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    after = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert before == positional
    assert after >= set(keywords)


def blocks(file):
    text = file.read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_readme_runs(name, tmp_path, monkeypatch, pytestconfig):
    """All Python blocks one after the other, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    found = blocks(pytestconfig.rootpath / name)
    assert found, f"{name} has no Python example"
    names = {"__name__": "readme"}
    for i, block in enumerate(found, 1):
        if ">>>" in block:
            test = doctest.DocTestParser().get_doctest(block, names, f"{name} block {i}", name, 0)
            runner = doctest.DocTestRunner(optionflags=OPTIONS)
            runner.run(test, clear_globs=False)
            assert runner.failures == 0, f"block {i} of {name}"
            names.update(test.globs)
        else:
            exec(compile(block, f"{name} block {i}", "exec"), names)


def test_everything_public_is_listed():
    assert "__version__" in dir(cyconv)
    for name in cyconv.__all__:
        assert hasattr(cyconv, name), name
    assert set(CONTRACT) <= set(cyconv.__all__)

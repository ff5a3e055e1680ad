"""The built-in suites: lists of cases, by name."""

from __future__ import annotations

import random
from pathlib import Path

from benchmarks import gradients
from benchmarks.cases import LAYERS_FILE, Case, Conv, Op, Pool, from_layers, with_dtype

NAMES = ("conv", "networks", "depthwise", "pool", "images", "stacks", "small", "random", "gradients")


def build(
    names: list[str],
    *,
    layers: Path = LAYERS_FILE,
    dtypes: list[str] | None = None,
    seed: int = 0,
    count: int = 24,
) -> list[Case]:
    """Return the cases of the named suites (``"all"`` is every one), each case once.

    ``dtypes`` replaces the suites' own choice: float32, and for pooling and images also float64 and uint8.
    """
    wanted = NAMES if "all" in names else names
    cases: dict[str, Case] = {}
    for name in wanted:
        if name == "conv":
            found, own = from_layers(layers), ["float32"]
        elif name == "networks":
            found, own = networks(), ["float32"]
        elif name == "depthwise":
            found, own = depthwise(layers), ["float32"]
        elif name == "pool":
            found, own = pool(), ["float32", "float64", "uint8"]
        elif name == "images":
            found, own = images(), ["float32", "float64", "uint8"]
        elif name == "stacks":
            found, own = [vgg16(), resnet18()], ["float32"]
        elif name == "small":
            found, own = small(), ["float32"]
        elif name == "random":
            found, own = drawn(seed, count), ["float32"]
        elif name == "gradients":
            found, own = gradients.convolutions(layers) + gradients.poolings(pool()), ["float32"]
        else:
            raise ValueError(f"no suite is called {name!r}; there are {', '.join(NAMES)} and all")
        for case in found:
            for dtype in dtypes or own:
                if dtype == "uint8" and not _takes_uint8(case):
                    continue
                if case.kind == "gradient" and dtype not in ("float32", "float64"):
                    continue
                typed = with_dtype(case, dtype)
                cases.setdefault(typed.name, typed)
    return list(cases.values())


def _takes_uint8(case: Case) -> bool:
    return case.kind == "image" or all(isinstance(op, Pool) and op.kind == "max" for op in case.ops)


def networks() -> list[Case]:
    """Dense layers of networks that are not in the table of layers: Inception v3, GoogLeNet, MobileNetV2, DenseNet,
    SqueezeNet, ResNet-18 and -50, YOLO, U-Net, ViT, AlexNet, ConvNeXt, SRCNN, SRResNet, ESPCN, batches of CIFAR."""
    table = {  # N, C, H, W, K, kernel, stride, padding
        "incep_stem": (1, 3, 299, 299, 32, 3, 2, 0), "incep_c2": (1, 32, 149, 149, 32, 3, 1, 0),
        "incep_c3": (1, 32, 147, 147, 64, 3, 1, 1), "incep_1x1_64_80": (1, 64, 73, 73, 80, 1, 1, 0),
        "incep_80_192": (1, 80, 73, 73, 192, 3, 1, 0), "incep_5x5_48_64": (1, 48, 35, 35, 64, 5, 1, 2),
        "incep_1x1_288_64": (1, 288, 35, 35, 64, 1, 1, 0), "incep_288_384s2": (1, 288, 35, 35, 384, 3, 2, 0),
        "incep_1x1_768_192": (1, 768, 17, 17, 192, 1, 1, 0), "goog_5x5_16_48": (1, 16, 28, 28, 48, 5, 1, 2),
        "mbv2_stem": (1, 3, 224, 224, 32, 3, 2, 1), "mbv2_16_96": (1, 16, 112, 112, 96, 1, 1, 0),
        "mbv2_96_24": (1, 96, 56, 56, 24, 1, 1, 0), "mbv2_144_32": (1, 144, 28, 28, 32, 1, 1, 0),
        "mbv2_64_384": (1, 64, 14, 14, 384, 1, 1, 0), "mbv2_576_96": (1, 576, 14, 14, 96, 1, 1, 0),
        "mbv2_320_1280": (1, 320, 7, 7, 1280, 1, 1, 0), "dense_1x1_256_128": (1, 256, 28, 28, 128, 1, 1, 0),
        "dense_128_32": (1, 128, 28, 28, 32, 3, 1, 1), "squeeze_16_64": (1, 16, 55, 55, 64, 3, 1, 1),
        "r18_64_128s2": (1, 64, 56, 56, 128, 3, 2, 1), "r18_256_512s2": (1, 256, 14, 14, 512, 3, 2, 1),
        "r18_1x1s2": (1, 64, 56, 56, 128, 1, 2, 0), "r50_1x1_512_256": (1, 512, 28, 28, 256, 1, 1, 0),
        "r50_1x1_b8": (8, 256, 56, 56, 64, 1, 1, 0), "r50_c5_3x3_b8": (8, 512, 7, 7, 512, 3, 1, 1),
        "yolo_32_64s2": (1, 32, 320, 320, 64, 3, 2, 1), "yolo_64_128s2_b2": (2, 64, 160, 160, 128, 3, 2, 1),
        "unet_64": (1, 64, 256, 256, 64, 3, 1, 1), "unet_128_64": (1, 128, 256, 256, 64, 3, 1, 1),
        "vit_patch": (1, 3, 224, 224, 768, 16, 16, 0), "alex_c1": (1, 3, 224, 224, 64, 11, 4, 2),
        "convnext_stem": (1, 3, 224, 224, 96, 4, 4, 0), "convnext_down": (1, 96, 56, 56, 192, 2, 2, 0),
        "srcnn_1x1": (1, 64, 256, 256, 32, 1, 1, 0), "srres_9x9": (1, 3, 96, 96, 64, 9, 1, 4),
        "espcn_5x5": (1, 1, 256, 256, 64, 5, 1, 2), "cifar_3_64_b64": (64, 3, 32, 32, 64, 3, 1, 1),
        "cifar_64_b64": (64, 64, 32, 32, 64, 3, 1, 1), "resnet_128_b8": (8, 128, 28, 28, 128, 3, 1, 1),
    }  # fmt: skip
    return [
        Case(name, "network", (N, C, H, W), (Conv(K, size, size, stride, padding),))
        for name, (N, C, H, W, K, size, stride, padding) in table.items()
    ]


def depthwise(layers: Path = LAYERS_FILE) -> list[Case]:
    rows = [case for case in from_layers(layers) if case.group == "depthwise"]
    more = {
        "dw5x5s2_112": ((1, 96, 112, 112), Conv(96, 5, 5, 2, 2, 96)),
        "dw5x5s2_28": ((1, 240, 28, 28), Conv(240, 5, 5, 2, 2, 240)),
        "dw5x5_14": ((1, 672, 14, 14), Conv(672, 5, 5, 1, 2, 672)),
        "dw7x7_28": ((1, 192, 28, 28), Conv(192, 7, 7, 1, 3, 192)),
        "dw7x7_7": ((1, 768, 7, 7), Conv(768, 7, 7, 1, 3, 768)),
        "dw3x3_b16_56": ((16, 128, 56, 56), Conv(128, 3, 3, 1, 1, 128)),
    }
    return rows + [Case(name, "depthwise", shape, (op,)) for name, (shape, op) in more.items()]


def pool() -> list[Case]:
    """Poolings of LeNet, AlexNet, VGG, ResNet, Inception and the SPP block, and two beyond any cache."""
    table = {
        "lenet_avg2x2": ((64, 6, 28, 28), Pool("avg", 2, 2)),
        "lenet_max2x2": ((64, 16, 10, 10), Pool("max", 2, 2)),
        "alex_max3x3s2": ((1, 64, 55, 55), Pool("max", 3, 2)),
        "vgg_max2x2_224": ((1, 64, 224, 224), Pool("max", 2, 2)),
        "vgg_max2x2_56": ((1, 256, 56, 56), Pool("max", 2, 2)),
        "vgg_max2x2_14": ((1, 512, 14, 14), Pool("max", 2, 2)),
        "vgg_avg2x2_224": ((1, 64, 224, 224), Pool("avg", 2, 2)),
        "resnet_max3x3s2": ((1, 64, 112, 112), Pool("max", 3, 2, 1)),
        "resnet_global_avg": ((1, 2048, 7, 7), Pool("global", 7, 7)),
        "incep_max3x3s1": ((1, 192, 28, 28), Pool("max", 3, 1, 1)),
        "incep_max3x3s2": ((1, 192, 71, 71), Pool("max", 3, 2)),
        "incep_avg3x3s1": ((1, 768, 17, 17), Pool("avg", 3, 1, 1)),
        "incep_avg5x5s3": ((1, 768, 17, 17), Pool("avg", 5, 3)),
        "spp_max5x5s1": ((1, 512, 13, 13), Pool("max", 5, 1, 2)),
        "spp_max9x9s1": ((1, 512, 13, 13), Pool("max", 9, 1, 4)),
        "spp_max13x13s1": ((1, 512, 13, 13), Pool("max", 13, 1, 6)),
        "big_max2x2": ((16, 64, 224, 224), Pool("max", 2, 2)),
        "big_max3x3s2": ((16, 64, 224, 224), Pool("max", 3, 2, 1)),
    }
    return [Case(name, "pool", shape, (op,)) for name, (shape, op) in table.items()]


def images() -> list[Case]:
    """Plain images, widest range of sizes and kernels; the dtypes multiply them by three."""
    table = [
        (32, 32, 3), (32, 32, 7), (128, 128, 3), (128, 128, 11), (512, 512, 3), (512, 512, 5),
        (512, 512, 15), (512, 512, 31), (512, 512, 63), (1080, 1920, 3), (1080, 1920, 5), (1080, 1920, 7),
        (1080, 1920, 11), (1080, 1920, 21), (2160, 3840, 3), (2160, 3840, 9), (2160, 3840, 63),
    ]  # fmt: skip
    return [image(H, W, size) for H, W, size in table]


def image(H: int, W: int, size: int) -> Case:
    op = Conv(1, size, size, 1, size // 2, bias=False)
    return Case(f"img_{W}x{H}_k{size}", "image", (1, 1, H, W), (op,), kind="image")


def small() -> list[Case]:
    """Calls whose cost is the call itself."""
    tiny = Case("tiny_3x3_k2", "small", (1, 1, 3, 3), (Conv(1, 2, 2, bias=False),), kind="image")
    layers: dict[str, tuple[tuple[int, int, int, int], Op]] = {
        "small_8x8_k3": ((1, 1, 8, 8), Conv(1, 3, 3, 1, 1)),
        "small_3to8_16x16": ((1, 3, 16, 16), Conv(8, 3, 3, 1, 1)),
        "small_max2x2": ((1, 4, 8, 8), Pool("max", 2, 2)),
    }
    return [tiny] + [Case(name, "small", shape, (op,)) for name, (shape, op) in layers.items()]


def vgg16() -> Case:
    """The thirteen convolutions of VGG-16 with their activations and the four poolings between them."""
    ops: list[Op] = []
    for block, (channels, repeat) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        if block:
            ops.append(Pool("max", 2, 2))
        ops += [Conv(channels, 3, 3, 1, 1, relu=True)] * repeat
    return Case("vgg16_stack", "stack", (1, 3, 224, 224), tuple(ops))


def resnet18() -> Case:
    """The seventeen convolutions of ResNet-18's main path as a chain, without the additions of the skips."""
    ops: list[Op] = [Conv(64, 7, 7, 2, 3, relu=True), Pool("max", 3, 2, 1)]
    for stage, channels in enumerate((64, 128, 256, 512)):
        first = Conv(channels, 3, 3, 2 if stage else 1, 1, relu=True)
        ops += [first] + [Conv(channels, 3, 3, 1, 1, relu=True)] * 3
    return Case("resnet18_stack", "stack", (1, 3, 224, 224), tuple(ops))


def drawn(seed: int, count: int) -> list[Case]:
    """Dense layers that nobody tuned for, drawn between 2 MFLOP and 4 GFLOP."""
    rng = random.Random(seed)
    cases: list[Case] = []
    while len(cases) < count:
        R, S = rng.choice([(1, 1), (3, 3), (3, 3), (3, 3), (5, 5), (7, 7), (1, 7), (3, 1)])
        C, K = (rng.choice([3, 16, 24, 32, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 768]) for _ in "CK")
        H = rng.randint(7, 160)
        W = max(7, min(160, round(H * rng.choice([0.6, 1, 1, 1.5]))))
        stride, N = rng.choice([1, 1, 1, 2]), rng.choice([1, 1, 1, 2, 8])
        # One padding for both axes, as in the table of layers: "same" for square kernels, none for others.
        op = Conv(K, R, S, stride, R // 2 if R == S else 0)
        case = Case(f"rnd{seed}_{N}x{C}x{H}x{W}_{K}_{R}x{S}s{stride}", "random", (N, C, H, W), (op,))
        if 2e6 <= case.flops <= 4e9:
            cases.append(case)
    return cases

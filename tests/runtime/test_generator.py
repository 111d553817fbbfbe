"""The generator's interface, over a forward pass written in numpy."""

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from ganzoo import seeds
from ganzoo.errors import FileError, MachineError, UsageError
from ganzoo.runtime.generator import CHUNK, Generator, GeneratorInfo, great_circle
from ganzoo.runtime.images import grid
from ganzoo.runtime.pixels import to_uint8

SHAPE = (1, 2, 3)


def info(num_classes: int | None = None, **changes: Any) -> GeneratorInfo:
    fields: dict[str, Any] = {"variant": "toy", "latent_dim": 6, "image_shape": SHAPE, "num_classes": num_classes}
    return GeneratorInfo(**{**fields, **changes})


def toy(num_classes: int | None = None) -> Generator:
    """Its images are tanh(z), moved up by a tenth for each class number."""

    def forward(z: NDArray[np.float32], y: NDArray[np.int64] | None) -> NDArray[np.float32]:
        assert (y is None) == (num_classes is None)
        assert z.flags.c_contiguous
        assert z.flags.writeable
        shift = np.zeros(len(z), np.float32) if y is None else y.astype(np.float32) / 10
        return np.tanh(z + shift[:, None]).reshape(-1, *SHAPE)

    return Generator(info(num_classes), forward, "numpy")


def latents(n: int = 5) -> NDArray[np.float32]:
    return seeds.latents(0, 6, 0, n)


def test_generate_gives_what_forward_gives() -> None:
    images = toy().generate(latents())
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images.reshape(5, 6), np.tanh(latents()))


def test_generate_takes_one_class_or_one_for_each() -> None:
    generator = toy(3)
    np.testing.assert_array_equal(generator.generate(latents(), 2), generator.generate(latents(), [2] * 5))
    each = generator.generate(latents(), np.array([0, 1, 2, 0, 1], np.uint8))
    np.testing.assert_array_equal(each[1], generator.generate(latents(), 1)[1])


def test_an_empty_batch_does_not_reach_forward() -> None:
    def forward(z: object, y: object) -> NDArray[np.float32]:
        raise AssertionError

    generator = Generator(info(3), forward)
    assert generator.generate(latents(0), []).shape == (0, *SHAPE)
    assert generator.sample(0).shape == (0, 2, 3, 1)


def test_latents_need_not_be_contiguous_or_writeable() -> None:
    z = latents()
    z.flags.writeable = False
    np.testing.assert_array_equal(toy().generate(np.asfortranarray(z)), toy().generate(z))
    np.testing.assert_array_equal(toy().generate(z[::-1]), toy().generate(z)[::-1])


@pytest.mark.parametrize(
    ("z", "message"),
    [
        ([[0.0] * 6], r"type list.*np\.asarray"),
        (np.zeros((2, 6)), r"float64.*z\.astype\(np\.float32\)"),
        (np.zeros((2, 6), np.int64), "int64"),
        (np.zeros((2, 6), ">f4"), ">f4"),
        (np.zeros((2, 7), np.float32), r"\[2, 7\]: expected a float32 array \[N, 6\]"),
        (np.zeros(6, np.float32), r"the shape \[6\]"),
        (np.zeros((2, 6, 1), np.float32), r"the shape \[2, 6, 1\]"),
        (np.full((2, 6), np.nan, np.float32), "NaN"),
        (np.full((2, 6), -np.inf, np.float32), "infinity"),
    ],
)
def test_bad_latents_are_refused(z: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        toy().generate(z)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (3, "label 3 is out of range: expected classes from 0 to 2"),
        (-1, "label -1 is out of range"),
        (10**30, "is out of range"),
        ([0, 1, 2, 3, 0], "label 3 is out of range"),
        (np.array([0, 1, 2, 0, 2**64 - 1], np.uint64), "out of range"),
        ([0, 1], r"the shape \[2\]: expected \[5\]"),
        ([1], r"the shape \[1\]: expected \[5\]"),
        ([], r"the shape \[0\]: expected \[5\]"),
        (np.zeros((5, 1), np.int64), r"the shape \[5, 1\]"),
        (np.array(1), r"the shape \[\]"),
        (np.zeros(5), r"float64: expected integers; use labels\.astype"),
        (np.zeros(5, bool), "bool"),
        (True, "labels are True"),
        ([0, 1, True, 0, 1], "expected a class's number or name"),
        ([0, 1, 1.0, 0, 1], "expected a class's number or name"),
        ([[0], [1], [2], [0], [1]], "expected a class's number or name"),
        ("01201", "no class '01201': these classes have no names, only numbers from 0 to 2"),
        (1.0, "labels are 1.0"),
        ({0, 1, 2}, "expected a class's number or name"),
    ],
)
def test_bad_labels_are_refused(labels: Any, message: str) -> None:
    for call in (lambda: toy(3).generate(latents(), labels), lambda: toy(3).sample(5, labels)):
        with pytest.raises(UsageError, match=message):
            call()


def named() -> Generator:
    """The toy with three classes that have names."""
    return Generator(info(3, class_names=("cat", "dog", "emu")), toy(3).forward)


def test_a_class_may_be_given_by_its_name() -> None:
    ways: list[Any] = ["emu", np.array(["emu"] * 5), ["emu"] * 5, [2, "emu", np.int8(2), "emu", 2]]
    for labels in ways:
        np.testing.assert_array_equal(named().sample(5, labels), toy(3).sample(5, 2))
    np.testing.assert_array_equal(named().generate(latents(2), ["dog", "cat"]), toy(3).generate(latents(2), [1, 0]))


@pytest.mark.parametrize("labels", ["emus", ["cat", "emus"], 3, [0, 3]])
def test_a_refused_label_lists_the_names(labels: Any) -> None:
    with pytest.raises(UsageError, match=r"expected classes from 0 to 2 \(0 cat, 1 dog, 2 emu\)"):
        named().sample(2, labels)
    with pytest.raises(UsageError, match="did you mean 'emu'"):
        named().sample(1, "emus")


def test_a_class_out_of_range_is_refused_for_no_images_too() -> None:
    with pytest.raises(UsageError, match="out of range"):
        toy(3).sample(0, 3)


def test_labels_are_needed_where_conditional_and_refused_where_not() -> None:
    with pytest.raises(UsageError, match=r"'toy' is conditional: pass labels.* from 0 to 2"):
        toy(3).generate(latents())
    for call in (lambda: toy().generate(latents(), 0), lambda: toy().sample(5, [0] * 5)):
        with pytest.raises(UsageError, match="takes no labels"):
            call()


def test_labels_for_tells_the_labels_of_a_sample() -> None:
    balanced = toy(3).labels_for(7)
    assert balanced is not None
    assert balanced.dtype == np.int64
    assert balanced.tolist() == [0, 1, 2, 0, 1, 2, 0]
    one, each = toy(3).labels_for(4, 2), toy(3).labels_for(2, (np.int8(2), 0))
    assert one is not None
    assert one.tolist() == [2, 2, 2, 2]
    assert each is not None
    assert each.tolist() == [2, 0]
    assert toy().labels_for(4) is None
    np.testing.assert_array_equal(toy(3).sample(7), toy(3).sample(7, balanced))


@pytest.mark.parametrize("num_classes", [None, 3])
def test_a_notebook_shows_twenty_images(num_classes: int | None) -> None:
    generator = toy(num_classes)
    page = generator._repr_html_()
    assert "&lt;Generator toy: 6 -&gt; 1x2x3" in page
    (found,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    with Image.open(io.BytesIO(base64.b64decode(found))) as image:
        shown = np.asarray(image)
    np.testing.assert_array_equal(shown, grid(generator.sample(20), columns=10)[..., 0])


def test_a_sample_is_what_generate_draws_from_the_latents_of_the_seed() -> None:
    n = 2 * CHUNK + 3
    images = toy(3).sample(n, seed=5)
    assert images.shape == (n, 2, 3, 1)
    assert images.dtype == np.uint8
    labels = toy(3).labels_for(n)
    np.testing.assert_array_equal(images, to_uint8(toy(3).generate(seeds.latents(5, 6, 0, n), labels)))
    assert not np.array_equal(images, toy(3).sample(n, seed=6))


@given(n=st.integers(0, 3 * CHUNK), fewer=st.integers(0, 3 * CHUNK), seed=st.integers(0, 2**70))
@settings(deadline=None)
def test_a_smaller_sample_is_the_beginning_of_a_larger_one(n: int, fewer: int, seed: int) -> None:
    fewer = min(n, fewer)
    np.testing.assert_array_equal(toy(3).sample(n, seed=seed)[:fewer], toy(3).sample(fewer, seed=seed))


@given(
    n=st.integers(0, 3 * CHUNK),
    batch_size=st.integers(1, 4 * CHUNK),
    start=st.integers(0, 3 * CHUNK),
    num_classes=st.sampled_from([None, 1, 3]),
)
def test_batches_are_a_sample_in_parts(n: int, batch_size: int, start: int, num_classes: int | None) -> None:
    batches = list(toy(num_classes).iter_batches(n, seed=5, batch_size=batch_size, start=start))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert all(0 < len(batch) <= batch_size for batch in batches)
    whole = np.concatenate([np.empty((0, 2, 3, 1), np.uint8), *batches])  # all together: none shares another's memory
    np.testing.assert_array_equal(whole, toy(num_classes).sample(start + n, seed=5)[start:])


@given(labels=st.lists(st.integers(0, 2), max_size=3 * CHUNK), batch_size=st.integers(1, 100), start=st.integers(0, 99))
def test_batches_are_drawn_with_the_labels_that_are_given(labels: list[int], batch_size: int, start: int) -> None:
    batches = toy(3).iter_batches(len(labels), labels, batch_size=batch_size, start=start)
    whole = np.concatenate([np.empty((0, 2, 3, 1), np.uint8), *batches])
    np.testing.assert_array_equal(whole, toy(3).sample(start + len(labels), [0] * start + labels)[start:])


@given(n=st.integers(0, 3 * CHUNK), batch_size=st.integers(1, 300))
def test_a_batch_size_changes_no_image(n: int, batch_size: int) -> None:
    np.testing.assert_array_equal(toy(3).sample(n, seed=5, batch_size=batch_size), toy(3).sample(n, seed=5))


def test_no_seed_is_the_seed_0() -> None:
    np.testing.assert_array_equal(toy().sample(5), toy().sample(5, seed=0))
    np.testing.assert_array_equal(toy().sample(5, seed=None), toy().sample(5, seed=0))


# Interpolation


@pytest.mark.parametrize("steps", [2, 3, CHUNK, CHUNK + 5])
@pytest.mark.parametrize("index", [0, 4])
def test_an_interpolation_goes_from_one_sample_to_the_other(steps: int, index: int) -> None:
    images = toy(3).interpolate(7, 8, steps, index=index)
    assert images.shape == (steps, 2, 3, 1)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images[0], toy(3).sample(index + 1, seed=7)[index])
    np.testing.assert_array_equal(images[-1], toy(3).sample(index + 1, seed=8)[index])
    np.testing.assert_array_equal(images[::-1], toy(3).interpolate(8, 7, steps, index=index))


def test_an_interpolation_keeps_a_class_or_takes_one_for_each_step() -> None:
    generator, shift = toy(3), 127.5 / 10
    first = toy(3).interpolate(1, 1, 3).astype(int)  # all the same latent, of class 0
    assert (first == first[0]).all()
    assert np.abs(generator.interpolate(1, 1, 3, 2) - first).max() <= 2 * shift + 1
    np.testing.assert_array_equal(generator.interpolate(1, 1, 3, [0, 2, 1])[1], generator.interpolate(1, 1, 3, 2)[1])
    np.testing.assert_array_equal(generator.interpolate(1, 1, 3, 0), first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 1}, "steps is 1: expected an integer from 2 up, as both ends are drawn"),
        ({"steps": 2.0}, r"steps is 2\.0"),
        ({"seed_b": -1}, "seed_b is -1"),
        ({"index": -1}, "index is -1"),
        ({"labels": 3}, "label 3 is out of range"),
        ({"labels": [0, 1]}, r"labels have the shape \[2\]: expected \[5\]"),
    ],
)
def test_bad_interpolations_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        toy(3).interpolate(**{"seed_a": 0, "seed_b": 1, "steps": 5, **arguments})


@given(seeds_=st.tuples(st.integers(0, 99), st.integers(100, 199)), dim=st.integers(2, 64), steps=st.integers(2, 50))
def test_a_great_circle_keeps_the_length_and_turns_evenly(seeds_: tuple[int, int], dim: int, steps: int) -> None:
    a, b = (seeds.latents(seed, dim, 0, 1)[0] for seed in seeds_)
    b *= np.linalg.norm(a) / np.linalg.norm(b)
    z = great_circle(a, b, steps)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), np.linalg.norm(a), rtol=1e-4)
    cosines = (z[1:] * z[:-1]).sum(1).astype(np.float64) / np.linalg.norm(a) ** 2
    angle = np.arccos(np.clip(a @ b / np.linalg.norm(a) ** 2, -1, 1)) / (steps - 1)
    np.testing.assert_allclose(cosines, np.cos(angle), atol=1e-3)


@pytest.mark.parametrize(
    ("a", "b", "middle"),
    [
        ([1, 2], [1, 2], [1, 2]),
        ([1, 2], [2, 4], [1.5, 3]),
        ([1, 2], [-1, -2], [0, 0]),
        ([0, 0], [2, 2], [1, 1]),
        ([3], [5], [4]),
    ],
)
def test_without_an_angle_the_way_is_a_line(a: list[float], b: list[float], middle: list[float]) -> None:
    z = great_circle(np.array(a, np.float32), np.array(b, np.float32), 3)
    assert z.dtype == np.float32
    np.testing.assert_array_equal(z, np.array([a, middle, b], np.float32))


def test_a_batch_is_drawn_when_it_is_asked_for() -> None:
    calls = []

    def forward(z: NDArray[np.float32], y: NDArray[np.int64] | None) -> NDArray[np.float32]:
        calls.append(len(z))
        return np.zeros((len(z), *SHAPE), np.float32)

    batches = Generator(info(3), forward).iter_batches(10**15, batch_size=2 * CHUNK)  # far more than memory holds
    assert calls == []
    assert next(batches).shape == (2 * CHUNK, 2, 3, 1)
    assert calls == [CHUNK, CHUNK]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": -1}, "n is -1"),
        ({"n": 3, "seed": 1.0}, r"seed is 1\.0"),
        ({"n": 3, "batch_size": 0}, "batch_size is 0: expected an integer from 1 up"),
        ({"n": 3, "batch_size": -2}, "batch_size is -2"),
        ({"n": 3, "start": -1}, "start is -1"),
        ({"n": 3, "labels": [0]}, r"labels have the shape \[1\]: expected \[3\]"),
        ({"n": 3, "labels": 3}, "label 3 is out of range"),
    ],
)
def test_bad_batches_are_refused_before_any_is_asked_for(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        toy(3).iter_batches(**arguments)


@given(n=st.integers(1, 3 * CHUNK))
@settings(deadline=None)
def test_forward_sees_one_batch_size(n: int) -> None:
    sizes = set()

    def forward(z: NDArray[np.float32], y: NDArray[np.int64] | None) -> NDArray[np.float32]:
        sizes.add(len(z))
        return np.zeros((len(z), *SHAPE), np.float32)

    Generator(info(3), forward).sample(n)
    assert sizes == {CHUNK}


@pytest.mark.parametrize("value", [-1, 1.0, "8", True, np.float32(3), [1]])
@pytest.mark.parametrize("name", ["n", "seed", "batch_size"])
def test_counts_and_seeds_are_integers_from_0_up(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"{name} is .*expected an integer from 0 up"):
        toy().sample(**{name: value})


@pytest.mark.parametrize("n", [10**17, 10**30])
def test_more_images_than_memory_holds_is_the_machines_error(n: int) -> None:
    with pytest.raises(MachineError, match="ask for fewer"):
        toy(3).sample(n)


@pytest.mark.parametrize(
    "drawn", [np.zeros((5, 6), np.float32), np.zeros((4, *SHAPE), np.float32), np.zeros((5, *SHAPE))]
)
def test_a_forward_that_breaks_its_promise_is_noticed(drawn: Any) -> None:
    with pytest.raises(FileError, match=r"drew .*, not float32 "):
        Generator(info(), lambda z, y: drawn).generate(latents())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_that_are_not_finite_are_noticed(value: float) -> None:
    broken = Generator(info(), lambda z, y: np.full((len(z), *SHAPE), value, np.float32))
    with pytest.raises(FileError, match="drew NaN or infinity"):
        broken.generate(latents())
    with pytest.raises(FileError, match="drew NaN or infinity"):
        broken.sample(3)


def test_repr_says_what_it_is() -> None:
    assert repr(toy(3)) == "<Generator toy: 6 -> 1x2x3, 3 classes, numpy>"
    assert repr(Generator(info(), lambda z, y: z)) == "<Generator toy: 6 -> 1x2x3>"


def test_to_uint8_rounds_half_to_even_and_clamps() -> None:
    x = np.array([-2, -1, -0.5, 0, 0.5, 1, 2], np.float32).reshape(1, 1, 1, -1)
    assert to_uint8(x).ravel().tolist() == [0, 0, 64, 128, 191, 255, 255]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_to_uint8_moves_the_channels_last_and_inverts_the_scale(dtype: Any) -> None:
    levels = np.arange(256, dtype=np.float64).reshape(2, 2, 8, 8)
    pixels = to_uint8((levels / 127.5 - 1).astype(dtype))
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, levels.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_to_uint8_gives_no_colour_to_what_is_not_finite(value: float) -> None:
    x = np.zeros((2, 1, 2, 2), np.float32)
    x[1, 0, 1, 1] = value
    with pytest.raises(UsageError, match="NaN or infinity"):
        to_uint8(x)


@pytest.mark.parametrize("images", [np.zeros((2, 2, 2), np.float32), np.zeros((1, 1, 2, 2), np.int64)])
def test_to_uint8_takes_batches_of_floats(images: Any) -> None:
    with pytest.raises(UsageError, match=r"expected floats \[N, C, H, W\]"):
        to_uint8(images)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": ""}, "variant is ''"),
        ({"variant": 3}, "variant is 3"),
        ({"latent_dim": 0}, "latent_dim is 0"),
        ({"latent_dim": True}, "latent_dim is True"),
        ({"image_shape": (1, 28)}, "image_shape is"),
        ({"image_shape": [1, 28, 28]}, "image_shape is"),
        ({"image_shape": (1, 28, -1)}, "a size in image_shape is -1"),
        ({"num_classes": 0}, "num_classes is 0"),
        ({"num_classes": 2, "class_names": ("a",)}, "1 class_names were given for num_classes = 2"),
        ({"class_names": ("a",)}, "1 class_names were given for num_classes = None"),
        ({"num_classes": 2, "class_names": ("a", 1)}, "class_names are"),
        ({"num_classes": 2, "class_names": "ab"}, "class_names are"),
    ],
)
def test_info_is_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        info(**changes)


# codes


def test_uniform_codes_are_the_last_columns_of_the_latents() -> None:
    z = seeds.latents(0, 6, 0, 3000, 2)
    assert np.array_equal(z[:, :4], seeds.latents(0, 4, 0, 3000))  # the others are those without codes
    assert np.array_equal(z[700:900], seeds.latents(0, 6, 700, 900, 2))
    assert not np.array_equal(z[:, 4:], seeds.latents(1, 6, 0, 3000, 2)[:, 4:])
    codes = z[:, 4:]
    assert codes.dtype == np.float32
    assert (codes >= -1).all()
    assert (codes < 1).all()
    np.testing.assert_allclose([codes.mean(), codes.var()], [0, 1 / 3], atol=0.03)
    assert abs((codes[:, 0] * codes[:, 1]).mean()) < 0.02  # independent


def test_interpolation_takes_uniform_codes_along_a_line() -> None:
    a, b = seeds.latents(0, 6, 0, 1, 2)[0], seeds.latents(1, 6, 0, 1, 2)[0]
    z = great_circle(a, b, 5, 2)
    np.testing.assert_allclose(z[:, 4:], np.linspace(a[4:], b[4:], 5), atol=1e-6)
    assert np.array_equal(z[:, :4], great_circle(a[:4], b[:4], 5))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"uniform_codes": 3}, "uniform_codes is 3: expected from 0 to latent_dim"),
        ({"uniform_codes": -1}, "uniform_codes is -1"),
        ({"code": "digit"}, "code is 'digit': expected the name of a code, and num_classes the number of its values"),
        ({"code": "", "num_classes": 2}, "code is ''"),
    ],
)
def test_codes_that_make_no_sense_are_refused(fields: dict[str, Any], message: str) -> None:
    plain: dict[str, Any] = {"variant": "toy", "latent_dim": 2, "image_shape": (1, 2, 2), "num_classes": None}
    with pytest.raises(UsageError, match=message):
        GeneratorInfo(**{**plain, **fields})


def test_labels_of_a_code_are_no_classes() -> None:
    info = GeneratorInfo(variant="toy", latent_dim=2, image_shape=(1, 2, 2), num_classes=3, code="digit")
    assert info.conditional
    assert not info.has_classes

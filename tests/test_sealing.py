"""Seals: what was altered is told from what was sealed, and files of earlier versions still hold."""

import hashlib
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganzoo.errors import UsageError
from ganzoo.evaluation.judge import MNIST_SHA256, read_judge
from ganzoo.runtime import bundled, onnxfile
from ganzoo.sealing import BLANK, is_sealed, seal

GOLDEN = Path(__file__).parent / "golden"
before, after = st.binary(max_size=40), st.binary(max_size=40)


def digest_of(data: bytes) -> str:
    return data.partition(b'"sha256":')[2].strip()[1:65].decode()


@given(before, after, st.sampled_from([b"", b" "]))
def test_the_digest_is_that_of_the_bytes_with_zeros(before: bytes, after: bytes, space: bytes) -> None:
    blank = before + b'"sha256":' + space + b'"' + BLANK.encode() + b'"' + after
    sealed = seal(blank)
    digest = hashlib.sha256(blank).hexdigest()
    assert sealed == blank.replace(BLANK.encode(), digest.encode())
    assert is_sealed(sealed, digest)
    assert not is_sealed(blank, BLANK)


@given(before, after, st.data())
def test_no_byte_can_be_altered_or_cut(before: bytes, after: bytes, data: st.DataObject) -> None:
    sealed = seal(before + b'"sha256": "' + BLANK.encode() + b'"' + after)
    at = data.draw(st.integers(0, len(sealed) - 1))
    altered = bytearray(sealed)
    altered[at] ^= 1 << data.draw(st.integers(0, 7))
    digest = digest_of(sealed)
    assert not is_sealed(bytes(altered), digest)
    assert not is_sealed(sealed[:at], digest)


@pytest.mark.parametrize("data", [b"", b'"sha256": "0"', 2 * (b'"sha256": "' + BLANK.encode() + b'"')])
def test_without_one_place_for_the_digest_nothing_is_sealed(data: bytes) -> None:
    with pytest.raises(UsageError, match="no place for the digest"):
        seal(data)


@pytest.mark.parametrize("digest", [None, 7, [], "", "f" * 63, "F" * 64, "f" * 64])
def test_what_is_no_digest_seals_nothing(digest: object) -> None:
    assert not is_sealed(seal(b'"sha256": "' + BLANK.encode() + b'"'), digest)


def test_a_safetensors_file_is_sealed_in_its_header() -> None:
    tensors = {"w": torch.zeros(3)}
    sealed = seal(safetensors.torch.save(tensors, {"judge": json.dumps({"sha256": "7"}), "sha256": BLANK}))
    assert is_sealed(sealed, digest_of(sealed))
    assert torch.equal(safetensors.torch.load(sealed)["w"], tensors["w"])


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*/*.onnx")), ids=lambda path: path.parent.name)
def test_exports_of_earlier_versions_hold(path: Path) -> None:
    contents = onnxfile.read(path)
    assert is_sealed(contents.data, contents.document["sha256"])


def test_the_bundled_files_hold() -> None:
    contents = onnxfile.read(bundled.find("mnist"))
    assert is_sealed(contents.data, contents.document["sha256"])
    assert read_judge(Path(str(bundled.DIRECTORY.parents[1] / "evaluation" / "mnist.judge.safetensors")), MNIST_SHA256)

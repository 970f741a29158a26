"""What is read is a file of a sensible size with one meaning, or one line says what it is instead."""

import json
import os
import socket
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from learned_optimizers import load_theta
from pipeline.errors import RunError
from pipeline.networks.genotype_reference import cell_of, load_genotype, read_genotype
from pipeline.runs.files import DEEPEST, LARGEST_JSON, parse_json, read_bytes, read_json, read_text
from pipeline.runs.metrics import read_metrics
from pipeline.runs.run_folder import exclusive
from pipeline.runs.tensors import read_tensors
from search_space import PUBLISHED, Genotype

CELL = PUBLISHED["DARTS_V2"].genotype
TEN_SECONDS = pytest.mark.timeout(10)


def one_line_of(read, path):
    with pytest.raises(RunError) as caught:
        read(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def socket_at(path):
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(path))


KINDS = {
    "a FIFO": os.mkfifo,
    "a folder": os.mkdir,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a socket": socket_at,
}


@TEN_SECONDS
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("search.json", read_json),
        ("genotype.json", read_genotype),
        ("genotype.json", lambda path: load_genotype(str(path))),
        ("genotype.json", lambda path: cell_of(path.parent, None)),
        ("network.safetensors", read_tensors),
        ("metrics.jsonl", lambda path: read_metrics(path.parent)),
    ],
)
def test_what_is_no_file_is_refused_at_once_and_named(tmp_path, monkeypatch, kind, name, read):
    monkeypatch.chdir(tmp_path)  # the path of a socket has few letters
    path = tmp_path / name
    KINDS[kind](path.relative_to(tmp_path))
    text = one_line_of(read, path)
    assert kind in text or text.startswith(f"genotype={path} is not")  # a reference may be a folder, or a name


@pytest.mark.parametrize("read", [read_json, read_text, read_genotype, lambda path: read_metrics(path.parent)])
def test_a_file_that_is_too_large_is_refused_with_both_numbers_before_it_is_read(tmp_path, read):
    path = tmp_path / "metrics.jsonl"
    with path.open("wb") as file:
        file.truncate(10**13)  # holes take no room
    text = one_line_of(read, path)
    assert "has 10,000,000,000,000 bytes; such a file may have at most " in text


def test_a_file_may_be_as_large_as_its_kind_and_no_larger(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    assert "has 5 bytes; such a file may have at most 4" in one_line_of(lambda path: read_bytes(path, 4), path)
    assert LARGEST_JSON > 10**7


def test_a_byte_order_mark_is_read_over_in_every_text(tmp_path):
    for name, text in (
        ("genotype.json", CELL.to_json()),
        ("cell.json", CELL.to_json()),
        ("cell.txt", "|nor_conv_3x3~0|"),
        ("metrics.jsonl", '{"stage": "meta_train", "step": 0, "loss": 1}\n'),
    ):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_genotype(tmp_path / "genotype.json") == CELL
    assert load_genotype(str(tmp_path / "cell.json"))[1] == CELL
    assert load_genotype(str(tmp_path / "cell.txt"))[1].to_nasbench201() == "|nor_conv_3x3~0|"
    assert read_json(tmp_path / "cell.json")["format"] == "genotype"
    assert read_metrics(tmp_path) == [{"stage": "meta_train", "step": 0, "loss": 1}]


TWO_MEANINGS = {
    "a key twice": ('{"a": 1, "b": {"c": 1, "c": 2}}', "an object has the key 'c' twice"),
    "NaN": ('{"a": NaN}', "NaN is no number of JSON"),
    "infinity": ('{"a": [-Infinity]}', "-Infinity is no number of JSON"),
    "a number without end": ('{"a": 1e999}', "the number 1e999 is too large"),
    "a number of 5,000 digits": ('{"a": 1' + 4999 * "0" + "}", "a whole number has 5,000 digits; at most 20 are read"),
    "lists in lists": (60 * "[" + 60 * "]", f"more than {DEEPEST} deep"),
    "lists without end": (10**6 * "[", f"more than {DEEPEST} deep"),
    "objects in objects": (60 * '{"a":' + "1" + 60 * "}", f"more than {DEEPEST} deep"),
    "half a letter": ('{"a": "\\ud800"}', "a text has half a letter"),
    "text behind it": ("{} {}", "Extra data"),
    "nothing": ("", "Expecting value"),
}


@pytest.mark.parametrize("what", TWO_MEANINGS)
def test_json_of_two_meanings_is_refused(tmp_path, what):
    text, reason = TWO_MEANINGS[what]
    path = tmp_path / "network.json"
    path.write_text(text)
    message = one_line_of(read_json, path)
    assert message.startswith(f"{path} is not a JSON file: ")
    assert reason in message
    assert len(message) < 400


def test_json_that_is_flat_may_have_many_lists_and_letters_of_two_halves():
    many = [[index] for index in range(1000)]
    assert parse_json(json.dumps(many)) == many
    assert parse_json(json.dumps("\N{GRINNING FACE}")) == "\N{GRINNING FACE}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": True}, "version 1 expected, found True"),
        ({"version": 1.0}, "version 1 expected, found 1.0"),
        ({"layout": 3}, "expected normal, reduction beside format and version, found 'layout'"),
    ],
)
def test_a_genotype_of_another_version_or_with_unknown_keys_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Genotype.from_json(json.dumps(json.loads(CELL.to_json()) | changes))


def tensors_of(kind, size, header=None):
    text = header or json.dumps({"a": {"dtype": kind, "shape": [4], "data_offsets": [0, size]}})
    return struct.pack("<Q", len(text)) + text.encode() + size * b"\0"


NO_TENSORS = {
    "four bits a number": (tensors_of("F4", 2), "'a' has the type 'F4'"),
    "eight bits a number": (tensors_of("F8_E4M3", 4), "'a' has the type 'F8_E4M3'"),
    "complex numbers": (tensors_of("C64", 32), "'a' has the type 'C64'"),
    "a name twice": (tensors_of("", 0, '{"a": 1, "a": 2}'), "an object has the key 'a' twice"),
    "a list": (tensors_of("", 0, "[]"), "its header is no JSON object"),
    "an entry that is a number": (tensors_of("", 0, '{"a": 1}'), "'a' has the type None"),
    "no header": (b"abc", "its header is longer than the file"),
    "a header beyond the file": (struct.pack("<Q", 2**63) + b"{}", "its header is longer than the file"),
    "a header that is no text": (struct.pack("<Q", 2) + b"\xff\xfe", "codec can't decode"),
    "a file of torch.save": (b"PK\x03\x04" + bytes(60), "torch.save wrote it"),
    "an old one": (
        b"\x80\x02\x8a\n" + bytes(60),
        "store it anew by safetensors.torch.save_file(module.state_dict(), path)",
    ),
    "too few bytes": (tensors_of("F32", 16)[:-1], "Error while deserializing"),
}


@pytest.mark.parametrize("what", NO_TENSORS)
def test_tensors_that_cannot_be_loaded_or_calculated_with_are_refused(tmp_path, what):
    content, reason = NO_TENSORS[what]
    path = tmp_path / "alphas.safetensors"
    path.write_bytes(content)
    message = one_line_of(read_tensors, path)
    assert message.startswith(f"{path} cannot be read as safetensors: ")
    assert reason in message


def test_tensors_come_back_with_the_words_of_their_header(tmp_path):
    path = tmp_path / "file.safetensors"
    path.write_bytes(save({"a": torch.arange(3)}, metadata={"attack": "pgd"}))
    stored = read_tensors(path)
    assert stored.tensors["a"].tolist() == [0, 1, 2]
    assert stored.metadata == {"attack": "pgd"}


@TEN_SECONDS
@pytest.mark.parametrize("kind", ["F4", "F8_E4M3"])
def test_meta_parameters_of_a_type_without_arithmetic_are_refused(tmp_path, kind):
    path = tmp_path / "theta.safetensors"
    header = {"a": {"dtype": kind, "shape": [4], "data_offsets": [0, 2 if kind == "F4" else 4]}}
    text = json.dumps({"__metadata__": {"learned_optimizer/1": "mlp"}} | header)
    path.write_bytes(tensors_of(kind, header["a"]["data_offsets"][1], text))
    with pytest.raises(ValueError, match="expected finite floating-point values, found others in a"):
        load_theta(path)


@TEN_SECONDS
def test_meta_parameters_that_are_a_fifo_or_too_large_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(FileNotFoundError, match="is no file"):
        load_theta(tmp_path / "fifo")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(10**13)
    with pytest.raises(ValueError, match="has 10,000,000,000,000 bytes"):
        load_theta(tmp_path / "large")


@TEN_SECONDS
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["metrics.jsonl", "settings.json", "search.json"])
def test_a_stage_refuses_what_stands_in_place_of_a_file_before_it_writes(tmp_path, monkeypatch, kind, name):
    monkeypatch.chdir(tmp_path)
    KINDS[kind](Path(name))
    with pytest.raises(RunError, match=f"{name} is {kind}; expected a file or none"), exclusive(tmp_path, "search"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [name]

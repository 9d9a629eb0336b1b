"""Compressed files: read whole, refused when broken, stopped when they are bombs."""

from __future__ import annotations

import gzip

import pytest
import zstandard

from seedlab.flow import ROW
from seedlab.frames.files import archives, sources
from tests.fix_sources import faults_of, source

CSV = b"a,b\n" + b"".join(b"%d,text number %d\n" % (n, n) for n in range(5000))
PACK = {"gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress}


@pytest.mark.parametrize("kind", PACK)
def test_packed_files_are_read_as_if_they_were_not(tmp_path, kind):
    flat = sources.read(source(tmp_path, f"t.csv.{kind}", PACK[kind](CSV)))

    frame = sources.collect({0: flat})[0]

    assert frame.height == 5000
    assert frame.row(-1) == (4999, "4999", "text number 4999")
    assert frame.columns == [ROW, "a", "b"]


@pytest.mark.parametrize("kind", PACK)
def test_archives_of_several_parts_are_read_to_the_end(tmp_path, kind):
    packed = PACK[kind](b'[{"a":') + PACK[kind](b' "x"}]')

    assert sources.read(source(tmp_path, f"t.json.{kind}", packed)).records == [{"a": "x"}]


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("broken", [lambda d: d[:-20], lambda d: d[:6], lambda d: b"a,b\n1,2\n"])
def test_broken_archives_are_a_fault(tmp_path, kind, broken):
    fault = faults_of(source(tmp_path, f"t.csv.{kind}", broken(PACK[kind](CSV))))[0]

    assert fault.rule == "syntax"
    assert fault.message.startswith(f"unpacking {kind}: ")


@pytest.mark.parametrize("kind", PACK)
def test_a_bomb_is_stopped(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(archives, "FREE_UNPACKED_BYTES", 1 << 20)
    bomb = PACK[kind](bytes(64 << 20))

    fault = faults_of(source(tmp_path, f"t.json.{kind}", bomb))[0]

    assert fault.rule == "too-large"
    assert f"{len(bomb):,} bytes unpack to more than" in fault.message

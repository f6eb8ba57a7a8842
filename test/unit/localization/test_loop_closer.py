"""Loops against the robot's own past: real streams, a rendered town, and a painted street."""

import csv
import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from streets import Street, small_model

from seqnet_ros.config.engine import EngineConfig, LoopConfig
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.images import read_image
from seqnet_ros.core.poses import make_pose
from seqnet_ros.datasets.recordings.image_folder import list_images
from seqnet_ros.localization.acceptance.odometry import SAME_PLACE_M
from seqnet_ros.localization.exclusion_window import ExclusionWindow
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.localization.loop_closer import LoopCloser
from seqnet_ros.localization.result import LoopResult, Reason
from seqnet_ros.models.place_model import PlaceModel, load_model
from seqnet_town import OVERCAST, Camera, Drive, Town

SECOND = 10**9
NEAR = LoopConfig(exclude_s=0, exclude_frames=15, exclude_m=0)
ROUND_M = 100


@pytest.fixture(scope='module')
def small() -> PlaceModel:
    return small_model()


@pytest.fixture(scope='module')
def street() -> Street:
    return Street(1)


def circle(x: float, drift: float = 0.0) -> np.ndarray:
    """Return the pose at a place of a street that bends to a circle."""
    radius, angle = 1.01 * ROUND_M / (2 * np.pi), 2 * np.pi * x / ROUND_M
    return make_pose(radius * np.cos(angle) + drift, radius * np.sin(angle), yaw=angle + np.pi / 2)


def drive(closer: LoopCloser, street: Street, places: Iterable[float], first: int = 0,
          posed: bool = True, drift: float = 0.0) -> list[LoopResult | None]:
    """Drive on, a metre and a second an image; ``drift`` is what odometry is off a metre."""
    return [closer.push(street.view(x % ROUND_M, seed=1 + int(x // ROUND_M)), (first + n) * SECOND,
                        circle(x, drift * (first + n)) if posed else None)
            for n, x in enumerate(places)]


def best_places(results: Iterable[LoopResult | None]) -> list[int | None]:
    return [result.best.place_id if result is not None and result.best else None
            for result in results]


# --- what is recent ------------------------------------------------------------------------------


def old_places(config: LoopConfig, steps: Iterable[tuple[float, float | None]]) -> list[int]:
    """Return how many places are old enough at each step of (seconds, metres)."""
    past = ExclusionWindow(config)
    return [past.add(int(seconds * SECOND), None if metres is None else np.array([metres, 0, 0]),
                     broken=False) for seconds, metres in steps]


def test_a_place_is_old_by_number_time_and_way() -> None:
    steps = [(2.0 * n, 0.5 * n) for n in range(40)]
    by_number = old_places(LoopConfig(exclude_s=0, exclude_frames=10, exclude_m=0), steps)
    by_time = old_places(LoopConfig(exclude_s=30, exclude_frames=1, exclude_m=0), steps)
    by_way = old_places(LoopConfig(exclude_s=0, exclude_frames=1, exclude_m=8), steps)
    assert by_number == [max(n - 9, 0) for n in range(40)]
    assert by_time == [max(n - 14, 0) for n in range(40)]
    assert by_way == [max(n - 15, 0) for n in range(40)]
    together = old_places(LoopConfig(exclude_s=30, exclude_frames=10, exclude_m=8), steps)
    assert together == [min(counts) for counts in zip(by_number, by_time, by_way, strict=True)]


def test_the_way_does_not_count_without_odometry() -> None:
    config = LoopConfig(exclude_s=0, exclude_frames=3, exclude_m=1000)
    assert old_places(config, [(n, None) for n in range(6)]) == [0, 0, 0, 1, 2, 3]


def test_a_recording_that_starts_anew_makes_nothing_older() -> None:
    past = ExclusionWindow(LoopConfig(exclude_s=10, exclude_frames=1, exclude_m=5))
    for n in range(4):
        past.add((100 + n) * SECOND, np.array([n, 0.0, 0.0]), broken=False)
    assert past.add(3 * SECOND, np.array([900.0, 0, 0]), broken=True) == 0
    assert past.way_back_m(0) == pytest.approx(3.0)
    assert past.add(16 * SECOND, np.array([903.0, 0, 0]), broken=False) == 2


# --- a street round a block ----------------------------------------------------------------------


@pytest.mark.parametrize('posed', [True, False])
def test_the_second_round_is_found_in_the_first(
        small: PlaceModel, street: Street, posed: bool) -> None:
    closer = LoopCloser(small, loops=NEAR)
    first = drive(closer, street, range(ROUND_M), posed=posed)
    second = drive(closer, street, range(ROUND_M, 2 * ROUND_M), first=ROUND_M, posed=posed)
    assert not any(result.accepted for result in first)
    assert best_places(second[5:]) == list(range(5, ROUND_M))
    accepted = [result for result in second if result.accepted]
    assert len(accepted) > 60
    for result in accepted:
        assert result.place_id == ROUND_M + result.best.place_id
        assert result.best.stamp_ns == result.best.place_id * SECOND
        assert result.stamp_ns - result.best.stamp_ns == ROUND_M * SECOND


def test_the_loop_is_found_though_the_nearest_places_are_all_recent(
        small: PlaceModel, street: Street) -> None:
    """The robot creeps over ground it knows: what it just saw is nearer than what it saw before."""
    engine = small.preset.with_settings({
        'matching.top_k': 5, 'keyframes.every': '1', 'keyframes.min_change': 0.0,
        'localization.method': 'sequence'}).engine
    creeping = [130 + 0.125 * n for n in range(40)]

    def newest(exclude_frames: int) -> LoopResult:
        closer = LoopCloser(small, engine, LoopConfig(
            exclude_s=0, exclude_frames=exclude_frames, exclude_m=0))
        drive(closer, street, range(80), posed=False)
        return drive(closer, street, creeping, first=80, posed=False)[-1]

    result = newest(exclude_frames=40)
    assert result.place_id == 119
    assert abs(result.best.place_id - 35) <= 1
    # Without leaving out more than the newest image the five nearest are those before it.
    unlimited = newest(exclude_frames=1)
    assert min(candidate.place_id for candidate in unlimited.candidates) > 100


def test_places_too_young_are_never_named(small: PlaceModel, street: Street) -> None:
    closer = LoopCloser(small, loops=NEAR)
    for result in drive(closer, street, range(150)):
        for candidate in result.candidates:
            assert result.place_id - candidate.place_id >= NEAR.exclude_frames


def test_the_same_road_a_little_later_is_no_loop(small: PlaceModel) -> None:
    """A corridor that looks alike for long: the youngest place allowed is the best, and refused."""
    corridor = Street(3)
    closer = LoopCloser(
        small, loops=NEAR.model_copy(update={'exclude_frames': 6, 'max_drift': 0.0}))
    results = [closer.push(corridor.view(20 + 0.01 * n, seed=n), n * SECOND, make_pose(n, 0.0))
               for n in range(80)]
    assert not any(result.accepted for result in results)


def test_what_odometry_rules_out_is_refused(small: PlaceModel, street: Street) -> None:
    """Two streets painted alike, 400 m apart."""
    trusting, doubting = (
        LoopCloser(small, loops=NEAR.model_copy(update={'max_drift': drift}))
        for drift in (0.0, 0.1))
    for closer in (trusting, doubting):
        images = [(street.view(x, seed=1), make_pose(x, 0.0)) for x in range(100)]
        images += [(street.view(x, seed=2), make_pose(x, 400.0)) for x in range(100)]
        closer.use_settings(
            small.preset.with_settings({'keyframes.max_gap_m': 1000.0}).engine)
        results = [closer.push(image, n * SECOND, pose) for n, (image, pose) in enumerate(images)]
        reasons = {result.reason for result in results[100:]}
        assert (Reason.ACCEPTED in reasons) == (closer is trusting)
        assert (Reason.ODOMETRY in reasons) == (closer is doubting)


def test_drifted_odometry_is_forgiven(small: PlaceModel, street: Street) -> None:
    closer = LoopCloser(small, loops=NEAR)
    results = drive(closer, street, range(2 * ROUND_M), drift=0.08)
    apart = 0.08 * ROUND_M
    assert apart > SAME_PLACE_M / 2
    second = [result for result in results[ROUND_M:] if result is not None]
    assert sum(result.accepted for result in second) > 60


def test_a_standing_robot_closes_no_loop(small: PlaceModel, street: Street) -> None:
    closer = LoopCloser(small, loops=NEAR)
    drive(closer, street, range(ROUND_M + 40))
    places = len(closer)
    x = ROUND_M + 40
    results = [closer.push(street.view(40, seed=2), (200 + n // 10) * SECOND, circle(x))
               for n in range(50)]
    standing = [result for result in results[15:] if result is not None]
    assert {result.reason for result in standing} == {Reason.STATIONARY}
    assert len(closer) <= places + 1


def test_a_break_clears_the_sequence_and_keeps_the_places(
        small: PlaceModel, street: Street) -> None:
    engine = small.preset.with_settings({'localization.method': 'sequence'}).engine
    closer = LoopCloser(small, engine, NEAR)
    drive(closer, street, range(ROUND_M))
    results = drive(closer, street, range(120, 160), first=0)  # stamps go back: a bag loops
    assert [result.reason for result in results[:4]] == [Reason.BUFFER_FILLING] * 4
    assert best_places(results[6:]) == list(range(26, 60))
    assert any(result.accepted for result in results)


def test_a_break_takes_the_belief_away(small: PlaceModel, street: Street) -> None:
    """A bag loops: its first images are no loop where the robot was, but soon where it is."""
    closer = LoopCloser(small, loops=NEAR)
    drive(closer, street, range(ROUND_M + 30))
    results = drive(closer, street, range(120, 160), first=0)
    assert not any(result.accepted for result in results[:2])
    accepted = [(n, result) for n, result in enumerate(results) if result.accepted]
    assert len(accepted) > 20
    for n, result in accepted:
        assert abs(result.best.place_id - (20 + n)) <= 3


def test_the_drive_becomes_a_map(small: PlaceModel, street: Street) -> None:
    closer = LoopCloser(small, loops=NEAR)
    drive(closer, street, range(ROUND_M))
    place_map = closer.finish('street', 'wheels')
    assert len(place_map) == ROUND_M == len(closer)
    localizer = Localizer(small, place_map)
    found = [localizer.push(street.view(x, seed=7), x * SECOND, circle(x)) for x in range(50)]
    assert found[-1].accepted
    assert found[-1].best.place_id == 49


@pytest.mark.parametrize('change', [
    {'matching.top_k': 7}, {'acceptance.min_margin': 0.01}, {'sequence.length': 8}])
def test_settings_change_on_the_way(
        small: PlaceModel, street: Street, change: dict[str, float]) -> None:
    closer = LoopCloser(small, loops=NEAR)
    drive(closer, street, range(ROUND_M + 20))
    searchable = closer.searchable
    engine = small.preset.with_settings(change).engine
    closer.use_settings(engine)
    assert closer.searchable == searchable
    results = drive(closer, street, range(120, 180), first=120)
    assert best_places(results) == list(range(20, 80))
    assert results[-1].accepted
    assert closer.sequence_length == engine.sequence.length


def test_settings_that_stay_make_the_threshold_no_looser(
        small: PlaceModel, street: Street) -> None:
    closer = LoopCloser(small, loops=NEAR)
    drive(closer, street, range(180), posed=False)
    threshold = closer.threshold
    closer.use_settings(small.engine)
    # A few matches may have been learned from since the threshold was last set.
    assert closer.threshold == pytest.approx(threshold, abs=0.02)


def with_spacing(model: PlaceModel, every: str) -> EngineConfig:
    return model.preset.with_settings({'keyframes.every': every}).engine


def test_another_spacing_counts_at_once(small: PlaceModel, street: Street) -> None:
    closer = LoopCloser(small, with_spacing(small, '1m'), NEAR)
    drive(closer, street, range(50))
    closer.use_settings(with_spacing(small, '5m'))
    drive(closer, street, range(50, 100), first=50)
    assert len(closer) == 60
    assert closer.finish().manifest.spacing == '5m'


def test_a_spacing_in_metres_without_poses_changes_nothing(
        small: PlaceModel, street: Street) -> None:
    closer = LoopCloser(small, loops=NEAR)
    drive(closer, street, range(10), posed=False)
    with pytest.raises(InputError, match='a spacing of 5m needs poses'):
        closer.use_settings(with_spacing(small, '5m'))
    drive(closer, street, range(10, 20), first=10, posed=False)
    assert len(closer) == 20
    assert closer.finish().manifest.spacing == '1'


def test_a_drive_that_is_too_long_is_told_and_kept(small: PlaceModel, street: Street) -> None:
    closer = LoopCloser(small, loops=NEAR.model_copy(update={'max_places': 100}))
    drive(closer, street, range(100))
    with pytest.raises(InputError, match='has 100 places, the maximum allowed'):
        drive(closer, street, range(100, 101), first=100)
    assert len(closer.finish()) == 100


def test_the_same_drive_gives_the_same_loops(small: PlaceModel, street: Street) -> None:
    first, second = (drive(LoopCloser(small, loops=NEAR), street, range(150)) for _ in range(2))
    for ours, theirs in zip(first, second, strict=True):
        assert ours.reason is theirs.reason
        assert [dataclasses.astuple(item)[4:7] for item in ours.candidates] == [
            dataclasses.astuple(item)[4:7] for item in theirs.candidates]


# --- real and rendered streams -------------------------------------------------------------------


@pytest.fixture(scope='module')
def revisits(shared_data: Path) -> dict[int, int]:
    """For the frames of the corridor that were seen before: which frame, both from 0."""
    with (shared_data / 'rtabmap_loop' / 'revisit_pairs.csv').open() as file:
        rows = csv.reader(line for line in file if line[:1].isdigit())
        return {int(query) - 1: int(match) - 1 for query, match in rows}


def corridor_results(model: PlaceModel, folder: Path) -> list[LoopResult]:
    closer = LoopCloser(model)
    results = [closer.push(read_image(file), number * SECOND // 10)
               for number, file in enumerate(list_images(folder))]
    return [result for result in results if result is not None]


def is_right(query: int, place: int, revisits: dict[int, int]) -> bool:
    """Return whether a frame shows the place of a query, seen on any lap, within two frames."""
    truth = revisits[query]
    same = [truth, *(other for other, match in revisits.items() if abs(match - truth) <= 2)]
    return any(abs(place - other) <= 2 for other in same)


@pytest.mark.parametrize(('name', 'least'), [
    pytest.param('mobilenetv2-cells', 40, marks=pytest.mark.slow), ('hog', 36)])
def test_corridor(name: str, least: int, shared_data: Path, shared_weights: Path,
                  revisits: dict[int, int]) -> None:
    weights = None if name == 'hog' else (
        shared_weights / 'mobilenet_v2_imagenet_fp16.safetensors')
    results = corridor_results(load_model(name, 'cpu', weights), shared_data / 'rtabmap_loop')
    assert len(results) == 84
    asked = [result for result in results if result.place_id in revisits]
    right = [is_right(result.place_id, result.best.place_id, revisits) for result in asked]
    assert sum(right) >= least
    accepted = [result for result in results if result.accepted]
    assert len(accepted) >= 15
    for result in accepted:
        assert result.place_id in revisits, f'frame {result.place_id} was not seen before'
        assert is_right(result.place_id, result.best.place_id, revisits)
    # The blank wall of frame 46 looks like that of frame 19.
    trap = results[45]
    assert not (trap.accepted and abs(trap.best.place_id - 18) <= 2)


@pytest.mark.slow
def test_town_twice() -> None:
    """Two rounds of a rendered town, with odometry that drifts by two per cent."""
    town = Town(seed=5, blocks=(2, 1))
    tour = Drive(town, OVERCAST, Camera(width=160, height=120), rate=10.0, laps=1.6, seed=3,
                 lateral_offset=0.4)
    model = load_model('hog', 'cpu')
    closer = LoopCloser(model)
    positions, accepted, asked, right = [], 0, 0, 0
    for frame, driven in zip(tour, tour.distances, strict=True):
        odometry = frame.pose.copy()
        odometry[0] += 0.02 * driven
        result = closer.push_lazily(frame.read, frame.stamp_ns, odometry)
        if result is None or result.place_id is None:
            continue
        positions.append(frame.pose[:3])
        if result.best is None:
            continue
        apart = np.linalg.norm(positions[result.place_id] - positions[result.best.place_id])
        if driven > town.route_length + 20:
            asked += 1
            right += apart <= 5.0
        if result.accepted:
            accepted += 1
            assert apart <= 5.0, f'place {result.place_id} is not place {result.best.place_id}'
    assert asked > 100
    assert right >= 0.95 * asked
    assert accepted >= 0.5 * asked

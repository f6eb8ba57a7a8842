"""The engine from images to accepted places: real drives, a rendered town, and a paper street."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from image_sets import image_set
from sequence_search import METHODS, with_sequences
from streets import Street, small_model
from torch.utils.flop_counter import FlopCounterMode

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.errors import InputError, MapModelMismatchError, ModelError
from seqnet_ros.core.images import read_image
from seqnet_ros.core.poses import make_pose
from seqnet_ros.datasets.recordings.image_folder import list_images
from seqnet_ros.descriptors.describer import FrameDescriber
from seqnet_ros.evaluation.seqnet.drives import Drive as DescribedDrive
from seqnet_ros.evaluation.seqnet.methods import build_method, rerank, search
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.localization.map_search import prepare_map
from seqnet_ros.localization.result import MatchResult, Reason
from seqnet_ros.maps.mapper import FRAME_NUMBERS, Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.maps.search.hierarchical_search import HierarchicalSearch
from seqnet_ros.models.place_model import PlaceModel, build_model, load_model
from seqnet_ros.sequences.windows import trailing_windows
from seqnet_ros.training.seqnet.model import create_model
from seqnet_ros.training.seqnet.run import SeqNetRun, load_run
from seqnet_town import DAY, DUSK, Camera, Drive, Town

STEP_NS = 100_000_000
Images = Sequence[np.ndarray]


class Remembering:
    """A describer that describes every image once, however many tests push it."""

    def __init__(self, describer: FrameDescriber) -> None:
        self._describer = describer
        self._known: dict[bytes, np.ndarray] = {}
        self.name = describer.name
        self.dim = describer.dim
        self.weights_digest = describer.weights_digest
        self.sequence_tensors = describer.sequence_tensors

    def describe(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([self._one(image) for image in images])

    def _one(self, image: np.ndarray) -> np.ndarray:
        key = hashlib.blake2b(np.ascontiguousarray(image), digest_size=16).digest()
        if key not in self._known:
            self._known[key] = self._describer.describe([image])[0]
        return self._known[key]


def remembering(model: PlaceModel) -> PlaceModel:
    return dataclasses.replace(model, describer=Remembering(model.describer))


def settings_of(model: PlaceModel, length: int | None = None, **groups: dict) -> EngineConfig:
    """Return the model's settings with some of them replaced."""
    if length is not None:
        groups['sequence'] = {'length': length}
    return model.preset.with_settings({
        f'{group}.{name}': value for group, values in groups.items()
        for name, value in values.items()}).engine


def map_of(model: PlaceModel, images: Iterable[np.ndarray],
           settings: EngineConfig | None = None) -> PlaceMap:
    mapper = Mapper(model, settings)
    for number, image in enumerate(images):
        mapper.push(image, number * STEP_NS)
    return mapper.finish()


def localize(model: PlaceModel, place_map: PlaceMap, images: Iterable[np.ndarray],
             settings: EngineConfig | None = None) -> list[MatchResult]:
    localizer = Localizer(model, place_map, settings)
    results = (localizer.push(image, number * STEP_NS) for number, image in enumerate(images))
    return [result for result in results if result is not None]


def matched(results: Iterable[MatchResult]) -> list[MatchResult]:
    return [result for result in results if result.best is not None]


def place_errors(results: Iterable[MatchResult], truth: Callable[[int], int]) -> np.ndarray:
    """Return how many map frames each best place lies off."""
    return np.array([abs(result.best.place_id - truth(result.query))
                     for result in results if result.best is not None])


def without_times(results: Iterable[MatchResult]) -> list[tuple]:
    return [(result.query, result.stamp_ns, result.sequence_start_ns, result.reason,
             [(*dataclasses.astuple(candidate)[:2], candidate.pose.tolist(),
               candidate.descriptor_distance, candidate.sequence_distance, candidate.score)
              for candidate in result.candidates]) for result in results]


# --- Gardens Point: two walks along one path, day left and day right ---------------------------


def load_images(folder: Path) -> Images:
    return [read_image(file) for file in list_images(folder)]


@pytest.fixture(scope='module')
def walks(shared_data: Path) -> tuple[Images, Images]:
    folder = image_set(shared_data, 'gardens_point')
    return load_images(folder / 'day_left'), load_images(folder / 'day_right')


@pytest.fixture(scope='module')
def corridor(shared_data: Path) -> Images:
    return load_images(shared_data / 'rtabmap_loop')


@pytest.fixture(scope='module')
def hog() -> PlaceModel:
    return remembering(load_model('hog', 'cpu'))


@pytest.fixture(scope='module')
def campus(hog: PlaceModel, walks: tuple[Images, Images]) -> PlaceMap:
    return map_of(hog, walks[0])


@pytest.mark.parametrize(('method', 'length', 'recall'), [
    ('sequence', 5, .66), ('sequence', 10, .85), ('sequence', 20, .97), ('filter', 10, .97)])
def test_hog_finds_the_path(method: str, length: int, recall: float, hog: PlaceModel,
                            campus: PlaceMap, walks: tuple[Images, Images]) -> None:
    settings = settings_of(hog, length, localization={'method': method})
    results = matched(localize(hog, campus, walks[1], settings))
    assert len(results) > 185 - length
    errors = place_errors(results, int)
    assert (errors <= 2).mean() >= recall
    accepted = np.array([result.accepted for result in results])
    assert accepted.sum() >= 20
    assert (errors[accepted] <= 2).mean() >= .98


@pytest.mark.slow
def test_mobilenet_finds_the_path(
        walks: tuple[Images, Images], shared_weights: Path) -> None:
    model = remembering(load_model(
        'mobilenetv2-cells', 'cpu',
        weights=shared_weights / 'mobilenet_v2_imagenet_fp16.safetensors'))
    # Half the walk: describing takes nearly all of the time.
    place_map = map_of(model, walks[0][:100])
    for method, length, recall in (('sequence', 5, .90), ('sequence', 10, .95),
                                   ('filter', 10, .95)):
        settings = settings_of(model, length, localization={'method': method})
        results = matched(localize(model, place_map, walks[1][:100], settings))
        errors = place_errors(results, int)
        accepted = np.array([result.accepted for result in results])
        assert (errors <= 2).mean() >= recall
        assert accepted.mean() > .3
        assert (errors[accepted] <= 2).mean() >= .98


@pytest.mark.parametrize('method', METHODS)
def test_no_other_place_is_taken_for_the_path(
        method: str, hog: PlaceModel, campus: PlaceMap, corridor: Images) -> None:
    for length in (5, 10):
        settings = settings_of(hog, length, localization={'method': method})
        results = localize(hog, campus, corridor, settings)
        assert len(matched(results)) > 50
        assert not any(result.accepted for result in results)


@pytest.mark.parametrize(('method', 'length'), [
    ('sequence', 5), ('sequence', 10), ('filter', 10)])
def test_no_other_place_is_taken_for_a_short_corridor(
        method: str, length: int, hog: PlaceModel, walks: tuple[Images, Images],
        corridor: Images) -> None:
    settings = settings_of(hog, length, localization={'method': method})
    results = localize(hog, map_of(hog, corridor[:40]), walks[0], settings)
    assert len(matched(results)) > 150
    assert sum(result.accepted for result in results) <= 2


@pytest.mark.parametrize('method', METHODS)
def test_faster_query_is_found(method: str, hog: PlaceModel, campus: PlaceMap,
                               walks: tuple[Images, Images]) -> None:
    """Every fifth image is missing: the query drives 1.25 times as fast."""
    numbers = [number for number in range(200) if number % 5 != 4]
    results = matched(localize(
        hog, campus, [walks[1][number] for number in numbers],
        settings_of(hog, 10, localization={'method': method})))
    errors = place_errors(results, lambda query: numbers[query])
    accepted = np.array([result.accepted for result in results])
    assert (errors <= 2).mean() >= .80
    assert accepted.sum() >= 10
    assert (errors[accepted] <= 3).mean() >= .98


def test_same_input_gives_identical_results(hog: PlaceModel, campus: PlaceMap,
                                            walks: tuple[Images, Images]) -> None:
    first, second = (localize(hog, campus, walks[1][:80]) for _ in range(2))
    assert without_times(first) == without_times(second)
    assert map_of(hog, walks[0]).manifest == campus.manifest


# --- rtabmap: three laps of a corridor ---------------------------------------------------------


@pytest.mark.parametrize('method', METHODS)
def test_corridor_is_found_again(
        method: str, hog: PlaceModel, corridor: Images, shared_data: Path) -> None:
    """The first lap is the map; frame 46 looks at a blank wall like that of frame 19."""
    pairs = np.loadtxt(shared_data / 'rtabmap_loop' / 'revisit_pairs.csv', delimiter=',',
                       skiprows=2, dtype=int)
    truth = {query - 41: match - 1 for query, match in pairs if query >= 41 and match <= 40}
    settings = settings_of(hog, 5, localization={'method': method})
    place_map = map_of(hog, corridor[:40], settings)
    assert len(place_map) == 40
    results = [result for result in matched(localize(hog, place_map, corridor[40:], settings))
               if result.query in truth]
    errors = place_errors(results, truth.__getitem__)
    accepted = np.array([result.accepted for result in results])
    assert len(results) > 25
    assert (errors <= 2).mean() >= .85
    assert (errors[accepted] <= 3).all()
    for result in results:
        assert 0 <= result.best.sequence_distance <= 2
        assert 0 <= result.best.score <= 1
        assert 0 <= result.best.place_id < 40


# --- the rendered town: day is the map, dusk the query -----------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('seed', [3, 7, 11])
def test_town_at_dusk(seed: int, method: str) -> None:
    model, town, camera = load_model('hog', 'cpu'), Town(seed=seed), Camera(320, 240)
    mapper = Mapper(model)
    for frame in Drive(town, DAY, camera, length=120.0, rate=20.0, seed=1):
        mapper.push_lazily(frame.read, frame.stamp_ns, frame.pose)
    place_map = mapper.finish()
    assert place_map.manifest.spacing == '1m'
    assert 80 <= len(place_map) <= 121
    query = Drive(town, DUSK, camera, length=120.0, rate=20.0, seed=2, lateral_offset=0.5,
                  speed=7.0)
    localizer = Localizer(model, place_map, settings_of(model, localization={'method': method}))
    errors, accepted = [], []
    for frame in query:
        result = localizer.push_lazily(frame.read, frame.stamp_ns, frame.pose)
        if result is not None and result.best is not None:
            errors.append(np.linalg.norm(result.best.pose[:2] - frame.pose[:2]))
            accepted.append(result.accepted)
    errors, accepted = np.array(errors), np.array(accepted)
    assert len(errors) > 70
    assert accepted.any()
    # The filter names its best place while it still believes to be elsewhere; windows fill instead.
    found = errors if method == 'sequence' else errors[np.argmax(accepted):]
    assert len(found) > (70 if method == 'sequence' else 50)
    assert (found <= 5).mean() >= .9
    assert (errors[accepted] <= 5).mean() >= .98


# --- a paper street: cheap images for everything that needs no camera --------------------------


@pytest.fixture(scope='module')
def small() -> PlaceModel:
    return small_model()


@pytest.fixture(scope='module')
def street() -> Street:
    return Street(1)


@pytest.fixture(scope='module')
def street_map(small: PlaceModel, street: Street) -> PlaceMap:
    """One place a metre, with poses."""
    mapper = Mapper(small)
    for x in range(100):
        mapper.push(street.view(x), x * STEP_NS, make_pose(x, 3.0))
    return mapper.finish(source='street', pose_origin='exact')


def drive(localizer: Localizer, street: Street, places: Iterable[float],
          first: int = 0) -> list[MatchResult | None]:
    return [localizer.push(street.view(x, seed=2), (first + number) * STEP_NS, make_pose(x, -40.0))
            for number, x in enumerate(places)]


def test_result_of_a_drive(small: PlaceModel, street: Street, street_map: PlaceMap) -> None:
    localizer = Localizer(small, street_map)
    results = drive(localizer, street, range(20, 60))
    assert [result.query for result in results] == list(range(40))
    for number, result in enumerate(results):
        assert result.best.place_id == 20 + number
        assert result.best.stamp_ns == (20 + number) * STEP_NS
        assert result.best.pose.tolist() == make_pose(20 + number, 3.0).tolist()
        assert result.stamp_ns == number * STEP_NS
        assert result.sequence_start_ns == max(number - 4, 0) * STEP_NS
        assert result.describe_seconds > 0
        assert result.match_seconds > 0
        places = [candidate.place_id for candidate in result.candidates]
        assert len(set(places)) == len(places) <= 5
        assert all(0 <= candidate.score <= 1 for candidate in result.candidates)
        assert 0 <= result.off_map <= 1
        np.testing.assert_allclose(result.pose, make_pose(20 + number, 3.0), atol=1.0)
        assert np.linalg.eigvalsh(result.position_covariance).min() > 0
    assert not results[0].accepted
    assert {result.reason for result in results[9:]} == {Reason.ACCEPTED}


def test_result_of_a_drive_with_sequences(
        small: PlaceModel, street: Street, street_map: PlaceMap) -> None:
    localizer = Localizer(small, street_map, with_sequences(small.engine))
    results = drive(localizer, street, range(20, 60))
    assert [result.reason for result in results[:4]] == [Reason.BUFFER_FILLING] * 4
    assert all(result.candidates == () and result.best is None for result in results[:4])
    assert [result.query for result in results] == list(range(40))
    for number, result in enumerate(results[4:], start=4):
        assert result.best.place_id == 20 + number
        assert result.best.stamp_ns == (20 + number) * STEP_NS
        assert result.best.pose.tolist() == make_pose(20 + number, 3.0).tolist()
        assert result.stamp_ns == number * STEP_NS
        assert result.sequence_start_ns == (number - 4) * STEP_NS
        assert result.describe_seconds > 0
        assert result.match_seconds > 0
        assert 2 <= len({candidate.place_id for candidate in result.candidates}) <= 5
    # Ten places that agree, from the fifth image on.
    assert {result.reason for result in results[13:]} == {Reason.ACCEPTED}
    assert not any(result.accepted for result in results[:13])


def test_images_between_keyframes_are_not_read(
        small: PlaceModel, street: Street, street_map: PlaceMap) -> None:
    localizer, read = Localizer(small, street_map), []

    def reader(x: float) -> Callable[[], np.ndarray]:
        return lambda: read.append(x) or street.view(x)

    results = [localizer.push_lazily(reader(x), round(x * STEP_NS), make_pose(x, 0))
               for x in np.arange(0, 10, 0.25)]
    assert read == list(range(10))
    assert [result is not None for result in results] == [True, False, False, False] * 10


@pytest.mark.parametrize('posed', [True, False])
def test_standing_robot_adds_nothing(
        posed: bool, small: PlaceModel, street: Street, street_map: PlaceMap) -> None:
    moving, stopping = Localizer(small, street_map), Localizer(small, street_map)
    drive(moving, street, range(20, 40))
    drive(stopping, street, range(20, 40))
    for number in range(100):
        noisy = street.view(39, seed=2).copy()
        noisy[::7] ^= 1
        result = stopping.push(noisy, (20 + number) * STEP_NS,
                               make_pose(39, -40) if posed else None)
        if not posed or number > 10:
            assert result.reason is Reason.STATIONARY
        assert result is None or result.best is None
        assert stopping.buffer_fill == 5
    following = drive(moving, street, range(40, 50), first=20)
    resumed = drive(stopping, street, range(40, 50), first=120)
    assert ([(result.reason, result.best.sequence_distance) for result in resumed]
            == [(result.reason, result.best.sequence_distance) for result in following])


def test_reverse_drive(small: PlaceModel, street: Street, street_map: PlaceMap) -> None:
    """Backwards along the street, looking the same way as before."""
    backwards = range(80, 40, -1)
    reverse = settings_of(small, matching={'reverse': True})
    results = drive(Localizer(small, street_map, reverse), street, backwards)[4:]
    assert [result.best.place_id for result in results] == list(backwards)[4:]
    assert {result.reason for result in results[9:]} == {Reason.ACCEPTED}
    forward = drive(Localizer(small, street_map, reverse), street, range(40, 80))[4:]
    assert [result.best.place_id for result in forward] == list(range(44, 80))


def same_but_for_numbers(results: Iterable[MatchResult | None]) -> list[tuple]:
    return [row[1:] for row in without_times(result for result in results if result is not None)]


@pytest.mark.parametrize('bad', [
    lambda localizer: localizer.push(np.zeros((64, 64), np.uint8), 20 * STEP_NS),
    lambda localizer: localizer.push(np.zeros((0, 0, 3), np.uint8), 20 * STEP_NS),
    lambda localizer: localizer.push(np.zeros((64, 64, 3), np.float32), 20 * STEP_NS),
    lambda localizer: localizer.push(
        np.zeros((64, 64, 3), np.uint8), 20 * STEP_NS, np.full(7, np.nan)),
    lambda localizer: localizer.push(np.zeros((64, 64, 3), np.uint8), 20 * STEP_NS, np.zeros(7)),
    lambda localizer: localizer.push(np.zeros((64, 64, 3), np.uint8), 20 * STEP_NS, np.zeros(3)),
    lambda localizer: localizer.push_lazily(damaged, 20 * STEP_NS, make_pose(40, -40)),
])
def test_bad_input_leaves_the_sequence_unharmed(
        bad: Callable[[Localizer], None], small: PlaceModel, street: Street,
        street_map: PlaceMap) -> None:
    results = []
    for disturbed in (False, True):
        localizer = Localizer(small, street_map)
        drive(localizer, street, range(20, 40))
        if disturbed:
            with pytest.raises(InputError):
                bad(localizer)
        results.append(drive(localizer, street, range(40, 60), first=21))
    assert same_but_for_numbers(results[0]) == same_but_for_numbers(results[1])
    assert results[0][-1].accepted


def damaged() -> np.ndarray:
    raise InputError('the image is damaged')


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize(('stamp_ns', 'x'), [
    (10 * STEP_NS, 40), (19 * STEP_NS + 6_000_000_000, 40), (20 * STEP_NS, 90)])
def test_breaks_clear_the_sequence(stamp_ns: int, x: int, method: str, small: PlaceModel,
                                   street: Street, street_map: PlaceMap) -> None:
    """Time goes back, stops for six seconds, or the pose jumps by 51 m."""
    localizer = Localizer(small, street_map, settings_of(small, localization={'method': method}))
    assert drive(localizer, street, range(20, 40))[-1].accepted
    assert localizer.buffer_fill == 5
    result = localizer.push(street.view(x, seed=2), stamp_ns, make_pose(x, -40.0))
    assert not result.accepted
    assert method == 'filter' or result.reason is Reason.BUFFER_FILLING
    assert result.sequence_start_ns == stamp_ns
    assert localizer.buffer_fill == 1


@pytest.mark.parametrize('method', METHODS)
def test_late_images_do_not_clear_the_sequence(
        method: str, small: PlaceModel, street: Street, street_map: PlaceMap) -> None:
    """The drive is found as well with images between that are stamped 20 ms before the newest."""
    settings = settings_of(small, localization={'method': method})
    calm, jittery = (Localizer(small, street_map, settings) for _ in range(2))
    expected = drive(calm, street, range(20, 60))
    results = []
    for number, x in enumerate(range(20, 60)):
        results += drive(jittery, street, [x], first=number)
        if number % 8 == 7:
            late = number * STEP_NS - 20_000_000
            assert jittery.push(street.view(90, seed=2), late, make_pose(90.0, 0.0)) is None
    assert same_but_for_numbers(results) == same_but_for_numbers(expected)
    assert sum(result.accepted for result in results) > 20
    assert jittery.late_images == 5
    assert calm.late_images == 0


def test_reset_drops_what_was_believed(
        small: PlaceModel, street: Street, street_map: PlaceMap) -> None:
    """Afterwards places, reasons and beliefs are those of an engine that saw nothing before."""
    model = dataclasses.replace(small, config=small.config.model_copy(update={'centring': False}))
    place_map = Mapper(model)
    for x in range(100):
        place_map.push(street.view(x), x * STEP_NS, make_pose(x, 3.0))
    used, fresh = (Localizer(model, place_map.finish()) for _ in range(2))
    assert drive(used, street, range(60, 90))[-1].accepted
    used.reset()
    assert used.buffer_fill == 0
    again = drive(used, street, range(40, 60), first=30)
    expected = drive(fresh, street, range(40, 60), first=30)
    assert [result.best.place_id for result in again] == list(range(40, 60))
    assert not again[0].accepted
    assert [result.reason for result in again] == [result.reason for result in expected]
    np.testing.assert_allclose([result.off_map for result in again],
                               [result.off_map for result in expected], atol=1e-12)


def test_reset_clears_the_sequence(
        small: PlaceModel, street: Street, street_map: PlaceMap) -> None:
    localizer = Localizer(small, street_map, with_sequences(small.engine))
    drive(localizer, street, range(20, 40))
    localizer.reset()
    assert localizer.buffer_fill == 0
    results = drive(localizer, street, range(40, 60), first=20)
    assert [result.reason for result in results[:4]] == [Reason.BUFFER_FILLING] * 4
    assert not any(result.accepted for result in results[:10])
    assert results[-1].accepted


def test_poses_need_not_be_those_of_the_map(
        small: PlaceModel, street: Street, street_map: PlaceMap) -> None:
    """Only distances between odometry poses count, wherever odometry starts."""
    localizer = Localizer(small, street_map)
    results = [localizer.push(street.view(x, seed=2), x * STEP_NS, make_pose(-500, 7000 - x, 2, 1))
               for x in range(20, 60)]
    assert [result.best.place_id for result in results[4:]] == list(range(24, 60))


@pytest.mark.parametrize('length', [1, 3, 12])
def test_sequence_length_may_differ_from_the_map(
        length: int, small: PlaceModel, street: Street, street_map: PlaceMap) -> None:
    localizer = Localizer(small, street_map, with_sequences(settings_of(small, length)))
    assert localizer.sequence_length == length
    results = drive(localizer, street, range(20, 60))
    assert sum(result.reason is Reason.BUFFER_FILLING for result in results) == length - 1
    assert [result.best.place_id for result in results[length - 1:]] == list(
        range(19 + length, 60))


def test_another_map_can_be_used(small: PlaceModel, street: Street, street_map: PlaceMap) -> None:
    other_street = Street(9)
    other = map_of(small, [other_street.view(x) for x in range(60)])
    localizer = Localizer(small, other)
    drive(localizer, street, range(20, 40))
    localizer.use_maps([street_map])
    assert localizer.buffer_fill == 0  # places of the two maps are spaced differently
    assert drive(localizer, street, range(40, 60), first=20)[-1].accepted


def test_no_image_is_lost_when_the_map_changes(
        small: PlaceModel, street: Street, street_map: PlaceMap) -> None:
    localizer = Localizer(small, street_map)
    drive(localizer, street, range(20, 40))
    localizer.use_maps([street_map])
    assert localizer.buffer_fill == localizer.sequence_length
    results = drive(localizer, street, range(40, 60), first=20)
    assert [result.best.place_id for result in results] == list(range(40, 60))
    assert results[-1].accepted


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('change', [
    {'acceptance': {'min_margin': 0.5}}, {'matching': {'top_k': 3}}, {'sequence': {'length': 3}}])
def test_settings_change_on_the_way(method: str, small: PlaceModel, street: Street,
                                    street_map: PlaceMap,
                                    change: dict[str, dict[str, float]]) -> None:
    """Afterwards all is as with an engine that had these settings from the start."""
    before = settings_of(small, localization={'method': method})
    settings = settings_of(small, localization={'method': method}, **change)
    changed, fresh = (Localizer(small, street_map, engine) for engine in (before, settings))
    drive(changed, street, range(20, 50))
    drive(fresh, street, range(20, 50))
    changed.use_settings(settings)
    after, expected = (drive(engine, street, range(50, 70), first=30)
                       for engine in (changed, fresh))
    assert [item.candidates[0].place_id for item in after] == list(range(50, 70))
    for ours, theirs in zip(without_times(after), without_times(expected), strict=True):
        assert ours == theirs


def test_images_by_themselves_are_found(
        small: PlaceModel, street: Street, street_map: PlaceMap) -> None:
    localizer = Localizer(small, street_map)
    drive(localizer, street, range(20, 40))
    for count in (1, 3, 5, 9):
        found = localizer.find([street.view(x) for x in range(80 - count, 80)])
        assert found.best is not None
        assert found.best.place_id == 79
        assert found.accepted or count == 1
    elsewhere = Street(33)
    assert not localizer.find([elsewhere.view(x) for x in range(5)]).accepted
    assert drive(localizer, street, range(40, 60), first=20)[-1].best.place_id == 59
    with pytest.raises(InputError, match='no image to localize'):
        localizer.find([])


# --- several maps --------------------------------------------------------------------------------


def test_the_right_one_of_two_maps_is_found(small: PlaceModel, street: Street,
                                            street_map: PlaceMap) -> None:
    other_street = Street(9)
    other = map_of(small, [other_street.view(x) for x in range(60)])
    localizer = Localizer(small, [other, street_map], settings_of(small, keyframes={'every': '1'}))
    assert set(localizer.maps) == {other.manifest.map_id, street_map.manifest.map_id}
    for place_map, place, views in ((street_map, 39, street), (other, 39, other_street)):
        results = drive(localizer, views, range(20, 40))
        localizer.reset()
        best = results[-1].best
        assert (best.map_id, best.place_id) == (place_map.manifest.map_id, place)
        assert results[-1].accepted


@pytest.mark.parametrize('method', METHODS)
def test_a_rival_in_another_map_is_ambiguous_unless_maps_overlap(
        method: str, small: PlaceModel, street: Street, street_map: PlaceMap) -> None:
    again = map_of(small, [street.view(x) for x in range(100)])
    for overlapping in (False, True):
        localizer = Localizer(small, [street_map, again],
                              settings_of(small, keyframes={'every': '1'},
                                          localization={'method': method}),
                              overlapping=overlapping)
        last = drive(localizer, street, range(20, 50))[-1]
        assert last.best.place_id == 49
        assert last.reason is (Reason.ACCEPTED if overlapping else Reason.AMBIGUOUS)


def test_a_map_given_twice_is_refused(small: PlaceModel, street_map: PlaceMap) -> None:
    with pytest.raises(InputError, match='is given 2 times, expected different maps'):
        Localizer(small, [street_map, street_map])


def test_maps_and_settings_change_together_or_not_at_all(
        small: PlaceModel, street: Street, street_map: PlaceMap) -> None:
    localizer = Localizer(small, street_map)
    drive(localizer, street, range(20, 40))
    longer = small.engine.with_length(small.engine.sequence.length + 1)
    with pytest.raises(InputError):
        localizer.use_maps([street_map, street_map], longer)
    assert localizer.sequence_length == small.engine.sequence.length
    prepared = prepare_map(street_map, small, longer)
    localizer.use_maps([prepared], longer)
    assert localizer.sequence_length == longer.sequence.length
    assert localizer.map is prepared


def test_looking_for_images_keeps_the_map_for_one_other_length(
        small: PlaceModel, street: Street, street_map: PlaceMap) -> None:
    localizer = Localizer(small, street_map)
    for count in range(1, small.engine.sequence.length):
        localizer.find([street.view(20.0 + n) for n in range(count)])
    assert len(localizer._prepared) == 2


def test_a_localizer_needs_a_map(small: PlaceModel) -> None:
    with pytest.raises(InputError, match='no map to search'):
        Localizer(small, [])


def test_map_of_another_model_is_refused_and_the_old_one_stays(
        small: PlaceModel, street: Street, street_map: PlaceMap) -> None:
    other = build_model(parse_preset({
        'name': 'other', 'image': {'height': 64, 'width': 64},
        'frame': {'kind': 'hog', 'cell': 8, 'block': 16}, 'sequence': {'length': 5}}), 'cpu')
    other_map = map_of(other, [street.view(x) for x in range(20)])
    with pytest.raises(MapModelMismatchError, match=r"'other'.*'small'"):
        Localizer(small, other_map)
    localizer = Localizer(small, street_map)
    drive(localizer, street, range(20, 40))
    with pytest.raises(MapModelMismatchError):
        localizer.use_maps([other_map])
    assert localizer.map is street_map
    assert drive(localizer, street, range(40, 44), first=20)[-1].accepted


# --- mapping -----------------------------------------------------------------------------------


def test_map_with_poses(street_map: PlaceMap) -> None:
    manifest = street_map.manifest
    assert len(street_map) == 100
    assert manifest.spacing == '1m'
    assert manifest.pose_origin == 'exact'
    assert manifest.source == 'street'
    assert manifest.route_length_m == pytest.approx(99)
    assert street_map.poses[42].tolist() == make_pose(42, 3).tolist()
    assert (street_map.segment_starts == 0).all()
    assert manifest.calibration is not None


def test_map_without_poses_counts_frames(small: PlaceModel, street: Street) -> None:
    place_map = map_of(small, [street.view(x) for x in range(30)])
    assert place_map.manifest.spacing == '1'
    assert place_map.manifest.pose_origin == FRAME_NUMBERS
    assert (place_map.poses[:, 0] == np.arange(30)).all()
    assert (place_map.poses[:, 1:] == [0, 0, 0, 0, 0, 1]).all()
    assert place_map.manifest.route_length_m == pytest.approx(29)


def test_breaks_begin_new_segments(small: PlaceModel, street: Street) -> None:
    mapper = Mapper(small)
    stamp = 0
    for x in range(60):
        stamp += 7_000_000_000 if x == 20 else STEP_NS
        mapper.push(street.view(x), stamp, make_pose(x + (100 if x >= 40 else 0), 0))
    assert mapper.finish().segment_starts.tolist() == [0] * 20 + [20] * 20 + [40] * 20


def test_break_at_a_damaged_image_is_not_forgotten(small: PlaceModel, street: Street) -> None:
    mapper = Mapper(small)
    for x in range(10):
        mapper.push(street.view(x), x * STEP_NS, make_pose(x, 0))
    with pytest.raises(InputError, match='damaged'):
        mapper.push_lazily(damaged, 100 * STEP_NS, make_pose(10, 0))
    for x in range(10, 20):
        mapper.push(street.view(x), (91 + x) * STEP_NS, make_pose(x, 0))
    assert mapper.finish().segment_starts.tolist() == [0] * 10 + [10] * 10


@pytest.mark.parametrize('every', ['auto', '1', '0.1s'])
@pytest.mark.parametrize('first_posed', [True, False])
def test_poses_for_some_images_only_are_refused(
        every: str, first_posed: bool, small: PlaceModel, street: Street) -> None:
    mapper = Mapper(small, settings_of(small, keyframes={'every': every}))
    for x in range(10):
        mapper.push(street.view(x), x * STEP_NS, make_pose(x, 0) if first_posed else None)
    with pytest.raises(InputError, match='expected a pose for every image or for none'):
        mapper.push(street.view(10), 10 * STEP_NS, None if first_posed else make_pose(10, 0))
    assert len(mapper) == 10
    assert len(mapper.finish()) == 10


def test_spacing_in_metres_needs_poses(small: PlaceModel, street: Street) -> None:
    mapper = Mapper(small, settings_of(small, keyframes={'every': '2m'}))
    with pytest.raises(InputError, match='a spacing of 2m needs poses'):
        mapper.push(street.view(0), 0)
    assert mapper.push(street.view(0), 0, make_pose(0, 0))


def test_map_needs_a_place(small: PlaceModel) -> None:
    with pytest.raises(InputError, match='no image became a place'):
        Mapper(small).finish()


def test_mapping_may_go_on_after_a_map(small: PlaceModel, street: Street) -> None:
    mapper = Mapper(small)
    for x in range(20):
        mapper.push(street.view(x), x * STEP_NS)
    assert len(mapper.finish()) == 20
    for x in range(20, 30):
        mapper.push(street.view(x), x * STEP_NS)
    longer = mapper.finish()
    assert longer.manifest == map_of(small, [street.view(x) for x in range(30)]).manifest


def test_standing_robot_adds_no_places(small: PlaceModel, street: Street) -> None:
    """Without poses too: identical places would make each other ambiguous.

    Only for the place filter a spacing in images counts all of them.
    """
    mapper = Mapper(small, with_sequences(small.engine))
    for number in range(60):
        x = min(number, 20) if number < 40 else number - 20
        mapper.push(street.view(x), number * STEP_NS)
    assert len(mapper) <= 42


@pytest.mark.parametrize('method', METHODS)
def test_empty_pushes(
        method: str, small: PlaceModel, street: Street, street_map: PlaceMap) -> None:
    """A first image alone: no result is a match, nothing fails."""
    localizer = Localizer(small, street_map, settings_of(small, localization={'method': method}))
    assert localizer.buffer_fill == 0
    assert localizer.threshold < 1.5
    result = localizer.push(street.view(0), 0)
    assert method == 'filter' or result.reason is Reason.BUFFER_FILLING
    assert not result.accepted


# --- SeqNet and its hierarchical search, live ----------------------------------------------------


class Recorded:
    """A describer that looks descriptors up: an image is the number of its row."""

    name = 'recorded'
    weights_digest = ''
    sequence_tensors: ClassVar = {}

    def __init__(self, rows: np.ndarray) -> None:
        self._rows = rows
        self.dim = rows.shape[1]

    def describe(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([self._rows[number_of(image)] for image in images])


def image_of(number: int) -> np.ndarray:
    return np.array([[[number >> 8, number & 255, 0]]], dtype=np.uint8)


def number_of(image: np.ndarray) -> int:
    return int(image[0, 0, 0]) * 256 + int(image[0, 0, 1])


class Trailing(DescribedDrive):
    """A drive whose windows end at their frame, as they do live."""

    def windows(self, length: int, speed: float = 1.0) -> np.ndarray:
        return trailing_windows(self.bounds[:, 0], length)


@dataclasses.dataclass(frozen=True)
class Published:
    """Two drives of 64-d descriptors, and SeqNets that published code has trained on them."""

    reference: np.ndarray
    query: np.ndarray
    s5: SeqNetRun
    s1: SeqNetRun

    def model(self, folder: Path, matching: bool) -> PlaceModel:
        """Return the model of both runs, or of the first alone; it describes either drive."""
        frames = folder / 'frames.yaml'
        frames.write_text('image: {height: 64, width: 64}\n'
                          'frame: {kind: hog, cell: 32, block: 64, bins: 16}\n')
        create_model(self.s5, frames, folder / 'mine.yaml', self.s1 if matching else None)
        rows = np.concatenate([self.reference, self.query])
        return dataclasses.replace(
            load_model(folder / 'mine.yaml', 'cpu'), describer=Recorded(rows))

    def settings(self, model: PlaceModel, length: int) -> EngineConfig:
        """Return settings under which the engine searches as the paper does."""
        return settings_of(model, length, keyframes={'every': '1', 'min_change': 0},
                           matching={'speed_steps': 1}, localization={'method': 'sequence'})

    def map(self, model: PlaceModel, length: int) -> PlaceMap:
        images = map(image_of, range(len(self.reference)))
        return map_of(model, images, self.settings(model, length))

    def localize(self, model: PlaceModel, place_map: PlaceMap, length: int) -> list[MatchResult]:
        first = len(self.reference)
        images = map(image_of, range(first, first + len(self.query)))
        return localize(model, place_map, images, self.settings(model, length))


@pytest.fixture(scope='module')
def published(shared_golden: Path) -> Published:
    folder = shared_golden / 'seqnet'
    return Published(np.load(folder / 'ref.npy'), np.load(folder / 'query.npy'),
                     load_run(folder / 'runs' / 'seqnet_l5_w3'),
                     load_run(folder / 'runs' / 's1_l1_w1'))


@pytest.mark.parametrize('matching', [True, False])
@pytest.mark.parametrize(('length', 'map_length'), [(5, 5), (8, 8), (8, 5)])
def test_live_search_is_that_of_the_paper(
        matching: bool, length: int, map_length: int, published: Published,
        tmp_path: Path) -> None:
    model = published.model(tmp_path, matching)
    place_map = published.map(model, map_length)
    results = published.localize(model, place_map, length)

    reference, query = Trailing.of(published.reference), Trailing.of(published.query)
    coarse = search(build_method('seqnet', length, published.s5.module), reference, query, 20)
    method = build_method('s1+seqmatch', length, published.s1.module) if matching else (
        build_method('single+seqmatch', length))
    fine = rerank(method, reference, query, coarse.indices)

    assert [result.best is None for result in results] == [
        number < length - 1 for number in range(len(published.query))]
    for result in matched(results):
        best, row = result.best, result.query
        assert best.place_id == fine.indices[row, 0]
        assert best.sequence_distance == pytest.approx(fine.distances[row, 0], abs=1e-5)
        stage_one = np.flatnonzero(coarse.indices[row] == best.place_id)[0]
        assert best.descriptor_distance == pytest.approx(
            coarse.distances[row, stage_one], abs=1e-4)


@pytest.mark.parametrize('length', [3, 5, 20])
def test_every_frame_costs_one_product_of_each_kind(
        length: int, published: Published, tmp_path: Path) -> None:
    """However long the sequence is: a frame is projected once, and SeqNet takes the mean first."""
    model = published.model(tmp_path, matching=True)
    place_map = published.map(model, length)
    calls = []
    for name, module in (('seqnet', model.aggregator), ('projection', model.projection)):
        module.register_forward_hook(
            lambda _, inputs, __, name=name: calls.append((name, tuple(inputs[0].shape))))
    localizer = Localizer(model, place_map, published.settings(model, length))
    assert 'projection' not in dict(calls)  # the map holds its frames as they are compared
    calls.clear()
    counter = FlopCounterMode(display=False)
    for number in range(40):
        with counter:
            localizer.push(image_of(300 + number), number * STEP_NS)
        full = number >= length - 1
        assert calls == [('projection', (1, 1, 64))] + full * [('seqnet', (1, length, 64))]
        assert counter.get_total_flops() == 2 * 64 * 64 + full * 2 * 3 * 64 * 48
        calls.clear()


def test_threshold_speaks_of_projected_frames(published: Published, tmp_path: Path) -> None:
    model = published.model(tmp_path, matching=True)
    place_map = published.map(model, 5)
    calibration = place_map.manifest.calibration
    frames = place_map.projected.astype(np.float64)
    assert len(calibration.queries) > 200
    for query, place, found in list(zip(calibration.queries, calibration.places,
                                        calibration.distances, strict=True))[10::25]:
        rows = np.arange(5)
        distances = np.linalg.norm(frames[np.maximum(query - rows, 0)]
                                   - frames[np.maximum(place - rows, 0)], axis=1)
        assert found == pytest.approx(distances.mean(), abs=1e-5)
    results = published.localize(model, place_map, 5)
    threshold = Localizer(model, place_map, published.settings(model, 5)).threshold
    accepted = [result for result in results if result.accepted]
    assert len(accepted) > 20
    assert all(result.best.sequence_distance <= threshold for result in accepted)
    assert any(result.best.sequence_distance > threshold for result in matched(results))


def test_search_projects_what_was_not_projected_before(
        published: Published, tmp_path: Path) -> None:
    model = published.model(tmp_path, matching=True)
    place_map = published.map(model, 5)
    search_in = HierarchicalSearch(model, place_map, model.engine.matching)
    window = np.asarray(place_map.frames[40:45])
    alone = search_in.search(window)
    given = search_in.search(window, projected=np.asarray(place_map.projected[40:45]))
    assert alone.places.tolist() == given.places.tolist()
    assert alone.places[0] == 44
    np.testing.assert_allclose(alone.sequence_distances, given.sequence_distances, atol=1e-3)


def test_a_kernel_longer_than_the_sequence_is_refused_at_once(
        published: Published, tmp_path: Path) -> None:
    model = published.model(tmp_path, matching=True)
    with pytest.raises(ModelError, match='2 frames is shorter than the SeqNet kernel of 3'):
        settings_of(model, 2)

"""Matches that contradict odometry wait until others confirm them."""

import pytest
from sequence_search import METHODS
from streets import Street, small_model

from seqnet_ros.config.engine import OdometryGateConfig
from seqnet_ros.core.poses import make_pose
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.localization.odometry_gate import OdometryGate
from seqnet_ros.localization.result import Reason
from seqnet_ros.maps.mapper import Mapper


def passes(gate: OdometryGate, found: float, driven: float, map_id: str = 'town') -> bool:
    """Return whether a match at x passes, where odometry says how far the robot has driven."""
    odometry = make_pose(driven, 0)
    gate.move(odometry)
    return gate.passes(map_id, make_pose(found, 0), odometry)


@pytest.fixture
def gate() -> OdometryGate:
    return OdometryGate(OdometryGateConfig(max_drift=0.1, confirmations=3))


def test_matches_where_odometry_leads_pass(gate):
    assert passes(gate, 100, 0)
    assert passes(gate, 109, 0.5)
    # 10 m and a tenth of the way from 109 + 50.
    gate.move(make_pose(20, 0))
    assert passes(gate, 173.5, 50.5)


def test_a_single_jump_is_held_back_and_forgotten(gate):
    assert passes(gate, 100, 0)
    assert not passes(gate, 300, 1)
    assert passes(gate, 102, 2)
    assert not passes(gate, 300, 3)
    assert not passes(gate, 301, 4)
    assert passes(gate, 105, 5)


def test_matches_that_agree_with_one_another_are_believed(gate):
    assert passes(gate, 100, 0)
    assert not passes(gate, 300, 1)
    assert not passes(gate, 301, 2)
    assert passes(gate, 302, 3)
    assert passes(gate, 303, 4)
    assert not passes(gate, 105, 5)


def test_matches_that_disagree_do_not_confirm_one_another(gate):
    assert passes(gate, 100, 0)
    for driven, found in enumerate((300, 500, 300, 500, 700), 1):
        assert not passes(gate, found, driven)


def test_without_odometry_everything_passes(gate):
    for found in (100, 300, 700):
        gate.move(None)
        assert gate.passes('town', make_pose(found, 0), None)
    assert passes(gate, 100, 0)
    gate.move(None)
    assert passes(gate, 300, 1)


def test_each_map_is_judged_by_itself(gate):
    assert passes(gate, 100, 0)
    assert passes(gate, 300, 1, 'village')
    assert passes(gate, 102, 2)
    assert not passes(gate, 100, 3, 'village')


def test_a_break_forgets_and_the_rule_can_be_switched_off(gate):
    assert passes(gate, 100, 0)
    gate.forget()
    assert passes(gate, 300, 1)
    gate.use(OdometryGateConfig(max_drift=0.0), any_heading=False)
    assert passes(gate, 700, 2)


def test_a_robot_that_may_face_either_way_is_judged_by_its_way_alone(gate):
    assert passes(gate, 100, 0)
    for x in range(1, 40):
        gate.move(make_pose(x, 0))
    assert not gate.passes('town', make_pose(60, 0), make_pose(39, 0))
    either = OdometryGate(OdometryGateConfig(), any_heading=True)
    assert passes(either, 100, 0)
    for x in range(1, 40):
        either.move(make_pose(x, 0))
    assert either.passes('town', make_pose(60, 0), make_pose(39, 0))
    assert not either.passes('town', make_pose(0, 0), make_pose(39, 0))


# In the localizer.


@pytest.mark.parametrize('method', METHODS)
def test_a_localizer_holds_back_what_odometry_contradicts(method):
    street, model = Street(3), small_model()
    mapper = Mapper(model)
    for x in range(110):
        mapper.push(street.view(x), x * 10**9, make_pose(x, 0))
    place_map = mapper.finish()

    def drive(posed: bool, **settings: object) -> list[Reason]:
        """Drive from 10 to 39, and from there go on at 70, which odometry does not know."""
        engine = model.preset.with_settings({
            'localization.method': method, 'acceptance.agreement': 2,
            **{f'odometry_gate.{name}': value for name, value in settings.items()}}).engine
        localizer = Localizer(model, place_map, engine)
        places = [*range(10, 40), *range(70, 95)]
        results = [localizer.push(street.view(x, seed=1), number * 10**9,
                                  make_pose(number, 5) if posed else None)
                   for number, x in enumerate(places)]
        return [result.reason for result in results if result is not None]

    reasons = drive(posed=True)
    assert Reason.ACCEPTED in reasons[:30]
    assert Reason.ODOMETRY not in reasons[:30]
    first = reasons.index(Reason.ODOMETRY)
    assert reasons[first:first + 3] == [Reason.ODOMETRY, Reason.ODOMETRY, Reason.ACCEPTED]
    assert reasons[-5:] == [Reason.ACCEPTED] * 5
    assert drive(posed=True, max_drift=0.0)[first] is Reason.ACCEPTED
    assert drive(posed=True, confirmations=1)[first] is Reason.ACCEPTED
    assert Reason.ODOMETRY not in drive(posed=False)

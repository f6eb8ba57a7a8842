"""ROS parameters made from settings classes: names, types, descriptions, ranges and checks."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.timer import Timer

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.config.preset import Preset
from seqnet_ros.config.settings import Settings, describe_validation_error
from seqnet_ros.core.errors import InputError, ModelError, SeqnetRosError
from seqnet_ros.nodes.settings import APPLIED, NodeSettings

_INT64_MAX = 2**63 - 1
_PARAMETER_TYPES = {bool: Parameter.Type.BOOL, int: Parameter.Type.INTEGER,
                    float: Parameter.Type.DOUBLE, str: Parameter.Type.STRING}

AnySettings = TypeVar('AnySettings', bound=Settings)


@dataclass(frozen=True)
class Declared:
    """One parameter: the field of a settings class that it sets."""

    group: str
    field: str
    info: FieldInfo
    usually_applied: str

    @property
    def name(self) -> str:
        """The parameter's name, e.g. ``matching.top_k``."""
        return f'{self.group}.{self.field}' if self.group else self.field

    @property
    def applied(self) -> str:
        """When a new value counts: 'start', 'configure', 'activate' or 'live'."""
        extra = self.info.json_schema_extra
        if isinstance(extra, dict) and APPLIED in extra:
            return str(extra[APPLIED])
        return self.usually_applied


class NodeParameters:
    """Declares a node's parameters and reads them back as checked settings.

    The engine's parameters start with the values of the model or map that the node starts with,
    so that ``ros2 param get`` shows what is in use. When another one is configured, those still at
    the old one's values follow.

    Args:
        node: whose parameters they are.
        settings: the node's own settings with their defaults.
        engine: sections of `EngineConfig` that can be set, e.g. ``('sequence', 'matching')``. They
            are applied at once, or when configuring where the node cannot change them while it is
            configured.
        own: further settings of the node by the names of their groups.
        phase: returns the node's lifecycle state: 'unconfigured', 'inactive' or 'active'.
        defaults: returns the model and the settings that the engine's parameters start from.
        changed: called after engine parameters were set from outside; None where they are
            applied when configuring.

    Raises:
        rclpy.exceptions.ParameterException: a value given at the start has the wrong type or is
            out of range.
    """

    def __init__(self, node: Node, settings: NodeSettings, engine: tuple[str, ...],
                 own: dict[str, Settings], phase: Callable[[], str],
                 defaults: Callable[[Any], Preset],
                 changed: Callable[[], None] | None = None) -> None:
        self._node = node
        self._phase = phase
        self._changed = changed
        self._waiting: Timer | None = None
        self._following = False
        self._groups: dict[str, Settings] = {'': settings, **own}
        self._engine = engine
        self._declared: dict[str, Declared] = {}
        for group in self._groups:
            self._declare(group, 'configure')
        try:
            self._preset = defaults(self.read())
        except SeqnetRosError:  # reported when the node is configured
            self._preset = Preset()
        for group in engine:
            self._groups[group] = getattr(self._preset.engine, group)
            self._declare(group, 'configure' if changed is None else 'live')
        # Humble and Iron do not call back once values are in place.
        self._calls_back = hasattr(node, 'add_post_set_parameters_callback')
        if self._calls_back:
            node.add_post_set_parameters_callback(self._note_change)
        node.add_on_set_parameters_callback(self._judge)

    def _declare(self, group: str, applied: str) -> None:
        settings = self._groups[group]
        for field, info in type(settings).model_fields.items():
            declared = Declared(group, field, info, applied)
            self._declared[declared.name] = declared
            self._node.declare_parameter(
                declared.name, getattr(settings, field), make_descriptor(declared))

    def _value(self, name: str) -> Any:
        return self._node.get_parameter(name).value

    @property
    def declared(self) -> tuple[Declared, ...]:
        """All parameters declared here."""
        return tuple(self._declared.values())

    def defaults(self, group: str) -> Settings:
        """Return the defaults of a group of parameters: the model's, or the node's own for ''."""
        return self._groups[group]

    def read(self, group: str = '') -> Any:
        """Return the node's own settings, or another group of them.

        Raises:
            InputError: the values contradict each other; the message names them.
        """
        return self._checked(group, {})

    def read_engine(self, preset: Preset) -> EngineConfig:
        """Return the settings of a model or map with the engine's parameters in place of them.

        Parameters that were not set take the values of this preset.

        Raises:
            InputError: the values contradict each other; the message names them.
        """
        self._follow(preset)
        return self._checked_engine(preset, {})

    def preview_engine(self, preset: Preset) -> EngineConfig:
        """Return what `read_engine` would, and leave the parameters as they are.

        Raises:
            InputError: the values contradict each other; the message names them.
        """
        followed: dict[str, dict[str, Any]] = {}
        for declared, value in self._followers(preset.engine):
            followed.setdefault(declared.group, {})[declared.field] = value
        return self._checked_engine(preset, followed)

    def _followers(self, engine: EngineConfig) -> list[tuple[Declared, Any]]:
        """Return the parameters that were not set, with their values from these settings."""
        changed = []
        for declared in self._declared.values():
            if declared.group not in self._engine:
                continue
            old = getattr(getattr(self._preset.engine, declared.group), declared.field)
            new = getattr(getattr(engine, declared.group), declared.field)
            if new != old and self._value(declared.name) == old:
                changed.append((declared, new))
        return changed

    def _follow(self, preset: Preset) -> None:
        changed = [_make_parameter(*follower) for follower in self._followers(preset.engine)]
        self._preset = preset
        self._groups.update({group: getattr(preset.engine, group) for group in self._engine})
        self._following = True
        try:
            result = self._node.set_parameters_atomically(changed)
        finally:
            self._following = False
        if not result.successful:
            raise InputError(f'the settings of model {preset.model.name} are invalid: '
                             f'{result.reason}')

    def _checked(self, group: str, replaced: dict[str, Any]) -> Settings:
        """Return a group of settings as set, with some values replaced."""
        values = {declared.field: self._value(declared.name)
                  for declared in self._declared.values() if declared.group == group}
        try:
            return type(self._groups[group]).model_validate({**values, **replaced})
        except ValidationError as error:
            raise InputError(f'parameter {describe_validation_error(error, group)}') from error

    def _checked_engine(self, preset: Preset, replaced: dict[str, dict[str, Any]]) -> EngineConfig:
        """Return the engine's settings as set, with some values replaced, checked together."""
        engine = preset.engine.model_copy(update={
            group: self._checked(group, replaced.get(group, {})) for group in self._engine})
        try:
            return Preset(preset.model, engine).engine
        except ModelError as error:
            raise InputError(f'parameter {error}') from error

    def _judge(self, parameters: list[Parameter]) -> SetParametersResult:
        """Accept or reject new values; nothing is applied here."""
        replaced: dict[str, dict[str, Any]] = {}
        for parameter in parameters:
            declared = self._declared.get(parameter.name)
            if declared is None:
                continue
            refusal = self._refusal(declared, parameter.value)
            if refusal:
                return SetParametersResult(successful=False, reason=refusal)
            replaced.setdefault(declared.group, {})[declared.field] = parameter.value
        try:
            for group, values in replaced.items():
                self._checked(group, values)
            if not replaced.keys().isdisjoint(self._engine):
                self._checked_engine(self._preset, replaced)
        except InputError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if not self._calls_back:
            # A timer that fires once comes after this callback, when the values are in place.
            self._waiting = self._waiting or self._node.create_timer(
                0.0, lambda: self._note_change(parameters),
                clock=Clock(clock_type=ClockType.STEADY_TIME))
        return SetParametersResult(successful=True)

    def _note_change(self, parameters: list[Parameter]) -> None:
        if self._waiting is not None:
            self._node.destroy_timer(self._waiting)
            self._waiting = None
        names = {parameter.name for parameter in parameters}
        of_engine = any(item.group in self._engine for item in self._declared.values()
                        if item.name in names)
        if of_engine and self._changed is not None and not self._following:
            self._changed()

    def _refusal(self, declared: Declared, value: Any) -> str:
        """Return why a parameter may not change in this state; empty when it may."""
        phase = self._phase()
        if self._following or value == self._value(declared.name):
            return ''
        if declared.applied == 'configure' and phase != 'unconfigured':
            return (f'{declared.name} is applied when the node is configured, but it is {phase}: '
                    'clean it up first')
        if declared.applied == 'activate' and phase == 'active':
            return (f'{declared.name} is applied when the node is activated, but it is active: '
                    'deactivate it first')
        return ''


def declare_settings(node: Node, settings: AnySettings) -> AnySettings:
    """Declare parameters that are set at the start only, and return what they are set to.

    Args:
        node: whose parameters they are.
        settings: their defaults.

    Raises:
        InputError: the values contradict each other; the message names them.
        rclpy.exceptions.ParameterException: a value has the wrong type or is out of range.
    """
    values = {}
    for field, info in type(settings).model_fields.items():
        descriptor = make_descriptor(Declared('', field, info, 'start'))
        values[field] = node.declare_parameter(field, getattr(settings, field), descriptor).value
    try:
        return type(settings).model_validate(values)
    except ValidationError as error:
        raise InputError(f'parameter {describe_validation_error(error)}') from error


def make_descriptor(declared: Declared) -> ParameterDescriptor:
    """Return the ROS descriptor of a parameter: description, range and further constraints."""
    annotation = declared.info.annotation
    kind = str if get_origin(annotation) is Literal else annotation
    descriptor = ParameterDescriptor(
        name=declared.name, description=declared.info.description or '',
        additional_constraints=_constraints(declared.info), read_only=declared.applied == 'start')
    descriptor.type = _PARAMETER_TYPES[kind].value  # type: ignore[index]
    low, high = _bound(declared.info, 'ge', 'gt'), _bound(declared.info, 'le', 'lt')
    if low is None and high is None:
        return descriptor
    if kind is int:
        descriptor.integer_range = [IntegerRange(
            from_value=-_INT64_MAX if low is None else int(low),
            to_value=_INT64_MAX if high is None else int(high), step=0)]
    else:
        descriptor.floating_point_range = [FloatingPointRange(
            from_value=-sys.float_info.max if low is None else float(low),
            to_value=sys.float_info.max if high is None else float(high), step=0.0)]
    return descriptor


def _constraints(info: FieldInfo) -> str:
    """Return what a range cannot express: choices, and bounds that are themselves excluded."""
    if get_origin(info.annotation) is Literal:
        return 'one of: ' + ', '.join(map(str, get_args(info.annotation)))
    parts = []
    if (low := _bound(info, 'gt')) is not None:
        parts.append(f'greater than {low:g}')
    if (high := _bound(info, 'lt')) is not None:
        parts.append(f'less than {high:g}')
    return ', '.join(parts)


def _bound(info: FieldInfo, *names: str) -> float | None:
    """Return the first bound of one of these kinds ('ge', 'gt', 'le', 'lt') that a field has."""
    for item in info.metadata:
        for name in names:
            if getattr(item, name, None) is not None:
                return getattr(item, name)
    return None


def _make_parameter(declared: Declared, value: Any) -> Parameter:
    return Parameter(declared.name, _PARAMETER_TYPES[type(value)], value)

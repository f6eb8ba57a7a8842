"""Content of a model file (``models/*.yaml``): a model and its default settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from seqnet_ros.config.engine import EngineConfig, rule_fields, setting_fields
from seqnet_ros.config.model import ModelConfig
from seqnet_ros.config.settings import describe_validation_error
from seqnet_ros.core.errors import InputError, ModelError

Document = dict[str, Any]


@dataclass(frozen=True)
class Preset:
    """A model and the settings of the engine that go with it.

    Attributes:
        model: what identifies its descriptors.
        engine: the settings of the engine.
        license: license under which its weights are published, where it is known. Like `paper` it
            is stated in model files only, not in maps.
        paper: the paper that describes it, where there is one.

    Raises:
        ModelError: the model cannot describe sequences of this length.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    license: str | None = None
    paper: str | None = None

    def __post_init__(self) -> None:
        """Check that the model can describe sequences of this length."""
        try:
            self.model.sequence.check_length(self.engine.sequence.length)
        except ValueError as error:
            raise ModelError(f'sequence.length: {error}') from error

    def document(self, *, exclude_unset: bool = False) -> Document:
        """Return the content of a model file, as JSON values.

        Args:
            exclude_unset: omit the fields that were not given.
        """
        origins = {'license': self.license, 'paper': self.paper}
        return {**join_document(self.model.model_dump(mode='json', exclude_unset=exclude_unset),
                                self.engine.model_dump(mode='json', exclude_unset=exclude_unset)),
                **{name: text for name, text in origins.items() if text is not None}}

    def with_settings(self, values: Mapping[str, Any]) -> 'Preset':
        """Return the same model with some settings of the engine replaced.

        A setting of `geometry` turns the geometric check on where there is none, and one of a rule
        in `rules` that rule.

        Args:
            values: by dotted name, e.g. ``{'matching.top_k': 50}``.

        Raises:
            InputError: a setting is unknown.
            ModelError: a value is out of range, or contradicts the others.
        """
        known = setting_fields()
        document = self.engine.model_dump()
        for name, value in values.items():
            *path, setting = name.split('.')
            if path[:1] == ['rules'] and len(path) == 2:
                known = {**known, **rule_fields(path[1])}
            if name not in known:
                raise InputError(_unknown(name, list(known)))
            section = document
            for part in path:
                section = section.setdefault(part, {})
            # A spacing in images is text in the model file and looks like a number here.
            text = known[name].annotation is str
            section[setting] = str(value) if text else value
        try:
            return replace(self, engine=EngineConfig.model_validate(document))
        except ValidationError as error:
            raise ModelError(f'settings: {describe_validation_error(error)}') from error
        except ModelError as error:
            raise ModelError(f'settings: {error}') from error


def parse_preset(document: Mapping[str, Any], origin: str = 'the model') -> Preset:
    """Check the content of a model file.

    Args:
        document: the content.
        origin: beginning of the messages.

    Raises:
        ModelError: a field is unknown, missing or out of range; the message names it.
    """
    origins = {name: document[name] for name in ('license', 'paper') if name in document}
    model, engine = split_document({
        name: value for name, value in document.items() if name not in origins})
    problems = [f'{name}: expected text (found {value!r})' for name, value in origins.items()
                if not isinstance(value, str)]
    try:
        parsed_model = ModelConfig.model_validate(model)
    except ValidationError as error:
        problems.append(describe_validation_error(error))
    try:
        parsed_engine = EngineConfig.model_validate(engine)
    except ValidationError as error:
        problems.append(describe_validation_error(error))
    if problems:
        raise ModelError(f'{origin}: {"; ".join(problems)}')
    try:
        return Preset(parsed_model, parsed_engine, **origins)
    except ModelError as error:
        raise ModelError(f'{origin}: {error}') from error


def split_document(document: Mapping[str, Any]) -> tuple[Document, Document]:
    """Return the fields of `ModelConfig` and those of `EngineConfig` of a model file.

    They share the section ``sequence``. Unknown fields stay with the model, which rejects them.
    """
    tuned = EngineConfig.model_fields.keys() - {'sequence'}
    model = {name: value for name, value in document.items() if name not in tuned}
    engine = {name: value for name, value in document.items() if name in tuned}
    sequence = document.get('sequence')
    if isinstance(sequence, Mapping) and 'length' in sequence:
        model['sequence'] = {name: sequence[name] for name in sequence if name != 'length'}
        engine['sequence'] = {'length': sequence['length']}
    return model, engine


def join_document(model: Document, engine: Document) -> Document:
    """Return the content of a model file, given its two parts: the inverse of `split_document`."""
    document = {**model, **engine}
    if 'sequence' in model and 'sequence' in engine:
        document['sequence'] = {**engine['sequence'], **model['sequence']}
    return document


def _unknown(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    expected = close[0] if close else f'one of: {", ".join(known)}'
    return f'setting {name!r} is unknown, expected {expected}'

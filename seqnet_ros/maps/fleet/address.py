"""Addresses of maps on a server: ``milvus://host:port/collection``."""

import os
import re
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path

from seqnet_ros.core.errors import InputError, shortened

PORT = 19530
CREDENTIALS = 'SEQNET_ROS_MILVUS_CREDENTIALS'
"""Variable of the environment with ``user:password``."""
CERTIFICATE = 'SEQNET_ROS_MILVUS_CERTIFICATE'
"""Variable of the environment with a PEM file of the authority that signed the server's."""
FORM = 'milvus://host:port/collection, or milvuss:// for TLS'
_TLS_OF = {'milvus': False, 'milvuss': True}
_NAME = re.compile(r'[A-Za-z_][A-Za-z0-9_]{0,199}')
_HOST = re.compile(r'[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}')


@dataclass(frozen=True)
class FleetAddress:
    """Where a map of a fleet is. As text it has no credentials.

    Attributes:
        host: name or address of the server.
        port: its port.
        collection: name of the map there.
        tls: whether the connection is encrypted.
        user: name to log in with; '' for none.
        password: its password.
        certificate: PEM file that the server's certificate is checked with; '' for those of the
            system.
    """

    host: str
    port: int
    collection: str
    tls: bool = False
    user: str = ''
    password: str = field(default='', repr=False)
    certificate: str = ''

    @property
    def url(self) -> str:
        """The server, as its client wants it."""
        return f'http{"s" if self.tls else ""}://{self._server}'

    @property
    def _server(self) -> str:
        return f'[{self.host}]:{self.port}' if ':' in self.host else f'{self.host}:{self.port}'

    def __str__(self) -> str:
        """Return the address without credentials."""
        return f'milvus{"s" if self.tls else ""}://{self._server}/{self.collection}'


def is_fleet_address(text: str) -> bool:
    """Return whether a text is meant as the address of a map on a server."""
    return text.partition('://')[0].lower() in _TLS_OF and '://' in text


def map_place(text: str) -> 'Path | FleetAddress':
    """Read where a map is: a folder, or on a server.

    Raises:
        InputError: it is meant as an address and is none.
    """
    return parse_address(text) if is_fleet_address(text) else Path(text)


def parse_address(text: str) -> FleetAddress:
    """Read an address; credentials and certificate that it lacks are those of the environment.

    Args:
        text: ``milvus[s]://[user:password@]host[:port]/collection``.

    Raises:
        InputError: it is none; the message does not repeat a password.
    """
    if not is_fleet_address(text):
        raise InputError(f'{shortened(_hidden(text))} is no address of a map on a server, expected '
                         f'{FORM}')
    try:
        parts = urllib.parse.urlsplit(text)
        port = PORT if parts.port is None else parts.port
    except ValueError as error:
        raise _refused(text, 'its host or port is invalid') from error
    host, name = parts.hostname or '', parts.path.removeprefix('/')
    if not _HOST.fullmatch(host):
        raise _refused(text, 'its host is invalid')
    if port < 1:
        raise _refused(text, 'its port is 0')
    if not _NAME.fullmatch(name):
        raise _refused(text, f'its collection is {name!r}: letters, digits and _ only')
    if parts.query or parts.fragment:
        raise _refused(text, 'it goes on after the collection')
    user, password = _credentials(parts, text)
    return FleetAddress(host, port, name, _TLS_OF[parts.scheme], user, password,
                        os.environ.get(CERTIFICATE, ''))


def _credentials(parts: urllib.parse.SplitResult, text: str) -> tuple[str, str]:
    if '@' in parts.netloc:
        user, password = (urllib.parse.unquote(part or '')
                          for part in (parts.username, parts.password))
        if not user or not password:
            raise _refused(text, 'it has a user or a password only')
        return user, password
    user, _, password = os.environ.get(CREDENTIALS, '').partition(':')
    if bool(user) != bool(password):
        raise InputError(f'{CREDENTIALS} is set, but not to user:password')
    return user, password


def _refused(text: str, reason: str) -> InputError:
    return InputError(f'{shortened(_hidden(text))}: {reason}, expected {FORM}')


def _hidden(text: str) -> str:
    """Return an address without what may be a password."""
    scheme, found, rest = text.partition('://')
    return f'{scheme}{found}{rest.rpartition("@")[2]}'

"""Named components that other packages can add to, such as frame descriptors.

A plugin is an entry point of the group ``seqnet_ros.plugins``: it names a module that registers
components when it is imported. Plugins are loaded only when a name is looked up that this package
does not have, or when all names are listed.
"""

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from seqnet_ros.core.errors import PluginError

PLUGINS = 'seqnet_ros.plugins'
"""The group of entry points that name plugins."""

Item = TypeVar('Item')


class Registry(Generic[Item]):
    """Components of one kind by name, in the order of their registration.

    Args:
        kind: what they are, for messages.
        built_in: the module that registers the components of this package; it is imported at first
            use, so that lower layers can look up what higher ones register.
    """

    def __init__(self, kind: str, built_in: str) -> None:
        self.kind = kind
        self._built_in = built_in
        self._items: dict[str, Item] = {}

    def register(self, name: str, item: Item) -> None:
        """Add a component.

        Raises:
            PluginError: the name is taken.
        """
        if name in self._items:
            raise PluginError(f'there is a second {self.kind} {name!r}, expected another name')
        self._items[name] = item

    def find(self, name: object) -> Item | None:
        """Return the component of a name; None if neither this package nor a plugin has it.

        Raises:
            PluginError: a plugin cannot be loaded.
        """
        if name not in self.items(plugins=False):
            load_plugins()
        return self._items.get(name) if isinstance(name, str) else None

    def get(self, name: str) -> Item:
        """Return the component of a name that must exist.

        Raises:
            PluginError: neither this package nor a plugin has it, or a plugin cannot be loaded.
        """
        item = self.find(name)
        if item is None:
            raise PluginError(f'there is no {self.kind} {name!r}, expected one of: '
                              f'{", ".join(self.items())}')
        return item

    def items(self, *, plugins: bool = True) -> dict[str, Item]:
        """Return all components by name.

        Args:
            plugins: load the plugins first, so that their components are included.

        Raises:
            PluginError: a plugin cannot be loaded.
        """
        import_module(self._built_in)
        if plugins:
            load_plugins()
        return dict(self._items)


def load_plugins() -> None:
    """Import all plugins that are installed, once.

    Raises:
        PluginError: one cannot be imported; the message names it.
    """
    failure = _load_plugins()
    if failure is not None:
        raise failure


@cache
def _load_plugins() -> PluginError | None:
    # The outcome is kept, because what a plugin registered before it failed stays registered.
    for plugin in entry_points(group=PLUGINS):
        try:
            plugin.load()
        except Exception as error:  # whatever a module from outside raises
            package = '' if plugin.dist is None else f' of {plugin.dist.name} {plugin.dist.version}'
            failure = PluginError(
                f'plugin {plugin.name!r}{package} ({plugin.value}) cannot be loaded: '
                f'{type(error).__name__}: {error}; correct or uninstall it')
            failure.__cause__ = error
            return failure
    return None

"""``seqnet_ros models fetch``: download the published weights of a model."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.core.errors import InputError, ModelError

if TYPE_CHECKING:
    from seqnet_ros.descriptors.download import Limits, Progress
    from seqnet_ros.models.published_weights import PublishedWeights

_MEGABYTE = 1_000_000


def fetch(
    model: Annotated[str, typer.Argument(
        help='Model: a name from `seqnet_ros models list`, or a YAML file.',
        show_default=False)],
    yes: Annotated[bool, typer.Option(
        '--yes', '-y', help='Do not ask; enough for weights under a free license.')] = False,
    accept_license: Annotated[str | None, typer.Option(
        help='License that you accept, exactly as it is shown; needed with --yes if the license '
             'is not free or unknown.', show_default=False)] = None,
    max_size: Annotated[float, typer.Option(
        min=0.001, help='Largest file, megabytes.')] = 4000.0,
    timeout: Annotated[float, typer.Option(
        min=1.0, help='Longest time for each file, seconds.')] = 3600.0,
) -> None:
    """Download the weights of a model from its publisher to the cache, and check them.

    License and size are shown first. A download that broke off is continued by the same command.
    If the publisher states no hash, that of the first download is recorded, and a later one must
    have the same. Only https addresses are used. Without a network the message says where to put
    the file.
    """
    from seqnet_ros.descriptors.download import Limits
    from seqnet_ros.models.published_weights import published_weights

    published = published_weights(model)
    if published.files:
        _fetch(published, model, yes, accept_license, Limits(round(max_size * _MEGABYTE), timeout))
    elif not published.by_hand:
        print_fields({'model': model, 'weights': 'here'})
    if published.by_hand:
        raise ModelError(published.by_hand[0])


def _fetch(published: 'PublishedWeights', model: str, yes: bool, accept_license: str | None,
           limits: 'Limits') -> None:
    sizes = [file.size(limits) for file in published.files]
    paper = {} if published.paper is None else {'paper': published.paper}
    for file, size in zip(published.files, sizes, strict=True):
        print_fields({
            'from': file.url, 'to': file.path,
            'size': 'unknown' if size is None else f'{size / _MEGABYTE:.1f} MB',
            'sha256': file.sha256 or 'recorded at the first download',
            'license': published.license, **paper})
    _agree(published, model, yes, accept_license)
    for file, size in zip(published.files, sizes, strict=True):
        megabytes = round((size or 0) / _MEGABYTE)
        with progress_bar(f'downloading {file.path.name}, MB', megabytes) as show:
            file.fetch(limits, _in_megabytes(show))
        print_fields({'fetched': file.path})


def _in_megabytes(show: Callable[[float], None]) -> 'Progress':
    return lambda done, _: show(done / _MEGABYTE)


def _agree(published: 'PublishedWeights', model: str, yes: bool,
           accept_license: str | None) -> None:
    """Make sure that the user has seen the license and agrees to it."""
    license_name = published.license
    if accept_license is not None and accept_license != license_name:
        raise InputError(f'the license of model {model} is {license_name!r}, but --accept-license '
                         f'is {accept_license!r}')
    if accept_license is not None or (yes and published.is_free):
        return
    if yes:
        raise InputError(f'the license of model {model} is {license_name!r}, which may restrict '
                         f'the use of the weights: pass --accept-license {license_name!r} if you '
                         'accept it')
    try:
        agreed = typer.confirm(f'Download under the license {license_name!r}?', err=True)
    except typer.Abort:
        typer.echo(err=True)  # ends the line of the question
        raise InputError('nothing was downloaded, because nobody answered: pass --yes to be asked '
                         'nothing') from None
    if not agreed:
        raise InputError('nothing was downloaded, because the license was not accepted')

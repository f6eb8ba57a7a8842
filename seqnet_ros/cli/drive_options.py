"""The two ways in which ``evaluate`` and ``train seqnet`` name drives: a data set, or arrays."""

from collections.abc import Mapping

from seqnet_ros.core.errors import InputError

_TRUTH = ('--struct', '--tolerance', '--ground-truth', '--pairs')


def check_one_way(dataset: str | None, of_dataset: Mapping[str, object],
                  of_arrays: Mapping[str, object], split: str | None) -> None:
    """Check that drives are named in exactly one of the two ways.

    Args:
        dataset: a data set, or None.
        of_dataset: options for a data set; None where not given.
        of_arrays: options for arrays; None where not given, or if the command has no such option.
        split: ``--split``.

    Raises:
        InputError: drives are named in both ways or in neither, or an option is missing.
    """
    strangers = of_dataset if dataset is None else of_arrays
    given = [name for name, value in strangers.items() if value is not None]
    if given:
        where = 'without' if dataset is None else 'with'
        raise InputError(f'{given[0]} was given {where} --dataset, expected either --dataset or '
                         '--reference and --query')
    if dataset is not None:
        return
    missing = [name for name in ('--reference', '--query') if of_arrays.get(name) is None]
    if missing:
        raise InputError(f'no {" and no ".join(missing)} was given, expected --dataset, or '
                         '--reference and --query')
    known = [name for name in _TRUTH if name in of_arrays]
    chosen = [name for name in known if of_arrays[name] is not None]
    # Rows near a listed one may match, too.
    if len(chosen) != 1 and chosen != ['--tolerance', '--pairs']:
        raise InputError(f'{" and ".join(chosen) or "none"} of {", ".join(known)} was given, '
                         'expected exactly one: it defines the true matches')
    if split is not None and of_arrays.get('--splits') is None:
        raise InputError(f'--split {split} was given without --splits, expected the file that '
                         'lists its rows')

"""``seqnet_ros models list``: the available models."""

from seqnet_ros.cli.console import print_table


def list_models() -> None:
    """List the models, the length of their descriptors and whether their weights are installed.

    Weights of frames, sequences and projection all count.
    """
    from seqnet_ros.models import place_model

    print_table(
        ('name', 'dim', 'weights', 'license', 'paper', 'description'),
        [(model.name, str(model.dim), 'here' if model.weights_available else 'missing',
          model.license or '', model.paper or '', model.description)
         for model in place_model.list_models()])

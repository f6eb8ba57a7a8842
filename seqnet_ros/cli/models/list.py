"""``seqnet_ros models list``: the available models."""

from seqnet_ros.cli.console import print_table


def list_models() -> None:
    """List the models: their descriptors, input, license, and whether their weights are installed.

    Weights of frames, sequences and projection all count; those to be fitted are made of your
    images by `models fit-vlad`. *ms* is the time for one image on this machine,
    once `models bench` has measured it.
    """
    from seqnet_ros.models import place_model
    from seqnet_ros.models.model_weights import needs_fitting
    from seqnet_ros.models.speed import known_speeds

    def weights(model: place_model.ModelInfo) -> str:
        if needs_fitting(model.config):
            return 'missing (fit them)'
        return 'here' if model.weights_available else 'missing'

    def speed(model: place_model.ModelInfo) -> str:
        return ', '.join(f'{speed.milliseconds:.1f} {speed.device}'
                         for speed in known_speeds(model.config))

    print_table(
        ('name', 'dim', 'weights', 'license', 'input', 'ms', 'paper', 'description'),
        [(model.name, str(model.dim), weights(model), model.license or '',
          f'{model.config.image.width}x{model.config.image.height}', speed(model),
          model.paper or '', model.description)
         for model in place_model.list_models()])

"""The acceptance rules, each a file of this folder and a line at the end of this one.

A match is judged in the order of these lines, and reported with the reason of the first rule that
it does not pass.
"""

from dataclasses import replace

from seqnet_ros.config.engine import RULES, RuleKind
from seqnet_ros.config.settings import Settings
from seqnet_ros.localization.acceptance.agreement import Agreement
from seqnet_ros.localization.acceptance.geometry import Geometry
from seqnet_ros.localization.acceptance.margin import Margin
from seqnet_ros.localization.acceptance.odometry import Odometry
from seqnet_ros.localization.acceptance.recent import Recent
from seqnet_ros.localization.acceptance.rival_map import RivalMap
from seqnet_ros.localization.acceptance.rule import Rule, RuleContext
from seqnet_ros.localization.acceptance.threshold import Threshold


def register_rule(name: str, rule: type[Rule], settings: type[Settings] | None = None) -> None:
    """Add an acceptance rule, after the registered ones.

    Args:
        name: its name.
        rule: the rule.
        settings: its settings. A rule with settings applies where a model file has them as
            ``rules.NAME``, and reads them from `RuleContext.settings`; one without always applies.

    Raises:
        PluginError: there is a rule of this name.
    """
    RULES.register(name, RuleKind(rule, settings))


def build_rules(context: RuleContext) -> dict[str, Rule]:
    """Return the rules that apply, by name, in their order.

    Args:
        context: what they are made of; `RuleContext.settings` is set for each.
    """
    built = {}
    for name, kind in RULES.items(plugins=False).items():
        settings = context.engine.rules.get(name)
        if kind.settings is not None and settings is None:
            continue
        rule = kind.rule.build(replace(context, settings=settings))
        if rule is not None:
            built[name] = rule
    return built


register_rule('threshold', Threshold)
register_rule('margin', Margin)
register_rule('agreement', Agreement)
register_rule('rival_map', RivalMap)
register_rule('recent', Recent)
register_rule('odometry', Odometry)
register_rule('geometry', Geometry)

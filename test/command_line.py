"""The command `seqnet_ros` run inside the tests' own process."""

from typer.testing import CliRunner, Result

from seqnet_ros.cli.main import app


def run(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def succeed(*arguments: object) -> Result:
    """Run a command that must succeed."""
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    return result


def refusal(*arguments: object) -> str:
    """Run a command that must end with status 2, and return its one sentence."""
    result = run(*arguments)
    assert result.exit_code == 2, (result.exit_code, result.stdout, result.stderr)
    lines = [line for line in result.stderr.splitlines() if line.startswith('Error: ')]
    assert len(lines) == 1, result.stderr
    assert 'Traceback' not in result.stderr
    return lines[0]

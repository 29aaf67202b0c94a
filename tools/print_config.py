"""Print a config as the runner gets it: python tools/print_config.py CONFIG [--cfg-options ...]."""

import argparse

from engine import command_line, config


def main(arguments: argparse.Namespace) -> None:
    """Load, check, print."""
    print(config.load(arguments.config, arguments.cfg_options).pretty_text)


if __name__ == "__main__":
    options = command_line.parser(__doc__)
    command_line.add_config(options, checkpoint=False)
    command_line.run(main, options)

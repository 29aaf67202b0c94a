"""Print a config as the runner gets it: python tools/print_config.py CONFIG [--cfg-options ...]."""

import argparse

from engine import cli, config


def main(arguments: argparse.Namespace) -> None:
    """Load, check, print."""
    cfg = config.load(arguments.config, arguments.cfg_options)
    config.check_keys(cfg)
    print(cfg.pretty_text)


if __name__ == "__main__":
    options = cli.parser(__doc__)
    cli.add_config(options, checkpoint=False)
    cli.run(main, options)

"""Formatter of the command line's help."""

import argparse


class HelpFormatter(argparse.HelpFormatter):
    """Appends the default to the help of every option that has one and does not mention it."""

    def _get_help_string(self, action):
        said = "(default" in action.help or not (action.default or type(action.default) in (int, float))
        hidden = said or action.default is argparse.SUPPRESS
        return action.help if hidden else f"{action.help} (default: %(default)s)"

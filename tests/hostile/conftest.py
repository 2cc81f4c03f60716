"""Runs any command in this process, and a small sound pair file."""

from in_process import *  # noqa: F403

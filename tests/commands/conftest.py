"""Any command run in this process."""

from in_process import *  # noqa: F403

"""The packages under the root, found: the root itself is `probe`; everything else is in pyproject.toml."""

from setuptools import find_packages, setup

setup(packages=["probe", *(f"probe.{name}" for name in find_packages(exclude=["tests*", "bench*", "docs*"]))])

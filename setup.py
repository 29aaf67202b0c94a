"""Adds to pyproject.toml: in a wheel, tools/ and configs/ are parts of lcnet_vision."""

from setuptools import find_namespace_packages, find_packages, setup

folders = {f"lcnet_vision.{name}": name for name in ("tools", "configs")}
inner = [f"{key}.{name}" for key in folders for name in find_namespace_packages(folders[key])]
setup(packages=[*find_packages(), *folders, *inner], package_dir=folders)

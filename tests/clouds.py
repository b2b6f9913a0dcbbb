"""A bucket without a cloud: moto's S3 on this machine alone, in the tests' own process."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from image_search.dataset.filesystems import place


@contextlib.contextmanager
def s3_server(patch: pytest.MonkeyPatch) -> Iterator[str]:
    """Its address; the standard variables lead to it."""
    server = pytest.importorskip("moto.server", reason="needs moto: pip install moto[server]")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line a request
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    address = f"http://{host}:{port}"
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        patch.setenv(name, value)
    try:
        yield address
    finally:
        running.stop()


def bucket(name: str) -> None:
    """A new one, empty."""
    from pyarrow import fs

    fs.S3FileSystem(allow_bucket_creation=True, endpoint_override=os.environ["AWS_ENDPOINT_URL"], region="us-east-1").create_dir(name)


def put(address: str, data: bytes) -> None:
    here = place(address)
    here.write(data, drafts=here)


def upload(folder: Path, address: str) -> list[str]:
    """All files below a folder; their addresses."""
    made = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            made.append(f"{address}/{path.relative_to(folder).as_posix()}")
            put(made[-1], path.read_bytes())
    return made

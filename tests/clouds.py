"""Buckets without a cloud: moto's S3, and a server that speaks as Google's, on this machine alone."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from image_search.dataset import filesystems
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


@contextlib.contextmanager
def gs_server(patch: pytest.MonkeyPatch, bucket: str) -> Iterator[str]:
    """One that speaks as Google's, with an empty bucket; the variable of Google's own tools leads to it."""
    pytest.importorskip("gcp_storage_emulator", reason="needs gcp-storage-emulator")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["start", "--host=127.0.0.1", f"--port={port}", "--in-memory", f"--default-bucket={bucket}"]
    running = subprocess.Popen(
        [sys.executable, "-m", "gcp_storage_emulator", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while running.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        filesystems._opened.cache_clear()
        yield f"gs://{bucket}"
    finally:
        running.kill()
        running.wait()
        filesystems._opened.cache_clear()

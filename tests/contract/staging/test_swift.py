"""S3 against a server that checks keys and signatures."""

import os
import uuid
from collections.abc import AsyncIterator

import boto3
import pytest
from botocore.config import Config

from tesp.errors import AccessRefused, SourceMissing, StagingError
from tesp.settings import S3Access
from tesp.staging import Storage
from tesp.staging.http import HttpStorage
from tesp.staging.s3 import S3Storage
from tests.peers.swift import SwiftS3

CONTENT = os.urandom(9 << 20)


def access(swift: SwiftS3, **changes: str) -> S3Access:
    facts = {
        "endpoint": swift.endpoint,
        "region": swift.region,
        "access_key": swift.access_key,
        "secret_key": swift.secret_key,
    }
    return S3Access.model_validate(facts | changes)


async def sending() -> AsyncIterator[bytes]:
    for at in range(0, len(CONTENT), 1 << 20):
        yield CONTENT[at : at + (1 << 20)]


async def whole(storage: Storage, url: str) -> bytes:
    async with storage.open(url) as stream:
        return b"".join([chunk async for chunk in stream.chunks])


def client(swift: SwiftS3) -> object:
    return boto3.client(
        "s3",
        endpoint_url=swift.endpoint,
        region_name=swift.region,
        aws_access_key_id=swift.access_key,
        aws_secret_access_key=swift.secret_key,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


@pytest.fixture
def bucket(swift_s3: SwiftS3) -> str:
    name = f"test-{uuid.uuid4().hex}"
    client(swift_s3).create_bucket(Bucket=name)  # type: ignore[attr-defined]
    return name


async def test_the_right_keys_open_and_put(swift_s3: SwiftS3, bucket: str) -> None:
    storage = S3Storage([access(swift_s3)])
    await storage.put(f"s3://{bucket}/a b/50%+ü", sending, len(CONTENT))
    assert await whole(storage, f"s3://{bucket}/a b/50%+ü") == CONTENT
    entries = [e async for e in storage.list(f"s3://{bucket}/a b")]
    assert [(e.name, e.size) for e in entries] == [("50%+ü", len(CONTENT))]


@pytest.mark.parametrize(
    "changes", [{"secret_key": "guessed"}, {"access_key": "tests:mallory"}], ids=["secret", "key"]
)
async def test_wrong_keys_are_refused_without_a_word_of_them(
    swift_s3: SwiftS3, bucket: str, changes: dict[str, str]
) -> None:
    storage = S3Storage([access(swift_s3, **changes)])
    url = f"s3://{bucket}/file"
    for attempt in (whole(storage, url), storage.put(url, sending, len(CONTENT))):
        with pytest.raises(AccessRefused) as refused:
            await attempt
        assert not any(secret in str(refused.value) for secret in changes.values())
    with pytest.raises(AccessRefused):
        [entry async for entry in storage.list(f"s3://{bucket}/d")]


async def test_without_keys_a_private_bucket_stays_closed(swift_s3: SwiftS3, bucket: str) -> None:
    anonymous = S3Storage([S3Access(endpoint=swift_s3.endpoint)])
    # Swift says 400, not 403, to a request that nobody signed.
    with pytest.raises(StagingError, match="the server answered 400"):
        await whole(anonymous, f"s3://{bucket}/file")


async def test_the_bucket_chooses_the_keys(swift_s3: SwiftS3, bucket: str) -> None:
    storage = S3Storage([access(swift_s3, secret_key="guessed"), access(swift_s3, bucket=bucket)])
    with pytest.raises(SourceMissing):
        await whole(storage, f"s3://{bucket}/file")
    with pytest.raises(AccessRefused):
        await whole(storage, "s3://another/file")


async def test_a_presigned_url_is_plain_http_and_its_signature_is_not_shown(
    swift_s3: SwiftS3, bucket: str
) -> None:
    storage, named = HttpStorage(), {"Bucket": bucket, "Key": "a b+ü"}
    sign = client(swift_s3).generate_presigned_url  # type: ignore[attr-defined]
    await storage.put(sign("put_object", named), sending, len(CONTENT))
    assert await whole(storage, sign("get_object", named)) == CONTENT
    with pytest.raises(AccessRefused) as refused:
        await whole(storage, sign("get_object", named) + "0")
    assert "Signature" not in str(refused.value)
    await storage.close()

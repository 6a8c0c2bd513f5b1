"""The release of a service: built, tested in two ways at once, given to a few, watched for a while, then given to all or taken back.

`releases.yaml` says the same in YAML. Both are one definition.
"""

from __future__ import annotations

from wfcelery import GiveUp, either, fail, otherwise, sleep, step, text, when, workflow


@step
def build(service: str, commit: str) -> str:
    return f"{service}:{commit}"


@step
def test(image: str, suite: str) -> int:
    if "broken" in image:
        raise GiveUp(f"{suite} tests of {image} failed")
    return 40 if suite == "unit" else 2


@step
def deploy(image: str, share: int) -> str:
    return f"{image} on {share} %"


@step
def is_healthy(image: str) -> bool:
    return "slow" not in image


@step
def roll_back(service: str) -> str:
    return f"{service} as it was"


@workflow(version="1")
def release(service: str, commit: str, watch: str = "1h") -> str | None:
    image = build(service, commit)
    tests = [test.options(name="unit")(image, "unit"), test.options(name="browser")(image, "browser")]
    canary = deploy.options(name="canary", after=tests)(image, 5)
    watched = sleep(watch, name="watch", after=canary)
    healthy = is_healthy.options(after=watched)(image)
    with when(healthy):
        everywhere = deploy.options(name="everywhere")(image, 100)
    with otherwise():
        back = roll_back(service)
        fail(text("{} is not healthy", image), code="unhealthy", name="refused", after=back)
    return either(everywhere, None)

"""Local synchronizing merge."""

from wfcelery import either, step, when, workflow


@step(name="parcel.weigh")
def weigh(grams: int) -> int:
    return grams


@step(name="parcel.insure")
def insure(grams: int) -> str:
    return f"{grams} g insured"


@step(name="parcel.declare")
def declare(insured: str) -> str:
    return f"declared and {insured}"


@step(name="parcel.send")
def send(grams: int, insured: str | None, declared: str | None) -> str:
    return declared or insured or f"{grams} g"


@workflow(name="send_a_parcel")
def pattern(grams: int, dear: bool, abroad: bool) -> str:
    weighed = weigh(grams)
    with when(dear):
        insured = insure(weighed)
        with when(abroad):
            declared = declare(insured)
    return send(weighed, either(insured, None), either(declared, None))

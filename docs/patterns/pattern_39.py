"""Critical section."""

import time

from wfcelery import lock, step, workflow


@step(name="office.page")
def page(what: str, seconds: float) -> dict[str, object]:
    began = time.time()
    time.sleep(seconds)
    return {"what": what, "began": began, "ended": time.time()}


@workflow(name="print_both")
def pattern(seconds: float) -> list[dict[str, object]]:
    with lock("printer", name="invoice"):
        invoice_first = page.options(name="invoice_first")("invoice 1", seconds)
        invoice_last = page.options(name="invoice_last", after=invoice_first)("invoice 2", seconds)
    with lock("printer", name="letter"):
        letter_first = page.options(name="letter_first")("letter 1", seconds)
        letter_last = page.options(name="letter_last", after=letter_first)("letter 2", seconds)
    return [invoice_first, invoice_last, letter_first, letter_last]

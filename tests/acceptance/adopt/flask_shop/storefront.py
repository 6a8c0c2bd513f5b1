"""A Flask app in one file, with Celery as Flask's documentation has it."""

import json
import os
import time

import redis
from celery import Celery, Task, shared_task
from flask import Flask, current_app, request
from flask_sqlalchemy import SQLAlchemy

from wfcelery import Retry, adopt, current_step, get_run, sleep, start_workflow, step, workflow
from wfcelery.integrations.flask import init_app

db = SQLAlchemy()


class Order(db.Model):
    __tablename__ = "shop_order"
    id = db.Column(db.Integer, primary_key=True)
    customer = db.Column(db.String(100), nullable=False)
    paid = db.Column(db.Boolean, nullable=False, default=False)


def celery_init_app(app: Flask) -> Celery:
    class FlaskTask(Task):
        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app


def note(what, **more):
    """One line in the ledger of what was done to the world."""
    with open(current_app.config["LEDGER"], "a") as ledger:
        ledger.write(json.dumps({"what": what, "at": time.time(), "pid": os.getpid(), **more}) + "\n")


# ---- a task that was there before ----------------------------------------------------------------------------------------


@shared_task(bind=True, max_retries=3)
def send_receipt(self, order_id):
    order = db.session.get(Order, order_id)
    note("receipt", order=order_id, retries=self.request.retries)
    if self.request.retries == 0:
        raise self.retry(countdown=0.2)
    return f"receipt for {order.customer}"


@shared_task
def count_orders():
    return Order.query.count()


# ---- what is new ---------------------------------------------------------------------------------------------------------


@step(retry=Retry(count=3, delay="0.2s", backoff="constant", jitter=False))
def charge(order_id: int) -> str:
    this = current_step()
    note("charge", order=order_id, attempt=this.attempt)
    if this.attempt == 1:
        raise ConnectionError("the bank does not answer")
    return f"charged {db.session.get(Order, order_id).customer}"


@step
def pack(order_id: int, seconds: float) -> int:
    this = current_step()
    note("pack", order=order_id, attempt=this.attempt)
    if this.attempt == 1:
        time.sleep(seconds)
    return this.attempt


@step(transactional=True)
def mark_paid(order_id: int, receipt: str, charged: str) -> str:
    """Its write and its result are one commit."""
    current_step().connection.execute(db.update(Order).where(Order.id == order_id).values(paid=True))
    note("mark_paid", order=order_id)
    return f"{charged}, {receipt}"


@workflow
def fulfil(order_id: int, customer: str, seconds: float) -> str:
    receipt = adopt("storefront.send_receipt", returns=str)(order_id)
    rested = sleep("0.5s", after=receipt)
    charged = charge.options(after=rested)(order_id)
    packed = pack.options(after=charged)(order_id, seconds)
    return mark_paid.options(after=packed)(order_id, receipt, charged)


# ---- the app -------------------------------------------------------------------------------------------------------------

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["SHOP_DATABASE"]
app.config["CELERY"] = {
    "broker_url": os.environ["SHOP_BROKER"],
    "result_backend": os.environ["SHOP_BROKER"],
    "broker_connection_retry_on_startup": True,
}
app.config["WFCELERY"] = {"lease": 5}
app.config["LEDGER"] = os.environ["SHOP_LEDGER"]
db.init_app(app)
celery_app = celery_init_app(app)
init_app(app)


class CardRefused(Exception):
    pass


@app.get("/place")
def place():
    """An order and its run, in one commit."""
    order = Order(customer=request.args["customer"])
    db.session.add(order)
    db.session.flush()
    seconds = float(request.args.get("seconds", 0))
    run = start_workflow(fulfil.bind(order.id, order.customer, seconds), key=f"order-{order.id}", session=db.session)
    if "refused" in request.args:
        raise CardRefused
    db.session.commit()
    return {"order": order.id, "run": run.id}


@app.get("/basket")
def basket():
    """Three orders: one is taken back by its savepoint, two are kept, one of them after its savepoint was released."""
    customer = request.args["customer"]
    kept = _order(f"{customer} kept")
    savepoint = db.session.begin_nested()
    _order(f"{customer} dropped")
    savepoint.rollback()
    with db.session.begin_nested():
        released = _order(f"{customer} released")
    rung = messages()
    db.session.commit()
    return {"runs": [kept, released], "rung_before_commit": rung}


@app.get("/result")
def result():
    return {"result": get_run(request.args["run"]).result(timeout=0)}


def _order(customer):
    order = Order(customer=customer)
    db.session.add(order)
    db.session.flush()
    return start_workflow(fulfil.bind(order.id, customer, 0.0), session=db.session).id


def messages():
    """How many messages wait for a worker."""
    with redis.Redis.from_url(os.environ["SHOP_BROKER"]) as broker:
        return broker.llen("celery")

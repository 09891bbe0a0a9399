"""The agent that does nothing, in Celery, and who submits to it: `python celery_noop.py TASKS`."""

import os
import sys
import threading
import time

from celery import Celery

app = Celery("bench", broker=os.environ["BROKER_URL"])
app.conf.update(
    # As durable as ours on the way there: a quorum queue, confirmed publishes, late acknowledgement.
    task_default_queue="bench.celery",
    task_default_queue_type="quorum",
    task_default_delivery_mode="persistent",
    broker_transport_options={"confirm_publish": True},
    task_acks_late=True,
    worker_detect_quorum_queues=True,
    worker_prefetch_multiplier=128,
    broker_pool_limit=64,
    # No row of the end: it would only make it slower.
    task_ignore_result=True,
    worker_send_task_events=False,
)
THREADS = 32
# One byte for each task that was run.
DONE = os.open(os.environ["DONE_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


@app.task(name="bench.noop")
def noop(payload):
    os.write(DONE, b".")


def submit(count):
    payload = "x" * 512
    for _ in range(count):
        noop.apply_async((payload,))


def run(tasks):
    done = os.fstat(DONE).st_size + tasks
    threads = [threading.Thread(target=submit, args=(tasks // THREADS,)) for _ in range(THREADS)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while os.fstat(DONE).st_size < done:
        if time.monotonic() - begun > 120:
            sys.exit("tasks were not run in time")
        time.sleep(0.005)
    return time.monotonic() - begun


if __name__ == "__main__":
    # The first ones open the connections of all threads.
    run(THREADS * 4)
    print(run(int(sys.argv[1])))

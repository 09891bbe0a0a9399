"""A producer made of Celery's kombu: sends the events that it is given and prints each answer."""

import json
import os
import socket
import sys
import uuid

from kombu import Connection, Producer, Queue

events = json.load(sys.stdin)
answers = []


def keep(message):
    event = json.loads(message.body)
    answers.append({"correlation_id": message.properties["correlation_id"], "event": event})
    message.ack()


def ends():
    return sum(answer["event"]["type"] != "sutazai.task.accepted.v1" for answer in answers)


with Connection(os.environ["AMQP_URL"], transport_options={"confirm_publish": True}) as connection:
    queue = Queue(f"shop.{uuid.uuid4()}", exclusive=True, auto_delete=True)
    with connection.Consumer(queue, on_message=keep):
        producer = Producer(connection.channel())
        for event in events:
            producer.publish(
                json.dumps(event),
                exchange="tasks",
                routing_key=event["type"],
                content_type="application/cloudevents+json",
                content_encoding="utf-8",
                delivery_mode=2,
                reply_to=queue.name,
                correlation_id=event["id"],
            )
        while ends() < len(events):
            try:
                connection.drain_events(timeout=60)
            except socket.timeout:
                sys.exit(f"{len(answers)} answers in a minute")

print(json.dumps(answers))

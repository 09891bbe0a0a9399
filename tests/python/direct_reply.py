"""A producer that is answered by RabbitMQ's direct reply-to: sends an event and prints the first answer."""

import json
import os
import sys

import pika

event = json.load(sys.stdin)
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
answers = channel.consume("amq.rabbitmq.reply-to", auto_ack=True, inactivity_timeout=60)
next(channel.consume("amq.rabbitmq.reply-to", auto_ack=True, inactivity_timeout=0.1))
properties = pika.BasicProperties(
    content_type="application/cloudevents+json",
    message_id=event["id"],
    correlation_id=event["id"],
    reply_to="amq.rabbitmq.reply-to",
)
channel.basic_publish("tasks", event["type"], json.dumps(event), properties)
_, properties, body = next(answers)
if body is None:
    sys.exit("no answer within a minute")
if properties.correlation_id != event["id"]:
    sys.exit("another answer")
print(json.dumps([json.loads(body)]))
connection.close()

//! Messages as AMQP carries them.

use std::collections::BTreeMap;

use lapin::{
    BasicProperties,
    message::Delivery as Arrived,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::retry;
use crate::message::{Delivery, HEADER_DEAD_QUEUE, HEADER_REASON, Outgoing, Properties, Unfit};
use crate::topology::Argument;

/// Our count of deliveries, of a message that was published again.
const EARLIER: &str = "x-earlier-deliveries";
/// The routing key that a message was first published with.
const KEY: &str = "x-first-routing-key";
/// The exchange that a message was first published to. Believed only of what came back from waiting,
/// by the nameless exchange: producers have no right to that one.
const EXCHANGE: &str = "x-first-exchange";
/// The broker's own count of deliveries, since the message was last published.
const DELIVERY_COUNT: &str = "x-delivery-count";
/// The broker's record of dead-lettering, latest first.
const DEATHS: &str = "x-death";
/// Whose message it was before the platform carried it on. Only beside our own validated name: then
/// no producer can have written it.
const AUTHOR: &str = "x-author";
/// Marks a message that the broker should keep on disk.
const PERSISTENT: u8 = 2;

/// Makes a name of AMQP's.
pub(super) fn short(text: &str) -> Result<ShortString, Unfit> {
    Unfit::unless_short(text)?;
    Ok(text.into())
}

/// Makes the arguments of a declaration.
pub(super) fn table(arguments: Vec<(&'static str, Argument)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, argument) in arguments {
        let value = match argument {
            Argument::Text(text) => AMQPValue::LongString(text.into()),
            // RabbitMQ has no unsigned numbers; none of ours comes near the end of these.
            Argument::Number(number) => {
                AMQPValue::LongLongInt(number.try_into().unwrap_or(i64::MAX))
            }
        };
        table.insert(name.into(), value);
    }
    table
}

/// Makes the properties of a message that the broker's user `own` publishes.
///
/// The broker takes no message in the name of somebody else, so ours says whose it was.
pub(super) fn properties(message: &Outgoing, own: &str) -> Result<BasicProperties, Unfit> {
    let mut headers = FieldTable::default();
    for (name, value) in &message.headers {
        headers.insert(short(name)?, AMQPValue::LongString(value.as_str().into()));
    }
    let Properties {
        reply_to,
        correlation_id,
        user_id,
    } = &message.properties;
    if let Some(author) = user_id.as_deref().filter(|author| *author != own) {
        headers.insert(AUTHOR.into(), AMQPValue::LongString(author.into()));
    }
    let mut properties = BasicProperties::default()
        .with_message_id(short(&message.id)?)
        .with_content_type(short(&message.content_type)?)
        .with_delivery_mode(PERSISTENT)
        .with_headers(headers);
    if let Some(queue) = reply_to {
        properties = properties.with_reply_to(short(queue)?);
    }
    if let Some(id) = correlation_id {
        properties = properties.with_correlation_id(short(id)?);
    }
    if user_id.is_some() {
        properties = properties.with_user_id(short(own)?);
    }
    Ok(properties)
}

/// Reads what arrived in a queue, for the broker's user `own`.
pub(super) fn delivery(queue: &str, own: &str, arrived: &mut Arrived) -> Delivery {
    let mut headers = BTreeMap::new();
    let mut broker_count = 0;
    let mut death = None;
    let table = arrived.properties.headers().clone().unwrap_or_default();
    for (name, value) in &table {
        match (name.as_str(), value) {
            (DELIVERY_COUNT, value) => broker_count = number(value),
            (DEATHS, value) => death = latest_death(value),
            (_, AMQPValue::LongString(text)) => {
                headers.insert(name.to_string(), text.to_string());
            }
            // Nobody here sends anything else.
            _ => {}
        }
    }
    let earlier = headers.remove(EARLIER).and_then(|n| n.parse().ok());
    let routing_key = headers.remove(KEY);
    let came_by = arrived.exchange.to_string();
    let exchange = headers.remove(EXCHANGE).filter(|_| came_by.is_empty());
    headers.retain(|name, _| !name.starts_with("x-first-death-"));
    // The broker's word replaces whatever a sender may have written there.
    if let Some((reason, dead_queue)) = death {
        headers.insert(HEADER_REASON.to_owned(), reason);
        headers.insert(HEADER_DEAD_QUEUE.to_owned(), dead_queue);
    }
    let text = |property: &Option<ShortString>| property.as_ref().map(ToString::to_string);
    let properties = &arrived.properties;
    let author = headers.remove(AUTHOR);
    let user = text(properties.user_id());
    let is_ours = user.as_deref() == Some(own);
    Delivery {
        id: text(properties.message_id()).unwrap_or_default(),
        queue: queue.to_owned(),
        exchange: exchange.unwrap_or(came_by),
        routing_key: routing_key.unwrap_or_else(|| arrived.routing_key.to_string()),
        headers,
        properties: Properties {
            reply_to: text(properties.reply_to()),
            correlation_id: text(properties.correlation_id()),
            user_id: author.filter(|_| is_ours).or(user),
        },
        content_type: text(properties.content_type()).unwrap_or_default(),
        body: std::mem::take(&mut arrived.data).into(),
        delivery_count: earlier.unwrap_or(0_u32).saturating_add(broker_count),
    }
}

/// Makes the message that carries a delivery on, from a queue to wherever `exchange` leads.
pub(super) fn onward(delivery: &Delivery, exchange: &str, routing_key: &str) -> Outgoing {
    Outgoing {
        id: delivery.id.clone(),
        exchange: exchange.to_owned(),
        routing_key: routing_key.to_owned(),
        headers: delivery.headers.clone(),
        properties: delivery.properties.clone(),
        content_type: delivery.content_type.clone(),
        body: delivery.body.clone(),
    }
}

/// Makes the message that comes back to its queue, delivered once more than it says.
pub(super) fn again(delivery: &Delivery, exchange: &str) -> Outgoing {
    let mut message = onward(delivery, exchange, &delivery.queue);
    let count = delivery.delivery_count.saturating_add(1);
    message
        .headers
        .insert(EARLIER.to_owned(), count.to_string());
    message
        .headers
        .insert(KEY.to_owned(), delivery.routing_key.clone());
    message
        .headers
        .insert(EXCHANGE.to_owned(), delivery.exchange.clone());
    message
}

fn number(value: &AMQPValue) -> u32 {
    let number = match value {
        AMQPValue::LongLongInt(number) => *number,
        AMQPValue::LongInt(number) => (*number).into(),
        AMQPValue::LongUInt(number) => (*number).into(),
        AMQPValue::ShortInt(number) => (*number).into(),
        AMQPValue::ShortShortUInt(number) => (*number).into(),
        AMQPValue::ShortShortInt(number) => (*number).into(),
        _ => 0,
    };
    number
        .clamp(0, u32::MAX.into())
        .try_into()
        .unwrap_or(u32::MAX)
}

/// Returns reason and queue of the last time that the broker dead-lettered a message; to have
/// waited for its next try is not one, to have expired elsewhere is.
fn latest_death(value: &AMQPValue) -> Option<(String, String)> {
    let AMQPValue::FieldTable(death) = value.as_array()?.as_slice().first()? else {
        return None;
    };
    let text = |name: &str| Some(death.inner().get(name)?.as_long_string()?.to_string());
    let (reason, queue) = (text("reason")?, text("queue")?);
    (!retry::is_wait(&queue)).then_some((reason, queue))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The platform's name at the broker.
    const OWN: &str = "sutazai";

    fn arrived(headers: FieldTable) -> Arrived {
        let mut arrived = Arrived::mock(1, "".into(), "work.any".into(), false, b"body".to_vec());
        arrived.properties = BasicProperties::default()
            .with_message_id("one".into())
            .with_headers(headers);
        arrived
    }

    /// The headers of what the broker dead-lettered.
    fn died(reason: &str, queue: &str, mut headers: FieldTable) -> BTreeMap<String, String> {
        let mut death = FieldTable::default();
        death.insert("reason".into(), AMQPValue::LongString(reason.into()));
        death.insert("queue".into(), AMQPValue::LongString(queue.into()));
        let deaths = vec![AMQPValue::FieldTable(death)];
        headers.insert(DEATHS.into(), AMQPValue::FieldArray(deaths.into()));
        delivery("dead-letters", OWN, &mut arrived(headers)).headers
    }

    #[test]
    fn tsk_07_both_counts_of_deliveries_add_up() {
        let mut headers = FieldTable::default();
        headers.insert(EARLIER.into(), AMQPValue::LongString("3".into()));
        headers.insert(KEY.into(), AMQPValue::LongString("any".into()));
        headers.insert(DELIVERY_COUNT.into(), AMQPValue::LongLongInt(2));
        let delivery = delivery("work.any", OWN, &mut arrived(headers));
        assert_eq!(delivery.delivery_count, 5);
        assert_eq!(delivery.routing_key, "any");
        assert!(delivery.headers.is_empty(), "{:?}", delivery.headers);
        let again = again(&delivery, "retry");
        assert_eq!(again.routing_key, "work.any");
        assert_eq!(again.headers[EARLIER], "6");
        assert_eq!(again.headers[KEY], "any");
        assert_eq!(again.headers[EXCHANGE], delivery.exchange);
    }

    #[test]
    fn tsk_07_the_brokers_own_dead_letters_say_why_too() {
        for reason in ["delivery_limit", "expired"] {
            let headers = died(reason, "work.any", FieldTable::default());
            assert_eq!(headers[HEADER_REASON], reason);
            assert_eq!(headers[HEADER_DEAD_QUEUE], "work.any");
        }
        let waited = died("expired", "retry.100ms", FieldTable::default());
        assert!(waited.is_empty(), "{waited:?}");
    }

    #[test]
    fn sec_10_where_a_message_died_is_the_brokers_word_and_not_the_senders() {
        let mut claimed = FieldTable::default();
        for (name, claim) in [(HEADER_REASON, "bored"), (HEADER_DEAD_QUEUE, "work.any")] {
            claimed.insert(name.into(), AMQPValue::LongString(claim.into()));
        }
        for reason in ["delivery_limit", "expired"] {
            let headers = died(reason, "tasks.intake", claimed.clone());
            assert_eq!(headers[HEADER_REASON], reason);
            assert_eq!(headers[HEADER_DEAD_QUEUE], "tasks.intake");
        }
    }

    #[test]
    fn sec_10_the_first_exchange_is_believed_of_what_came_back_from_waiting_only() {
        let exchange = |came_by: &str, claimed: Option<&str>| {
            let mut headers = FieldTable::default();
            if let Some(claimed) = claimed {
                headers.insert(EXCHANGE.into(), AMQPValue::LongString(claimed.into()));
            }
            let mut arrived = arrived(headers);
            arrived.exchange = came_by.into();
            let delivery = delivery("unroutable", OWN, &mut arrived);
            assert!(delivery.headers.is_empty(), "{:?}", delivery.headers);
            delivery.exchange
        };
        assert_eq!(exchange("tasks", None), "tasks");
        assert_eq!(exchange("tasks", Some("tasks.work")), "tasks");
        assert_eq!(exchange("", Some("tasks")), "tasks");
        assert_eq!(exchange("", None), "");
    }

    #[test]
    fn sec_05_an_author_is_believed_when_the_platform_names_him_and_never_else() {
        let user = |validated: Option<&str>, named: Option<&str>| {
            let mut headers = FieldTable::default();
            if let Some(author) = named {
                headers.insert(AUTHOR.into(), AMQPValue::LongString(author.into()));
            }
            let mut arrived = arrived(headers);
            if let Some(user) = validated {
                arrived.properties = arrived.properties.with_user_id(user.into());
            }
            let delivery = delivery("work.any", OWN, &mut arrived);
            assert!(delivery.headers.is_empty(), "{:?}", delivery.headers);
            delivery.properties.user_id
        };
        assert_eq!(user(Some(OWN), Some("shop")).as_deref(), Some("shop"));
        assert_eq!(user(Some(OWN), None).as_deref(), Some(OWN));
        assert_eq!(user(Some("shop"), Some("admin")).as_deref(), Some("shop"));
        assert_eq!(user(None, Some("admin")), None);
    }
}

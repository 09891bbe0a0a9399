//! The bare task pipeline: the coordinator's statements, a quorum queue with confirms, a consumer.
//!
//! Each submission is a transaction of its own, as in ours; all that follows is batched.

use std::time::{Duration, Instant};

use futures::{StreamExt, future::try_join_all};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};
use uuid::Uuid;

use super::task_rows::{Rows, broken};
use crate::failure::Failure;

const QUEUE: &str = "bench.limit";
/// Deliveries on the way, and most that are taken together.
const PREFETCH: u16 = 500;
const BATCH: usize = 128;
/// Pause of the relay when nothing is to be sent.
const PAUSE: Duration = Duration::from_micros(500);

/// A pipeline that is ready.
#[derive(Debug)]
pub(crate) struct Pipeline {
    rows: Rows,
    publishing: Channel,
    deliveries: lapin::Consumer,
    /// Ends its channels when it is dropped.
    _connections: [Connection; 2],
}

impl Pipeline {
    /// Makes tables and a queue anew.
    pub(crate) async fn new(database: &str, broker: &str) -> Result<Self, Failure> {
        let connect = || Connection::connect(broker, ConnectionProperties::default());
        let connections = [
            connect().await.map_err(broken)?,
            connect().await.map_err(broken)?,
        ];
        let publishing = connections[0].create_channel().await.map_err(broken)?;
        let confirms = publishing.confirm_select(ConfirmSelectOptions::default());
        confirms.await.map_err(broken)?;
        let mut arguments = FieldTable::default();
        arguments.insert(
            "x-queue-type".into(),
            AMQPValue::LongString("quorum".into()),
        );
        // What an earlier one left would be taken for its own.
        let gone = publishing.queue_delete(QUEUE.into(), QueueDeleteOptions::default());
        gone.await.map_err(broken)?;
        let made =
            publishing.queue_declare(QUEUE.into(), QueueDeclareOptions::durable(), arguments);
        made.await.map_err(broken)?;
        let consuming = connections[1].create_channel().await.map_err(broken)?;
        let few = consuming.basic_qos(PREFETCH, BasicQosOptions::default());
        few.await.map_err(broken)?;
        let deliveries = consuming.basic_consume(
            QUEUE.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        Ok(Self {
            rows: Rows::new(database).await?,
            publishing,
            deliveries: deliveries.await.map_err(broken)?,
            _connections: connections,
        })
    }

    /// Takes tasks from acceptance to their end and returns how long that took.
    pub(crate) async fn run(
        &mut self,
        tasks: usize,
        submitters: usize,
        input: &[u8],
    ) -> Result<Duration, Failure> {
        let begun = Instant::now();
        let (rows, publishing) = (self.rows.clone(), self.publishing.clone());
        let submit = try_join_all((0..submitters).map(|submitter| {
            let (rows, share) = (rows.clone(), (submitter..tasks).step_by(submitters));
            async move {
                for _ in share {
                    rows.accept(Uuid::now_v7(), input).await?;
                }
                Ok::<_, Failure>(())
            }
        }));
        let relay = async {
            let mut left = tasks;
            while left > 0 {
                let picked = rows.pick().await?;
                if picked.is_empty() {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                let sent = picked
                    .iter()
                    .map(|(id, input)| publish(&publishing, *id, input));
                try_join_all(sent).await?;
                let ids: Vec<Uuid> = picked.into_iter().map(|(id, _)| id).collect();
                rows.sent(&ids).await?;
                left = left.saturating_sub(ids.len());
            }
            Ok::<_, Failure>(())
        };
        let work = async {
            let mut left = tasks;
            while left > 0 {
                let (ids, last) = next(&mut self.deliveries).await?;
                rows.claim(&ids).await?;
                rows.finish(&ids).await?;
                last.ack(BasicAckOptions { multiple: true })
                    .await
                    .map_err(broken)?;
                left = left.saturating_sub(ids.len());
            }
            Ok::<_, Failure>(())
        };
        tokio::try_join!(submit, relay, work)?;
        Ok(begun.elapsed())
    }

    /// Takes one task from its acceptance to its start: two commits and a confirmed delivery.
    pub(crate) async fn start(&mut self, input: &[u8]) -> Result<Duration, Failure> {
        let id = Uuid::now_v7();
        let begun = Instant::now();
        self.rows.accept(id, input).await?;
        publish(&self.publishing, id, input).await?;
        let (ids, delivery) = next(&mut self.deliveries).await?;
        self.rows.claim(&ids).await?;
        let took = begun.elapsed();
        self.rows.finish(&ids).await?;
        let acked = delivery.ack(BasicAckOptions::default()).await;
        acked.map_err(broken)?;
        if ids == [id] {
            return Ok(took);
        }
        Err(Failure::wrong("another task was delivered"))
    }
}

async fn publish(channel: &Channel, id: Uuid, input: &[u8]) -> Result<(), Failure> {
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_message_id(id.to_string().into());
    let confirm = channel
        .basic_publish(
            "".into(),
            QUEUE.into(),
            BasicPublishOptions::default(),
            input,
            properties,
        )
        .await
        .map_err(broken)?;
    match confirm.await.map_err(broken)? {
        Confirmation::Ack(_) => Ok(()),
        refused => Err(Failure::wrong(format!("the broker refused: {refused:?}"))),
    }
}

/// Waits for a delivery and takes what has come with it; returns the last one, to acknowledge all.
async fn next(
    deliveries: &mut lapin::Consumer,
) -> Result<(Vec<Uuid>, lapin::message::Delivery), Failure> {
    let mut ready = deliveries.ready_chunks(BATCH);
    let arrived = ready.next().await.unwrap_or_default();
    let arrived: Vec<_> = arrived
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(broken)?;
    let id = |delivery: &lapin::message::Delivery| {
        let id = delivery.properties.message_id().as_ref();
        id.and_then(|id| id.as_str().parse().ok())
    };
    let ids: Vec<Uuid> = arrived.iter().filter_map(id).collect();
    let last = arrived.into_iter().next_back();
    let last = last.ok_or_else(|| Failure::wrong("the consumer was ended"))?;
    Ok((ids, last))
}

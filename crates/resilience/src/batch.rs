//! Work that arrives together and is done in one go.

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

/// Waits for one item, then takes what else arrives within `linger`; `None` at the end.
pub async fn gather<T>(
    items: &mut mpsc::Receiver<T>,
    most: usize,
    linger: Duration,
) -> Option<Vec<T>> {
    let mut batch = Vec::new();
    items.recv_many(&mut batch, most).await;
    if batch.is_empty() {
        return None;
    }
    let until = Instant::now() + linger;
    while batch.len() < most {
        let room = most - batch.len();
        match timeout_at(until, items.recv_many(&mut batch, room)).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => break,
        }
    }
    Some(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_arrives_together_is_one_batch_of_limited_size() {
        let linger = Duration::from_millis(10);
        let (sender, mut items) = mpsc::channel(8);
        for item in 0..5 {
            sender.send(item).await.unwrap();
        }
        assert_eq!(gather(&mut items, 3, linger).await.unwrap(), [0, 1, 2]);
        let late = tokio::spawn(async move {
            tokio::time::sleep(linger / 2).await;
            sender.send(5).await.unwrap();
            tokio::time::sleep(linger).await;
            sender.send(6).await.unwrap();
        });
        assert_eq!(gather(&mut items, 9, linger).await.unwrap(), [3, 4, 5]);
        assert_eq!(gather(&mut items, 9, linger).await.unwrap(), [6]);
        late.await.unwrap();
        assert_eq!(gather(&mut items, 9, linger).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn without_lingering_a_batch_is_what_is_there_already() {
        let (sender, mut items) = mpsc::channel(8);
        for item in 0..3 {
            sender.send(item).await.unwrap();
        }
        let begun = Instant::now();
        let batch = gather(&mut items, 9, Duration::ZERO).await.unwrap();
        assert_eq!(batch, [0, 1, 2]);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}

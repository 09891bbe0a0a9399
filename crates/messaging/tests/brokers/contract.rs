//! What every broker promises, run over each implementation.

use sutazai_messaging::memory::{Limits, MemoryBroker};
use sutazai_messaging::{Broker, BrokerError};

mod consumers;
mod declaring;
mod outcomes;
mod publishing;

use crate::bench::{QUEUE, declared, task};

macro_rules! contract {
    ($implementation:ident: $make:expr, [$($test:ident => $group:ident::$promise:ident,)*]) => {
        mod $implementation {
            use super::*;

            $(
                #[tokio::test]
                async fn $test() {
                    $group::$promise($make).await;
                }
            )*
        }
    };
    ($implementation:ident: $make:expr) => {
        contract!($implementation: $make, [
            tsk_04_a_confirmed_message_arrives_whole => publishing::a_confirmed_message_arrives_whole,
            tsk_04_many_are_published_in_order => publishing::many_are_published_in_order,
            tsk_03_each_binding_gets_its_events => publishing::each_binding_gets_its_events,
            tsk_04_what_no_queue_wants_is_found => publishing::what_no_queue_wants_is_found,
            tsk_03_what_no_queue_wants_names_its_exchange => publishing::what_no_queue_wants_names_its_exchange,
            tsk_07_a_panic_gives_the_delivery_back => outcomes::a_panic_gives_the_delivery_back,
            tsk_07_the_sixth_delivery_is_the_last => outcomes::the_sixth_delivery_is_the_last,
            tsk_07_a_rejected_message_says_why => outcomes::a_rejected_message_says_why,
            tsk_07_a_retry_waits_and_lets_others_pass => outcomes::a_retry_waits_and_lets_others_pass,
            sec_05_a_message_keeps_its_author => outcomes::a_message_keeps_its_author,
            tsk_02_prefetch_bounds_the_handlers => consumers::prefetch_bounds_the_handlers,
            tsk_04_stopping_waits_for_the_handlers => consumers::stopping_waits_for_the_handlers,
            tsk_04_what_is_at_work_is_not_acknowledged_with_what_is_done => consumers::what_is_at_work_is_not_acknowledged_with_what_is_done,
            tsk_04_a_dropped_consumer_stops => consumers::a_dropped_consumer_stops,
            tsk_06_consumers_share_a_queue => consumers::consumers_share_a_queue,
            tsk_06_a_retry_finds_whoever_is_free => consumers::a_retry_finds_whoever_is_free,
            tsk_02_a_full_queue_refuses => publishing::a_full_queue_refuses,
            tsk_04_the_largest_headers_arrive_whole => publishing::the_largest_headers_arrive_whole,
            tsk_04_what_no_broker_can_carry_is_refused => publishing::what_no_broker_can_carry_is_refused,
            tsk_03_declaring_again_changes_nothing => declaring::declaring_again_changes_nothing,
            tsk_03_other_arguments_are_a_conflict => declaring::other_arguments_are_a_conflict,
            tsk_03_what_does_not_exist_is_named => declaring::what_does_not_exist_is_named,
            a_ping_has_evidence => declaring::a_ping_has_evidence,
        ]);
    };
}

contract!(memory: MemoryBroker::new(Limits::default()));
#[cfg(feature = "servers")]
contract!(rabbitmq: crate::real::rabbit().await);

#[tokio::test]
async fn tsk_02_the_brokers_own_bound_holds_too() {
    let broker = declared(MemoryBroker::new(Limits { queue_length: 1 })).await;
    broker.publish(task("a")).await.unwrap();
    let refused = broker.publish(task("b")).await;
    assert!(matches!(refused, Err(BrokerError::Full(queue)) if queue == QUEUE));
}

#[tokio::test]
async fn a_ping_leaves_nothing_behind() {
    let broker = MemoryBroker::new(Limits::default());
    for _ in 0..2 {
        let evidence = broker.ping().await.unwrap();
        assert!(evidence.ends_with("beside 0 queues"), "{evidence}");
    }
}

//! The bars of reliability that need a whole platform and time. `make test` runs each for seconds,
//! `make bars` runs the same code for as long as the bar says.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may panic, and a bar shows its figures"
)]

mod bar;
mod cancel;
mod database;
mod discovery;
mod kills;
mod outage;
mod poison;
mod reconnect;
mod site;
mod size;
mod submission;
mod worker;

use size::Size;

#[tokio::test(flavor = "multi_thread")]
async fn r1_kills_under_load_lose_nothing_and_double_nothing() {
    kills::run(&Size::of_this_run()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_poison_is_parked_after_its_attempts_and_holds_nobody_up() {
    poison::run(&Size::of_this_run()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r5_a_broker_that_returns_is_consumed_from_again() {
    reconnect::run(&Size::of_this_run()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_calls_go_on_without_the_registry_and_pass_a_dead_instance_by() {
    discovery::run(&Size::of_this_run()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r9_clients_that_leave_end_the_work_for_them_and_leak_no_permit() {
    cancel::run(&Size::of_this_run()).await;
}

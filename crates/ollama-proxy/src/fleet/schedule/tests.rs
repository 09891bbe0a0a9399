use proptest::prelude::*;

use super::*;

fn want(model: &str) -> Want {
    Want {
        model: model.into(),
        tried: BTreeSet::new(),
    }
}

fn models(names: &[(&str, bool)]) -> Shelf {
    names
        .iter()
        .map(|(name, loaded)| ((*name).to_owned(), *loaded))
        .collect()
}

fn two_nodes(slots: usize, limit: usize) -> Schedule {
    let mut schedule = Schedule::new(slots, limit);
    schedule.enter(0, 1);
    schedule.enter(1, 1);
    schedule.observe(0, true, models(&[("a", true)]));
    schedule.observe(1, true, models(&[("a", true), ("b", false)]));
    schedule
}

/// Serves the queue while every breaker is closed.
fn settle(schedule: &mut Schedule) -> Vec<Decision> {
    schedule.settle(|_| false)
}

#[test]
fn the_least_loaded_node_is_taken_and_equal_ones_share() {
    let mut schedule = two_nodes(4, 0);
    let picks: Vec<_> = (0..4).map(|_| schedule.offer(want("a"))).collect();
    assert_eq!(picks, [0, 1, 0, 1].map(Offer::Granted));
    schedule.release(1);
    schedule.release(1);
    assert_eq!(schedule.offer(want("a")), Offer::Granted(1));
}

#[test]
fn a_node_with_the_model_in_memory_goes_before_an_idle_one() {
    let mut schedule = Schedule::new(2, 8);
    schedule.enter(0, 1);
    schedule.enter(1, 1);
    schedule.observe(0, true, models(&[("a", false)]));
    schedule.observe(1, true, models(&[("a", true)]));
    let picks: Vec<_> = (0..3).map(|_| schedule.offer(want("a"))).collect();
    assert_eq!(
        picks,
        [1, 1, 0].map(Offer::Granted),
        "full, the other one loads it"
    );
}

#[test]
fn olp_02_the_queue_is_bounded_and_first_come_first_served() {
    let mut schedule = two_nodes(1, 2);
    assert_eq!(schedule.offer(want("b")), Offer::Granted(1));
    assert_eq!(schedule.offer(want("b")), Offer::Queued(0));
    assert_eq!(schedule.offer(want("b")), Offer::Queued(1));
    assert_eq!(schedule.offer(want("b")), Offer::Full);
    assert_eq!(
        schedule.offer(want("a")),
        Offer::Granted(0),
        "others do not wait behind them"
    );
    schedule.release(1);
    assert_eq!(settle(&mut schedule), [Decision::Granted(0, 1)]);
    schedule.withdraw(1);
    schedule.release(1);
    assert_eq!(settle(&mut schedule), []);
    assert_eq!(schedule.queued(), 0);
}

#[test]
fn llm_14_who_waits_for_a_dying_node_moves_on_or_is_told() {
    let mut schedule = two_nodes(1, 8);
    assert_eq!(schedule.offer(want("a")), Offer::Granted(0));
    assert_eq!(schedule.offer(want("a")), Offer::Granted(1));
    assert_eq!(schedule.offer(want("a")), Offer::Queued(0));
    assert_eq!(schedule.offer(want("b")), Offer::Queued(1));
    schedule.observe(1, false, models(&[("a", true), ("b", false)]));
    schedule.release(0);
    assert_eq!(
        settle(&mut schedule),
        [Decision::Granted(0, 0), Decision::Nowhere(1)]
    );
}

#[test]
fn a_request_does_not_return_to_a_node_that_failed_it() {
    let mut schedule = two_nodes(1, 8);
    let tried = Want {
        tried: [0].into(),
        ..want("a")
    };
    assert_eq!(schedule.offer(tried.clone()), Offer::Granted(1));
    assert_eq!(schedule.offer(tried), Offer::Queued(0));
    assert_eq!(
        schedule.offer(Want {
            tried: [0, 1].into(),
            ..want("a")
        }),
        Offer::Nowhere
    );
}

#[test]
fn olp_04_a_node_that_is_probed_is_full_and_not_gone() {
    let mut schedule = two_nodes(2, 8);
    assert_eq!(schedule.offer(want("b")), Offer::Granted(1));
    schedule.probe(1, true);
    assert_eq!(schedule.offer(want("b")), Offer::Queued(0));
    assert_eq!(schedule.offer(want("b")), Offer::Queued(1));
    let others: Vec<_> = (0..3).map(|_| schedule.offer(want("a"))).collect();
    assert_eq!(
        others,
        [Offer::Granted(0), Offer::Granted(0), Offer::Queued(2)],
        "the other node takes what it has"
    );
    schedule.release(1);
    assert_eq!(settle(&mut schedule), [], "the probe goes on");

    schedule.probe(1, false);
    let next = schedule.settle(|node| node == 1);
    assert_eq!(next, [Decision::Granted(0, 1)], "one after the other");
    schedule.probe(1, false);
    schedule.bar(1, true);
    assert_eq!(settle(&mut schedule), [Decision::Nowhere(1)]);
    schedule.bar(1, false);
    assert_eq!(settle(&mut schedule), [Decision::Granted(2, 1)]);
}

#[test]
fn olp_05_a_node_gets_its_share_by_weight() {
    let mut schedule = two_nodes(12, 0);
    schedule.weigh(1, 3);
    let mut picked = [0, 0];
    for _ in 0..12 {
        let Offer::Granted(node) = schedule.offer(want("a")) else {
            panic!("there are slots");
        };
        picked[node] += 1;
    }
    assert_eq!(picked, [3, 9]);
}

#[test]
fn olp_05_a_node_of_weight_0_or_taken_out_finishes_what_it_has() {
    let mut schedule = two_nodes(2, 8);
    assert_eq!(schedule.offer(want("b")), Offer::Granted(1));
    schedule.weigh(1, 0);
    assert_eq!(schedule.offer(want("b")), Offer::Nowhere);
    assert_eq!(schedule.in_flight(1), 1);
    schedule.weigh(1, 1);
    assert_eq!(schedule.offer(want("b")), Offer::Granted(1));
    assert_eq!(schedule.offer(want("b")), Offer::Queued(0));
    schedule.leave(1);
    assert_eq!(settle(&mut schedule), [Decision::Nowhere(0)]);
    assert_eq!(schedule.in_flight(1), 2);
    schedule.release(1);
    schedule.release(1);
    schedule.observe(1, true, models(&[("b", true)]));
    assert_eq!(schedule.offer(want("b")), Offer::Nowhere, "it is gone");
    assert_eq!(schedule.offer(want("a")), Offer::Granted(0));
}

#[derive(Clone, Debug)]
enum Step {
    Offer { model: bool, tried: Option<bool> },
    Release(usize),
    Withdraw(usize),
    Observe { node: usize, live: bool },
    Bar { node: usize, barred: bool },
    Probe { node: usize, probing: bool },
    Weigh { node: usize, weight: Weight },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), any::<Option<bool>>())
            .prop_map(|(model, tried)| Step::Offer { model, tried }),
        3 => any::<usize>().prop_map(Step::Release),
        1 => any::<usize>().prop_map(Step::Withdraw),
        1 => (0..2_usize, any::<bool>()).prop_map(|(node, live)| Step::Observe { node, live }),
        1 => (0..2_usize, any::<bool>()).prop_map(|(node, barred)| Step::Bar { node, barred }),
        1 => (0..2_usize, any::<bool>()).prop_map(|(node, probing)| Step::Probe { node, probing }),
        1 => (0..2_usize, 0..3_u16).prop_map(|(node, weight)| Step::Weigh { node, weight }),
    ]
}

proptest! {
    /// Whatever happens, in whatever order: slots are neither lost nor doubled, nobody waits for
    /// what is free, and equal requests keep their order.
    #[test]
    fn llm_04_no_slot_leaks_and_nobody_starves(steps in prop::collection::vec(step(), 1..200)) {
        let mut schedule = two_nodes(2, 5);
        let mut held: Vec<NodeId> = Vec::new();
        let mut waiting: Vec<Ticket> = Vec::new();
        for step in steps {
            let mut newest = None;
            match step {
                Step::Offer { model, tried } => {
                    let tried = tried.map(usize::from).into_iter().collect();
                    let want = Want { model: if model { "a" } else { "b" }.into(), tried };
                    match schedule.offer(want) {
                        Offer::Granted(node) => held.push(node),
                        Offer::Queued(ticket) => waiting.push(ticket),
                        Offer::Full => prop_assert_eq!(waiting.len(), 5),
                        Offer::Nowhere => {}
                    }
                }
                Step::Release(which) if !held.is_empty() => {
                    schedule.release(held.swap_remove(which % held.len()));
                }
                Step::Withdraw(which) if !waiting.is_empty() => {
                    schedule.withdraw(waiting.remove(which % waiting.len()));
                }
                Step::Observe { node, live } => {
                    let known = models(&[("a", node == 0), ("b", false)]);
                    schedule.observe(node, live, known);
                }
                Step::Bar { node, barred } => schedule.bar(node, barred),
                Step::Probe { node, probing } => schedule.probe(node, probing),
                Step::Weigh { node, weight } => schedule.weigh(node, weight),
                Step::Release(_) | Step::Withdraw(_) => {}
            }
            for decision in settle(&mut schedule) {
                let (Decision::Granted(ticket, _) | Decision::Nowhere(ticket)) = decision;
                prop_assert!(newest < Some(ticket), "the queue is served in order");
                newest = Some(ticket);
                waiting.retain(|waiting| *waiting != ticket);
                if let Decision::Granted(_, node) = decision {
                    held.push(node);
                }
            }
            for node in 0..2 {
                let holders = held.iter().filter(|held| **held == node).count();
                prop_assert_eq!(schedule.in_flight(node), holders);
                prop_assert!(holders <= 2);
            }
            prop_assert_eq!(schedule.queued(), waiting.len());
            for (_, want) in &schedule.waiting {
                prop_assert!(schedule.pick(want).is_none(), "somebody waits for a free slot");
            }
        }
    }
}

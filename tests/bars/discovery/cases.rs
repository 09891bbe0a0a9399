//! The cases of discovery and the mesh that the bar lists, and the tests that have them. They are run by
//! `make test` in their own crates; here they are counted.

use std::{fs, path::Path};

use system_tests::program::root;

/// A case and its test; what has none is counted against the bar.
pub(super) const CASES: [(&str, Option<&str>); 20] = [
    (
        "registry down at our start",
        Some("msh_04_a_consul_that_is_away_at_the_start_has_the_instance_within_15_s"),
    ),
    (
        "down later for 10 min",
        Some("r6_calls_go_on_without_the_registry_and_pass_a_dead_instance_by"),
    ),
    (
        "slow, 5 s",
        Some("msh_03_a_slow_consul_keeps_nobody_waiting"),
    ),
    (
        "500s",
        Some("msh_03_errors_keep_the_last_list_and_are_asked_about_ever_more_slowly"),
    ),
    (
        "empty list",
        Some("msh_03_an_empty_list_is_not_believed_while_the_instance_answers"),
    ),
    (
        "index goes back",
        Some("msh_02_an_index_that_goes_back_does_not_stop_the_watch"),
    ),
    (
        "agent lost its state",
        Some("msh_04_an_agent_that_lost_its_state_has_the_instance_again_within_15_s"),
    ),
    (
        "two instances, one id",
        Some("msh_04_of_two_instances_with_one_id_the_later_one_stays"),
    ),
    (
        "instance flaps every 3 s",
        Some("msh_04_an_instance_that_flaps_every_3_s_fails_no_call_and_works_while_it_is_there"),
    ),
    (
        "stale address reused by another service",
        Some("msh_05_whoever_has_the_address_of_another_service_by_now_is_passed_over"),
    ),
    (
        "kill -9, entry stays",
        Some("msh_04_a_killed_instance_is_critical_and_gone_from_watches_within_3_s"),
    ),
    (
        "SIGTERM, entry gone",
        Some("msh_04_a_stopping_instance_leaves_consul_before_it_refuses_connections"),
    ),
    (
        "deregister fails",
        Some("msh_04_an_instance_that_can_not_deregister_stops_in_time_and_its_entry_dies"),
    ),
    (
        "all instances failing checks",
        Some("msh_05_when_all_fail_all_are_still_tried"),
    ),
    (
        "one of three slow",
        Some("msh_05_one_of_three_that_is_slow_gets_few_calls_and_no_blame"),
    ),
    (
        "one of three returns 503",
        Some("msh_05_one_of_three_that_fails_is_left_out"),
    ),
    (
        "last instance never ejected",
        Some("msh_05_the_last_one_is_never_left_out"),
    ),
    (
        "breaker half-open stampede",
        Some("cb_04_a_thousand_callers_at_reopening_make_one_call"),
    ),
    (
        "DNS answer changes",
        Some("r6_a_name_that_leads_elsewhere_is_followed"),
    ),
    (
        "clock jump of 1 h",
        Some("r6_a_clock_that_jumps_by_an_hour_fails_nothing"),
    ),
];

#[test]
fn r6_every_test_that_a_case_names_exists() {
    let mut sources = String::new();
    for folder in ["crates/mesh/src", "crates/mesh/tests", "tests"] {
        collect(&root().join(folder), &mut sources);
    }
    for name in CASES.iter().filter_map(|(_, test)| *test) {
        assert!(
            sources.contains(&format!("fn {name}(")),
            "no test is called {name}"
        );
    }
}

fn collect(folder: &Path, sources: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            *sources += &fs::read_to_string(&path).expect("a source");
        }
    }
}

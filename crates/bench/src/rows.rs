//! All rows, one file each (rows that only differ in what they read share one).

mod api;
mod api_mix;
mod cache_hit;
mod cache_miss;
mod chat_added;
mod chat_cost;
mod chat_rate;
mod chat_streams;
mod discovery;
pub(crate) mod doors;
pub(crate) mod footprint;
mod start;
mod task_latency;
mod task_rate;
mod token_delay;

use crate::{failure::Failure, row::Row};

/// Returns every row, in the order of the table.
pub fn all() -> Vec<Box<dyn Row>> {
    vec![
        Box::new(chat_rate::A1::default()),
        Box::new(chat_added::A2::default()),
        Box::new(chat_cost::A3::default()),
        Box::new(chat_streams::A5::default()),
        Box::new(token_delay::TokenDelay::default()),
        Box::new(api::B1::default()),
        Box::new(api_mix::B2::default()),
        Box::new(task_rate::C1::default()),
        Box::new(task_latency::C2::default()),
        Box::new(cache_hit::E1::default()),
        Box::new(cache_miss::E4::default()),
        Box::new(discovery::F1::default()),
        Box::new(footprint::G1::default()),
        Box::new(start::G4),
        Box::new(footprint::G6),
    ]
}

/// Returns the rows of these names, all when there is none.
///
/// # Errors
/// No row has one of the names.
pub fn named(names: &[String]) -> Result<Vec<Box<dyn Row>>, Failure> {
    let known: Vec<_> = all().iter().map(|row| row.id()).collect();
    let stranger = names
        .iter()
        .find(|name| !known.iter().any(|id| id.eq_ignore_ascii_case(name)));
    if let Some(name) = stranger {
        return Err(Failure::NoRow(name.clone(), known.join(", ")));
    }
    let mut rows = all();
    rows.retain(|row| {
        names.is_empty() || names.iter().any(|name| name.eq_ignore_ascii_case(row.id()))
    });
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::row::{Beside, Side};

    #[test]
    fn rows_have_names_of_their_own_and_figures() {
        let rows = all();
        let names: BTreeSet<_> = rows.iter().map(|row| row.id()).collect();
        assert_eq!(names.len(), rows.len());
        for row in rows {
            assert!(!row.figures().is_empty(), "{}", row.id());
            for figure in row.figures() {
                let sides = row.sides();
                let there = match figure.beside {
                    Beside::Nothing => true,
                    Beside::Limit => sides.contains(&Side::Limit),
                    Beside::Peer(name) => sides.contains(&Side::Peer(name)),
                };
                assert!(there, "{} {} has nothing beside it", row.id(), figure.key);
                assert!(!figure.added || sides.contains(&Side::Direct));
            }
        }
    }

    #[test]
    fn rows_are_chosen_by_name() {
        assert_eq!(named(&[]).unwrap().len(), all().len());
        let chosen = named(&["a1".to_owned(), "G6".to_owned()]).unwrap();
        let ids: Vec<_> = chosen.iter().map(|row| row.id()).collect();
        assert_eq!(ids, ["A1", "G6"]);
        assert!(named(&["Z9".to_owned()]).is_err());
    }
}

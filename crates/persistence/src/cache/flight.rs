//! Many askers of one key within the process, one answer.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::Arc,
};

use bytes::Bytes;
use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use parking_lot::Mutex;

use super::{Source, local::Moment};

/// An error of a loader, in the type that its askers share.
pub(super) type Failure = Arc<dyn Any + Send + Sync>;

/// A value as it was found.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) value: Bytes,
    pub(super) source: Source,
}

impl Found {
    pub(super) fn new(value: Bytes, source: Source) -> Self {
        Self { value, source }
    }
}

pub(super) type Outcome = Result<Found, Failure>;
pub(super) type Flight = Shared<BoxFuture<'static, Outcome>>;

/// A key, and the types of value and error that its askers expect.
type Name = (Arc<str>, TypeId);

/// What is being looked for now. Whoever waits drives it; when nobody waits any more, it is dropped.
#[derive(Default)]
pub(super) struct Flights {
    in_air: Mutex<InAir>,
}

#[derive(Default)]
struct InAir {
    count: u64,
    by_name: HashMap<Name, Seat>,
}

struct Seat {
    number: u64,
    born: Moment,
    flight: WeakShared<BoxFuture<'static, Outcome>>,
}

impl Flights {
    /// Joins the flight of that name whose beginning `suits`, else begins one; says whether it joined.
    pub(super) fn board(
        self: &Arc<Self>,
        name: Name,
        born: Moment,
        suits: impl Fn(Moment) -> bool,
        make: impl FnOnce() -> BoxFuture<'static, Outcome>,
    ) -> (Flight, bool) {
        let mut in_air = self.in_air.lock();
        let seat = in_air.by_name.get(&name).filter(|seat| suits(seat.born));
        if let Some(flight) = seat.and_then(|seat| seat.flight.upgrade()) {
            return (flight, true);
        }
        in_air.count += 1;
        let number = in_air.count;
        let landing = Landing {
            flights: self.clone(),
            name: name.clone(),
            number,
        };
        let looking = make();
        let flight = async move {
            let _landing = landing;
            looking.await
        };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            let seat = Seat {
                number,
                born,
                flight: weak,
            };
            in_air.by_name.insert(name, seat);
        }
        (flight, false)
    }
}

/// Takes a flight from the list when it is over, finished or not.
struct Landing {
    flights: Arc<Flights>,
    name: Name,
    number: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut in_air = self.flights.in_air.lock();
        let is_ours = |seat: &Seat| seat.number == self.number;
        if in_air.by_name.get(&self.name).is_some_and(is_ours) {
            in_air.by_name.remove(&self.name);
        }
    }
}

//! What can go wrong with the database, as far as a caller can react to it.

use std::time::Duration;

use sqlx::error::DatabaseError as ServerError;
use sutazai_proto::{Coded, Details, ErrorCode};
use sutazai_resilience::breaker::Open;

/// When trying again makes sense, where nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a unit of database work failed.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The server can not be reached, or closed the connection.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// No connection became free in time: all are busy.
    #[error("no database connection became free in time")]
    PoolTimeout,
    /// The work contradicts other data, or work that ran at the same time.
    #[error("the data changed or exists already")]
    Conflict {
        /// Name of the violated constraint; none when two transactions met.
        constraint: Option<String>,
        /// What the server said.
        source: sqlx::Error,
    },
    /// The work took longer than a unit of work may.
    #[error("the database did not answer in time")]
    Timeout,
    /// The breaker is open: the work was not started.
    #[error("the database failed repeatedly and is left alone for a moment")]
    BreakerOpen {
        /// When the next try may be let through.
        retry_after: Duration,
    },
    /// The server refused the work, or its answer is not what the program expects.
    #[error("the database refused the work")]
    Query(#[source] sqlx::Error),
}

impl DatabaseError {
    /// Returns the constraint that the work violated.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Conflict { constraint, .. } => constraint.as_deref(),
            Self::Query(sqlx::Error::Database(error)) => error.constraint(),
            _ => None,
        }
    }

    /// Returns the value of the metric label `outcome`.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::PoolTimeout => "pool_timeout",
            Self::Conflict { .. } => "conflict",
            Self::Timeout => "timeout",
            Self::BreakerOpen { .. } => "breaker_open",
            Self::Query(_) => "failed",
        }
    }
}

impl Coded for DatabaseError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unavailable(_) | Self::PoolTimeout | Self::BreakerOpen { .. } => {
                ErrorCode::Unavailable
            }
            Self::Conflict { .. } => ErrorCode::Conflict,
            Self::Timeout => ErrorCode::DeadlineExceeded,
            Self::Query(_) => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Unavailable(_) | Self::PoolTimeout | Self::BreakerOpen { .. } => {
                "database_unavailable"
            }
            Self::Conflict { .. } => "conflict",
            Self::Timeout => "deadline_exceeded",
            Self::Query(_) => "internal",
        }
    }

    fn details(&self) -> Details {
        let retry_after = match self {
            Self::BreakerOpen { retry_after } => Some(*retry_after),
            Self::Unavailable(_) | Self::PoolTimeout => Some(RETRY_AFTER),
            _ => None,
        };
        Details {
            retry_after,
            ..Details::default()
        }
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        if matches!(error, sqlx::Error::PoolTimedOut) {
            return Self::PoolTimeout;
        }
        if is_unreachable(&error) || matches!(error, sqlx::Error::PoolClosed) {
            return Self::Unavailable(error);
        }
        let Some(server) = error.as_database_error() else {
            return Self::Query(error);
        };
        match sql_state(server).as_str() {
            // query_canceled: statement_timeout; lock_not_available: lock_timeout
            "57014" | "55P03" => Self::Timeout,
            // unique_violation, foreign_key_violation, exclusion_violation,
            // serialization_failure, deadlock_detected
            "23505" | "23503" | "23P01" | "40001" | "40P01" => Self::Conflict {
                constraint: server.constraint().map(str::to_owned),
                source: error,
            },
            _ => Self::Query(error),
        }
    }
}

impl From<Open> for DatabaseError {
    fn from(Open { retry_after }: Open) -> Self {
        Self::BreakerOpen { retry_after }
    }
}

/// Returns whether the error says that the server is gone, and not that it answered.
pub(crate) fn is_unreachable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(server) => {
            let state = sql_state(&**server);
            // connection_exception; admin_shutdown, crash_shutdown, cannot_connect_now;
            // too_many_connections
            state.starts_with("08") || matches!(&*state, "57P01" | "57P02" | "57P03" | "53300")
        }
        _ => false,
    }
}

fn sql_state(server: &dyn ServerError) -> String {
    server.code().unwrap_or_default().into_owned()
}

#[cfg(test)]
mod tests {
    use sutazai_proto::to_status;

    use super::*;

    #[test]
    fn db_04_a_missing_connection_is_unavailable_and_says_when_to_come_back() {
        for error in [
            DatabaseError::PoolTimeout,
            DatabaseError::Unavailable(sqlx::Error::PoolTimedOut),
            DatabaseError::BreakerOpen {
                retry_after: RETRY_AFTER,
            },
        ] {
            assert_eq!(error.code(), ErrorCode::Unavailable);
            assert_eq!(error.code().policy().http.as_u16(), 503);
            assert_eq!(error.reason(), "database_unavailable");
            assert_eq!(error.details().retry_after, Some(RETRY_AFTER));
        }
    }

    #[test]
    fn errors_of_the_program_travel_without_their_text() {
        let error = DatabaseError::from(sqlx::Error::ColumnNotFound("secret".into()));
        assert_eq!(to_status(&error).message(), "internal error");
    }

    #[test]
    fn only_a_server_that_is_gone_is_unreachable() {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(is_unreachable(&sqlx::Error::Io(reset)));
        assert!(is_unreachable(&sqlx::Error::PoolTimedOut));
        assert!(!is_unreachable(&sqlx::Error::RowNotFound));
        assert!(
            !is_unreachable(&sqlx::Error::PoolClosed),
            "it is us who close the pool"
        );
    }
}

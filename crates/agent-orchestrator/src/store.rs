//! The schema `agents`.

use sqlx::{migrate::Migrator, types::Json};
use sutazai_persistence::{Database, DatabaseError};

use crate::agents::{Agent, Announcement, Capability};

/// Name of the schema.
pub const SCHEMA: &str = "agents";

/// Migrations of the schema.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// The table of agents.
#[derive(Clone)]
pub(crate) struct Store {
    db: Database,
}

/// A row as it lies there.
struct Row {
    name: String,
    version: String,
    description: String,
    capabilities: Json<serde_json::Value>,
    slots: i32,
    announced_at: chrono::DateTime<chrono::Utc>,
}

impl Store {
    pub(crate) fn new(db: Database) -> Self {
        Self { db }
    }

    pub(crate) async fn upsert(&self, agent: &Announcement) -> Result<(), DatabaseError> {
        let query = sqlx::query!(
            "insert into agents (name, version, description, capabilities, slots)
             values ($1, $2, $3, $4, $5)
             on conflict (name) do update set version = excluded.version,
                 description = excluded.description, capabilities = excluded.capabilities,
                 slots = excluded.slots, announced_at = now()",
            agent.name,
            agent.version,
            agent.description,
            Json(&agent.capabilities) as _,
            agent.slots,
        );
        self.db
            .run("agent.announce", async {
                query.execute(self.db.pool()).await
            })
            .await?;
        Ok(())
    }

    pub(crate) async fn list(&self) -> Result<Vec<Agent>, DatabaseError> {
        let query = sqlx::query_as!(
            Row,
            r#"select name, version, description, capabilities as "capabilities: _", slots, announced_at
               from agents order by name"#
        );
        let rows = self
            .db
            .run("agent.list", async {
                query.fetch_all(self.db.pool()).await
            })
            .await?;
        Ok(rows.into_iter().map(Agent::from).collect())
    }

    pub(crate) async fn find(&self, name: &str) -> Result<Option<Agent>, DatabaseError> {
        let query = sqlx::query_as!(
            Row,
            r#"select name, version, description, capabilities as "capabilities: _", slots, announced_at
               from agents where name = $1"#,
            name
        );
        let row = self
            .db
            .run("agent.get", async {
                query.fetch_optional(self.db.pool()).await
            })
            .await?;
        Ok(row.map(Agent::from))
    }
}

impl From<Row> for Agent {
    /// One odd row must not hide the others: what can not be read is left out.
    fn from(row: Row) -> Self {
        let capabilities: Vec<Capability> =
            serde_json::from_value(row.capabilities.0).unwrap_or_else(|error| {
                tracing::warn!(agent = row.name, %error, "the capabilities of an agent can not be read");
                Vec::new()
            });
        Self {
            announcement: Announcement {
                name: row.name,
                version: row.version,
                description: row.description,
                capabilities,
                slots: row.slots,
            },
            announced_at: row.announced_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use sutazai_persistence::{migrate::migrate, postgres};
    use sutazai_resilience::Breakers;

    use super::*;

    impl Store {
        /// A store in a database of its own.
        pub(crate) async fn of_a_scratch_database() -> Self {
            let url = sutazai_servers::scratch::database().await.unwrap();
            migrate(&url.clone().into(), SCHEMA, &MIGRATOR)
                .await
                .unwrap();
            let mut settings = postgres::Settings::new(url.into(), SCHEMA, "test");
            (settings.pool_min, settings.pool_max) = (1, 4);
            Self::new(
                Database::connect(&settings, &Breakers::new())
                    .await
                    .unwrap(),
            )
        }
    }

    fn announcement(name: &str, slots: i32) -> Announcement {
        Announcement {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            description: "an agent".to_owned(),
            capabilities: vec![Capability {
                task_type: "sample.echo".to_owned(),
                description: "says it again".to_owned(),
            }],
            slots,
        }
    }

    #[tokio::test]
    async fn a_later_announcement_replaces_an_earlier_one() {
        let store = Store::of_a_scratch_database().await;
        for slots in [1, 2] {
            store.upsert(&announcement("sample", slots)).await.unwrap();
        }
        let agents = store.list().await.unwrap();
        assert_eq!(agents.len(), 1);
        assert_eq!(agents[0].announcement, announcement("sample", 2));
        assert_eq!(store.find("sample").await.unwrap().as_ref(), agents.first());
        assert_eq!(store.find("stranger").await.unwrap(), None);
    }

    #[tokio::test]
    async fn agt_01_one_odd_row_hides_no_other() {
        let store = Store::of_a_scratch_database().await;
        store.upsert(&announcement("fine", 1)).await.unwrap();
        sqlx::query(
            "insert into agents values ('odd', 'default', '1', '', '\"nonsense\"', 1, now())",
        )
        .execute(store.db.pool())
        .await
        .unwrap();
        let agents = store.list().await.unwrap();
        let names: Vec<&str> = agents
            .iter()
            .map(|a| a.announcement.name.as_str())
            .collect();
        assert_eq!(names, ["fine", "odd"]);
        assert!(agents[1].announcement.capabilities.is_empty());
    }
}

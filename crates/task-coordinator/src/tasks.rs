//! Everything that can be asked about tasks; one object, whoever asks.

use futures::Stream;
use sutazai_persistence::DatabaseError;
use sutazai_proto::ids::TaskId;

use crate::admission::Admission;
use crate::credit::TaskType;
use crate::desk::Desk;
use crate::error::Error;
use crate::outbox::Bell;
use crate::store::{Page, Place, ReleaseRef, Store, Submitted, View};
use crate::submission::Submission;
use crate::task::Task;
use crate::watch::{Item, Progress, Watchers, follow};

/// The tasks of all tenants; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    store: Store,
    /// Stores submissions that arrive together.
    admission: Desk<Admission>,
    watchers: Watchers,
    bell: Bell,
}

impl Tasks {
    pub(crate) fn new(store: Store, watchers: Watchers, bell: Bell) -> Self {
        Self {
            admission: Admission::open(store.clone(), bell.clone()),
            store,
            watchers,
            bell,
        }
    }

    /// Stores a task; true when an earlier request with the same key did.
    pub(crate) async fn submit(&self, submission: Submission) -> Result<(View, bool), Error> {
        let submitted = if submission.is_plain() {
            self.admission.enter(submission).await?
        } else {
            let submitted = self.store.submit(&submission).await?;
            if submitted.is_made() {
                self.bell.ring();
            }
            submitted
        };
        match submitted {
            Submitted::Made(view) => Ok((view, false)),
            Submitted::Replayed(view) => Ok((view, true)),
            Submitted::KeyReused => Err(Error::KeyReused),
            Submitted::KeyInFlight => Err(Error::KeyInFlight),
            Submitted::UnknownType { name, known } => Err(Error::UnknownTaskType { name, known }),
        }
    }

    pub(crate) async fn get(&self, tenant: &str, id: TaskId) -> Result<View, Error> {
        self.store
            .get(tenant, id)
            .await?
            .ok_or(Error::TaskNotFound(id))
    }

    /// Lists tasks, and says where the next page begins.
    pub(crate) async fn list(
        &self,
        tenant: &str,
        page: Page,
    ) -> Result<(Vec<Task>, Option<Place>), Error> {
        let wanted = page.limit;
        // One more than wanted tells whether there is a next page.
        let more = Page {
            limit: wanted.saturating_add(1),
            ..page
        };
        let mut tasks = self.store.list(tenant, &more).await?;
        let fits = usize::try_from(wanted).unwrap_or(usize::MAX);
        let is_last = tasks.len() <= fits;
        tasks.truncate(fits);
        let last = tasks.last().filter(|_| !is_last);
        let next = last.map(|task| Place {
            created_at: task.created_at,
            id: task.id,
        });
        Ok((tasks, next))
    }

    /// Asks for the end of a task.
    pub(crate) async fn cancel(&self, tenant: &str, id: TaskId) -> Result<View, Error> {
        let (view, changes) = self
            .store
            .cancel(tenant, id)
            .await?
            .ok_or(Error::TaskNotFound(id))?;
        self.watchers.changed(&changes);
        Ok(view)
    }

    /// Follows a task to its end.
    pub(crate) async fn watch(
        &self,
        tenant: &str,
        id: TaskId,
        after_sequence: u64,
    ) -> Result<impl Stream<Item = Result<Item, Error>> + Send + use<>, Error> {
        follow(
            self.store.clone(),
            &self.watchers,
            tenant,
            id,
            after_sequence,
        )
        .await
    }

    pub(crate) async fn types(&self) -> Result<Vec<TaskType>, Error> {
        Ok(self.store.task_types().await?)
    }

    pub(crate) fn progress(&self, task: TaskId, progress: Progress) {
        self.watchers.progress(task, progress);
    }

    /// Counts a release that no worker could take as an attempt.
    pub(crate) async fn give_up_release(
        &self,
        release: ReleaseRef,
        why: &str,
    ) -> Result<(), DatabaseError> {
        let changes = self.store.give_up_release(release, why).await?;
        if !changes.is_empty() {
            self.watchers.changed(&changes);
            self.bell.ring();
        }
        Ok(())
    }
}

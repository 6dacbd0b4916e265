//! The store in a file, on redb: what was kept survives a crash of the process, and of the machine.
//!
//! Each change is one transaction, on the disk before the call returns. One running server at a time: the file is locked while it is open.

use std::path::Path;

use redb::{Database, ReadableTable, TableDefinition};

use crate::base::error::Error;
use crate::desk::record::JobStatus;
use crate::desk::store::{JobStore, StoreError, StoredJob};

/// Revision, boot, status, expiry, body.
type StoredRow = (u64, &'static str, u8, Option<u64>, &'static [u8]);

const JOBS: TableDefinition<'_, &str, StoredRow> = TableDefinition::new("mcp-threads-jobs-1");

/// The order is the file's format: only ever append.
const STATUSES: [JobStatus; 5] = [
    JobStatus::Working,
    JobStatus::InputRequired,
    JobStatus::Completed,
    JobStatus::Failed,
    JobStatus::Cancelled,
];

/// Keeps background jobs in a file. Needs the feature `durable`.
///
/// After a crash, what had ended is still there, what waited for an answer goes on waiting, and what ran is `failed`, or runs again if its tool
/// allows that.
#[derive(Debug)]
pub struct DurableStore {
    database: Database,
}

impl DurableStore {
    /// Opens the file, and makes it if it does not exist.
    ///
    /// # Errors
    ///
    /// When it cannot be opened or made, is of something else, or another process has it open.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let unusable = |why: &dyn std::fmt::Display| {
            Error::configuration(format!("cannot keep jobs in `{}`: {why}", path.display()))
        };
        let database = Database::create(path).map_err(|error| unusable(&error))?;
        let store = DurableStore { database };
        // So that later readers find the table.
        store
            .change(|_| Ok(true))
            .map_err(|error| unusable(&error))?;
        Ok(store)
    }

    /// Runs one transaction, and keeps it if it says `true`.
    fn change(
        &self,
        run: impl FnOnce(&mut redb::Table<'_, &'static str, StoredRow>) -> Result<bool, redb::Error>,
    ) -> Result<bool, StoreError> {
        let attempt = || -> Result<bool, redb::Error> {
            let transaction = self.database.begin_write()?;
            let keep = run(&mut transaction.open_table(JOBS)?)?;
            match keep {
                true => transaction.commit()?,
                false => transaction.abort()?,
            }
            Ok(keep)
        };
        attempt().map_err(StoreError::new)
    }

    fn read<T>(
        &self,
        run: impl FnOnce(redb::ReadOnlyTable<&'static str, StoredRow>) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let attempt = || run(self.database.begin_read()?.open_table(JOBS)?);
        attempt().map_err(StoreError::new)
    }
}

fn put(
    table: &mut redb::Table<'_, &'static str, StoredRow>,
    job: &StoredJob,
) -> Result<(), redb::Error> {
    let status = STATUSES.iter().position(|status| *status == job.status);
    let status = u8::try_from(status.expect("the list has every status")).expect("there are few");
    let row = (job.revision, &*job.boot, status, job.expires_ms, &*job.body);
    table.insert(&*job.id, row)?;
    Ok(())
}

fn stored(
    id: &str,
    (revision, boot, status, expires_ms, body): (u64, &str, u8, Option<u64>, &[u8]),
) -> StoredJob {
    // A status that this version does not know is one that it cannot go on with.
    let status = STATUSES.get(usize::from(status)).copied();
    StoredJob {
        revision,
        expires_ms,
        ..StoredJob::new(id, boot, status.unwrap_or(JobStatus::Failed), body.to_vec())
    }
}

impl JobStore for DurableStore {
    fn insert(&self, job: &StoredJob) -> Result<bool, StoreError> {
        self.change(|table| {
            let is_new = table.get(&*job.id)?.is_none();
            if is_new {
                put(table, job)?;
            }
            Ok(is_new)
        })
    }

    fn replace(&self, job: &StoredJob) -> Result<bool, StoreError> {
        self.change(|table| {
            let kept = table.get(&*job.id)?.map(|row| row.value().0);
            let is_next = kept.is_some_and(|revision| revision + 1 == job.revision);
            if is_next {
                put(table, job)?;
            }
            Ok(is_next)
        })
    }

    fn load(&self, id: &str) -> Result<Option<StoredJob>, StoreError> {
        self.read(|table| Ok(table.get(id)?.map(|row| stored(id, row.value()))))
    }

    fn remove(&self, id: &str) -> Result<bool, StoreError> {
        self.change(|table| Ok(table.remove(id)?.is_some()))
    }

    fn for_each(&self, visit: &mut dyn FnMut(StoredJob)) -> Result<(), StoreError> {
        self.read(|table| {
            for entry in table.iter()? {
                let (id, row) = entry?;
                visit(stored(id.value(), row.value()));
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::env;
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::desk::store::contract::check_job_store;

    /// A folder of its own, gone when it is dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let name = format!("mcp-threads-store-{}", uuid::Uuid::new_v4());
            let path = env::temp_dir().join(name);
            fs::create_dir(&path).expect("a folder can be made");
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _the_system_cleans_up_later = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn it_keeps_the_contract() {
        let folder = Folder::new();
        let made = Cell::new(0);
        check_job_store(|| {
            made.set(made.get() + 1);
            DurableStore::open(folder.0.join(made.get().to_string())).expect("it can be made")
        });
    }

    #[test]
    fn what_was_kept_is_there_when_it_is_opened_again_and_one_at_a_time_has_it_open() {
        let folder = Folder::new();
        let path = folder.0.join("jobs");
        let store = DurableStore::open(&path).expect("it can be made");
        let job = StoredJob::new("a", "boot", JobStatus::Cancelled, b"{}".to_vec());
        assert!(store.insert(&job).expect("it works"));
        let again = DurableStore::open(&path).expect_err("it is open");
        assert!(
            again.is_configuration() && again.to_string().contains("jobs"),
            "{again}"
        );
        drop(store);
        let store = DurableStore::open(&path).expect("it is there");
        assert_eq!(store.load("a").expect("it works"), Some(job));
    }

    #[test]
    fn a_file_of_something_else_is_refused() {
        let folder = Folder::new();
        let path = folder.0.join("jobs");
        fs::write(&path, "[package]\nname = \"other\"\n").expect("a file can be written");
        assert!(DurableStore::open(&path).is_err());
        assert!(
            fs::read(&path)
                .expect("it is there")
                .starts_with(b"[package]")
        );
    }
}

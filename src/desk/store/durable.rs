//! The store in a file, on redb: what was kept survives a crash of the process, and of the machine.
//!
//! Each change is one transaction, on the disk before the call returns. One running server at a time: the file is locked while it is open.
//!
//! redb does nothing more with a file that has failed once, be it for a full disk, and panics where a file is damaged. So after a failure the file is
//! closed, and opened again by the next access.

use std::path::{Path, PathBuf};
use std::sync::RwLock;

use redb::{Database, ReadableTable, TableDefinition};

use crate::base::error::Error;
use crate::base::lock::HELD;
use crate::base::panics;
use crate::desk::record::JobStatus;
use crate::desk::store::{JobStore, StoreError, StoredJob};

/// Revision, boot, status, expiry, body.
type StoredRow = (u64, &'static str, u8, Option<u64>, &'static [u8]);

const JOBS: TableDefinition<'_, &str, StoredRow> = TableDefinition::new("mcp-threads-jobs-1");

/// The order, which is that of [`JobStatus`], is the file's format: only ever append.
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
///
/// Nobody is told of what is not in the file. While the disk is full, new jobs are refused, and one that ends is told as `working`, with a message that says so,
/// until there is room.
#[derive(Debug)]
pub struct DurableStore {
    path: PathBuf,
    /// `None` after a failure.
    database: RwLock<Option<Database>>,
}

impl DurableStore {
    /// Opens the file, and makes it if it does not exist.
    ///
    /// # Errors
    ///
    /// When it cannot be opened or made, is damaged or of something else, or another process has it open.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let store = DurableStore {
            path: path.as_ref().to_owned(),
            database: RwLock::default(),
        };
        // So that later readers find the table.
        store.change(|_| Ok(true)).map_err(|why| {
            let path = store.path.display();
            Error::configuration(format!("cannot keep jobs in `{path}`: {why}"))
        })?;
        Ok(store)
    }

    /// Does something with the file. When that fails, or panics, the file is closed.
    fn with<T>(
        &self,
        mut run: impl FnMut(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        loop {
            let database = self.database.read().expect(HELD);
            let Some(open) = &*database else {
                drop(database);
                self.reopen()?;
                continue;
            };
            let mut has_failed_before = false;
            let done = unwound(|| {
                let done = run(open);
                has_failed_before = matches!(done, Err(redb::Error::PreviousIo));
                done
            });
            drop(database);
            if done.is_err() {
                let mut database = self.database.write().expect(HELD);
                // Closed under the lock: until then its file is locked against the next.
                let failed = database.take();
                let _closed = panics::catch(|| drop(failed));
            }
            // Another access has failed meanwhile, and this one has not been tried.
            if !has_failed_before {
                return done;
            }
        }
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut database = self.database.write().expect(HELD);
        if database.is_none() {
            *database = Some(unwound(|| Database::create(&self.path))?);
        }
        Ok(())
    }

    /// Runs one transaction, and keeps it if it says `true`.
    fn change(
        &self,
        mut run: impl FnMut(&mut redb::Table<'_, &'static str, StoredRow>) -> Result<bool, redb::Error>,
    ) -> Result<bool, StoreError> {
        self.with(|database| {
            let transaction = database.begin_write()?;
            let keep = run(&mut transaction.open_table(JOBS)?)?;
            match keep {
                true => transaction.commit()?,
                false => transaction.abort()?,
            }
            Ok(keep)
        })
    }

    fn read<T>(
        &self,
        mut run: impl FnMut(redb::ReadOnlyTable<&'static str, StoredRow>) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.with(|database| run(database.begin_read()?.open_table(JOBS)?))
    }
}

/// Unwind safety: what panicked half-way is closed.
fn unwound<T, E: std::error::Error + Send + Sync + 'static>(
    run: impl FnOnce() -> Result<T, E>,
) -> Result<T, StoreError> {
    match panics::catch(run) {
        Ok(done) => done.map_err(StoreError::new),
        Err(panic) => Err(StoreError::new(format!("the file is damaged: {panic}"))),
    }
}

fn put(
    table: &mut redb::Table<'_, &'static str, StoredRow>,
    job: &StoredJob,
) -> Result<(), redb::Error> {
    let row = (
        job.revision,
        &*job.boot,
        job.status as u8,
        job.expires_ms,
        &*job.body,
    );
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
    fn a_damaged_file_is_refused_and_takes_nobody_with_it() {
        let folder = Folder::new();
        let path = folder.0.join("jobs");
        let whole = DurableStore::open(&path).expect("a file can be made");
        let job = StoredJob::new("a", "boot", JobStatus::Completed, vec![7; 100_000]);
        assert!(whole.insert(&job).expect("it works"));
        drop(whole);
        let bytes = fs::read(&path).expect("it is there");
        for kept in [1, 100, 512, 4096, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&path, &bytes[..kept]).expect("a file can be written");
            let refused = DurableStore::open(&path).map(drop);
            assert!(
                refused.is_err_and(|error| error.is_configuration()),
                "cut to {kept}"
            );
        }
        // Wherever it is damaged, it is read, or refused.
        for at in (0..bytes.len()).step_by(bytes.len() / 40) {
            let mut damaged = bytes.clone();
            damaged[at..]
                .iter_mut()
                .take(64)
                .for_each(|byte| *byte ^= 0xff);
            fs::write(&path, &damaged).expect("a file can be written");
            if let Ok(store) = DurableStore::open(&path) {
                let _read_or_not = store.for_each(&mut |_| {});
            }
        }
    }

    #[test]
    fn what_fails_once_works_again_when_it_can() {
        let folder = Folder::new();
        let path = folder.0.join("jobs");
        let store = DurableStore::open(&path).expect("a file can be made");
        let job = StoredJob::new("a", "boot", JobStatus::Working, b"{}".to_vec());
        assert!(store.insert(&job).expect("it works"));
        let failed = store.change(|_| Err(std::io::Error::other("no room").into()));
        assert!(failed.is_err_and(|error| error.to_string().contains("no room")));
        assert!(
            DurableStore::open(&path).is_ok(),
            "it is closed while nobody asks"
        );
        assert_eq!(store.load("a").expect("it works"), Some(job));
        let panicked = store.change(|_| panic!("on purpose"));
        assert!(panicked.is_err_and(|error| error.to_string().contains("on purpose")));
        assert!(store.remove("a").expect("it works"));
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

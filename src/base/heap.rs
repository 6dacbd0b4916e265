//! Heap trimming: glibc's allocator gives back to the kernel what a large tree of small blocks has left in the arena of its thread.
//!
//! By itself it keeps it, for two reasons. The thread cache holds seven blocks of each small size, and one such block at the end of an arena keeps
//! everything below it resident. And the free top of an arena is only given back above the trim threshold, which is twice the largest block that
//! was mapped and freed. There is no safe call that trims; what is left are the allocator's own rules. Elsewhere than on glibc nothing is done.
//!
//! *Long buffers*: an arena that has once had a long block keeps twice its length for good, and every thread may have an arena of its own. glibc maps long
//! blocks alone, but one that is freed teaches it to take all of its length from arenas; above 32 MiB it always maps, and what is mapped stays so
//! when it shrinks. So a long buffer of the library's begins longer than that.
//!
//! *Arena lock*: a block that another thread frees goes back to its arena under that arena's lock, unless it is small. What each call hands from thread to
//! thread stays below [`FREED_ELSEWHERE_MAX`]. Must not know what was in the heap.

use std::collections::TryReserveError;
use std::hint::black_box;

/// The sizes of which a thread cache keeps blocks, and how many of each.
const CACHED_BYTES_MAX: usize = 1032;
const CACHED_OF_A_SIZE: usize = 7;
/// Blocks of less than 128 KiB are never mapped alone. So many together are nearly the largest heap of an arena, 64 MiB, and so above any threshold
/// that trees set.
const TOP_BLOCK_BYTES: usize = 120 * 1024;
const TOP_BLOCKS: usize = 512;

/// Of a long block: a body, the arguments that are kept of it, an answer that says them again.
const COPIES: usize = 3;

/// What is left for others meanwhile.
const SPARE_BYTES: usize = 4 * 1024 * 1024;
/// What a thread needs beside its stack. One that gets no arena has a page mapped for each of its blocks.
const THREAD_BYTES: usize = 2 * 1024 * 1024;

/// A buffer from this length on is mapped alone.
const LONG_BYTES: usize = 128 * 1024;
/// Above 32 MiB a block is always mapped.
const ALONE_BYTES: usize = 32 * 1024 * 1024 + 64 * 1024;
const IS_GLIBC: bool = cfg!(all(
    target_os = "linux",
    target_env = "gnu",
    target_pointer_width = "64"
));

/// An empty buffer with exactly so much room.
pub(crate) fn room<T>(items: usize) -> Vec<T> {
    let mut buffer = Vec::new();
    reserve_exact(&mut buffer, items);
    buffer
}

/// Makes exactly so much more room.
pub(crate) fn reserve_exact<T>(buffer: &mut Vec<T>, more: usize) {
    reserve_alone(buffer, more);
    buffer.reserve_exact(more);
}

/// The same, or nothing where there is no memory.
pub(crate) fn try_reserve_exact<T>(
    buffer: &mut Vec<T>,
    more: usize,
) -> Result<(), TryReserveError> {
    reserve_alone(buffer, more);
    buffer.try_reserve_exact(more)
}

fn reserve_alone<T>(buffer: &mut Vec<T>, more: usize) {
    let wanted = buffer.len() + more;
    let long = LONG_BYTES / size_of::<T>();
    if IS_GLIBC && (buffer.capacity()..wanted).contains(&long) {
        let alone = ALONE_BYTES / size_of::<T>();
        // Where so much address space is not to be had, the block comes from where it may.
        if buffer
            .try_reserve_exact(alone.saturating_sub(buffer.len()))
            .is_ok()
        {
            buffer.shrink_to(wanted); // what is mapped shrinks and grows as a mapping
        }
    }
}

/// Makes so much more room, or more, so that growing step by step costs little.
pub(crate) fn reserve<T>(buffer: &mut Vec<T>, more: usize) {
    if buffer.capacity() - buffer.len() < more {
        reserve_exact(buffer, more.max(buffer.len()).max(8));
    }
}

/// Whether a block of this length, and copies of it, are to be had, where the process has a bound on its address space (`ulimit -v`): an allocation that fails
/// ends it. What is short is taken to be had. Without such a bound nothing is asked.
pub(crate) fn is_to_be_had(bytes: usize) -> bool {
    if bytes < LONG_BYTES || address_space_max().is_none() {
        return true;
    }
    let mut block: Vec<u8> = Vec::new();
    let found = block.try_reserve_exact(COPIES * bytes + SPARE_BYTES);
    drop(black_box(block)); // not optimised away
    found.is_ok()
}

/// Whether a thread with a stack of this length can be started, and have what it needs to begin.
pub(crate) fn has_room_for_thread(stack_bytes: usize) -> bool {
    let Some(most) = address_space_max() else {
        return true;
    };
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let size = size.and_then(|size| size.trim().trim_end_matches(" kB").parse().ok());
    let used = 1024 * size.unwrap_or(0_u64);
    used + (stack_bytes + THREAD_BYTES) as u64 <= most
}

#[cfg(target_os = "linux")]
fn address_space_max() -> Option<u64> {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::As).current
}

#[cfg(not(target_os = "linux"))]
fn address_space_max() -> Option<u64> {
    None
}

/// Puts these bytes behind the others.
pub(crate) fn append(buffer: &mut Vec<u8>, bytes: &[u8]) {
    reserve(buffer, bytes.len());
    buffer.extend_from_slice(bytes);
}

/// The largest thing, behind the two counts of its `Arc`, that another thread can free without the lock of the arena it was allocated from: a block of at most
/// 120 bytes. What each call hands from thread to thread had better be so small, for thousands of calls a second wait for that lock otherwise.
pub(crate) const FREED_ELSEWHERE_MAX: usize = 120 - 2 * size_of::<usize>();

/// What the thread cache held before something large was made, or took from below it.
#[derive(Debug)]
pub(crate) struct HeapTrim {
    cached: Vec<Vec<u8>>,
}

impl HeapTrim {
    pub(crate) fn new() -> Self {
        HeapTrim {
            cached: cache_of_the_thread(),
        }
    }

    /// Trims, on the same thread, when what was large has been dropped. Takes a millisecond.
    pub(crate) fn trim(self) {
        // The cache takes the old blocks again, so that those which are left of the large thing go to the arena and join what is free there.
        let left = cache_of_the_thread();
        drop(self.cached);
        drop(left);
        // The top grows over the threshold, untouched; with the last of these blocks all of it is given back, what was resident before included.
        drop(blocks([TOP_BLOCK_BYTES; TOP_BLOCKS].into_iter()));
    }
}

/// As many blocks as the cache of this thread can hold.
fn cache_of_the_thread() -> Vec<Vec<u8>> {
    let sizes = (24..=CACHED_BYTES_MAX).step_by(16);
    blocks(sizes.flat_map(|bytes| [bytes; CACHED_OF_A_SIZE]))
}

/// Blocks of these sizes, untouched, as far as there is memory. Nothing else is allocated meanwhile that the cache could hold.
fn blocks(sizes: impl Iterator<Item = usize>) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    if !cfg!(all(target_os = "linux", target_env = "gnu")) {
        return blocks;
    }
    blocks.reserve_exact(TOP_BLOCKS);
    for bytes in sizes {
        let mut block = Vec::new();
        if block.try_reserve_exact(bytes).is_err() {
            break;
        }
        blocks.push(black_box(block)); // not optimised away
    }
    blocks
}
